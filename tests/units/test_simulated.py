"""Which runs are simulated: decided by a key of our own, never by a user's word."""

import pytest

from slads_bluesky.simulated import KEY, SimulatedObject, simulated_object, simulation_metadata


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"object": "meteorite 7"},
        {"object": "pbsn-64"},
        {"object_seed": 3},
        {"object": "pbsn-64", "object_seed": "3"},
        {"object": "pbsn-64", "object_seed": True},
        {KEY: "pbsn-64"},
        {KEY: {"object": 7, "seed": 0}},
    ],
)
def test_simulated_object_other_metadata_is_a_real_specimen(start):
    assert simulated_object(start) is None


def test_simulated_object_reads_the_new_key_and_the_old_pair():
    assert simulated_object(simulation_metadata("pbsn-64", 3)) == SimulatedObject("pbsn-64", 3)
    assert simulated_object({"object": "pbsn-64", "object_seed": 3}) == SimulatedObject("pbsn-64", 3)


def test_simulated_object_new_key_wins_over_a_users_words():
    start = {"object": "meteorite 7", "object_seed": 1, **simulation_metadata("pbsn-64", 3)}
    assert simulated_object(start) == SimulatedObject("pbsn-64", 3)


def test_simulated_object_with_imperfections_gives_them_back():
    found = simulated_object(simulation_metadata("pbsn-64", 3, {"volume_um": 0.5}))
    assert found == SimulatedObject("pbsn-64", 3, {"volume_um": 0.5})
