"""A catalog that is opened after databroker's earlier interface was used gives runs of the present one."""

from small_map import phantom, recorded  # noqa: F401 (fixtures)

from slads_bluesky.record import open_catalog


def test_catalog_opened_after_an_earlier_interface_gives_runs_of_the_present_one(recorded):  # noqa: F811
    catalog = open_catalog(recorded.directory)
    uid = recorded.uid
    assert catalog[uid].v2 is not None
    again = open_catalog(recorded.directory)[uid]
    assert again["primary"]["eds_spectrum"].read().shape[0] == 250
