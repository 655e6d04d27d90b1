"""PVs by names of their own, and their units."""

from types import SimpleNamespace

import pytest

from slads_bluesky.devices import EDSDetector, Microscope, SEMBeam
from slads_bluesky.devices.encoding import check_units
from slads_bluesky.devices.pvnames import pv_signals, with_pv_names
from slads_bluesky.errors import ConfigError, InstrumentError


def test_named_signals_have_their_own_pvs_and_all_others_prefix_and_suffix():
    kind = with_pv_names(
        SEMBeam,
        {
            "x": {"read": "A:X.RBV", "write": "A:X"},
            "blanker.setpoint": "B:Cmd",
            "current": "Cup:nA",
            "y": "A:Y",
        },
    )
    beam = kind("LAB:", name="beam")
    assert (beam.x.pvname, beam.x.setpoint_pvname) == ("A:X.RBV", "A:X")
    assert (beam.y.pvname, beam.y.setpoint_pvname) == ("A:Y", "A:Y")
    assert beam.blanker.setpoint.pvname == "B:Cmd"
    assert beam.blanker.readback.pvname == "LAB:Blank_RBV"
    assert beam.current.pvname == "Cup:nA"
    assert beam.dose.pvname == "LAB:Dose"
    assert kind.__name__ == "SEMBeam"
    assert isinstance(beam, SEMBeam)
    beam.destroy()


@pytest.mark.parametrize(
    ("kind", "names", "reason"),
    [
        (SEMBeam, {"z": "A"}, "SEMBeam has no signal 'z'; it has x, y, "),
        (SEMBeam, {"x": {"read": "A"}}, "'x' is read and written: give both"),
        (Microscope, {"current": {"read": "A", "write": "B"}}, "'current' has one PV"),
        (dict, {"x": "A"}, "dict has no PVs"),
    ],
)
def test_wrong_name_of_a_signal_is_one_line_with_those_there_are(kind, names, reason):
    with pytest.raises(ConfigError, match=reason):
        with_pv_names(kind, names)


def test_every_device_of_ours_lists_its_signals():
    for kind in (SEMBeam, EDSDetector, Microscope):
        signals = pv_signals(kind)
        assert len(signals) == len(set(signals)) > 4


@pytest.mark.parametrize(("unit", "fits"), [("nA", True), ("", True), ("pA", False), ("um", False)])
def test_unit_of_a_pv_other_than_ours_is_refused_with_both(unit, fits):
    device = SimpleNamespace(name="beam", current=SimpleNamespace(pvname="LAB:I", metadata={"units": unit}))
    if fits:
        check_units(device, {"current": "nA"})
    else:
        with pytest.raises(InstrumentError, match=r"beam: LAB:I is in .*, and must be in nA"):
            check_units(device, {"current": "nA"})
