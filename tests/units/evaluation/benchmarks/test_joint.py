"""``bench joint``: its runs on a small object, and the figures that follow from results."""

import numpy as np
import pytest

from slads_bluesky.evaluation.benchmarks.joint import doses_of, joint_figures, joint_results, joint_trials
from slads_bluesky.evaluation.benchmarks.joint_dacite import neighbour_oracle
from slads_bluesky.evaluation.benchmarks.joint_dwell import measure_dwell
from slads_bluesky.evaluation.benchmarks.joint_runs import measure_raster, measure_sampler


def nothing(done):
    assert 0 <= done <= 1


@pytest.fixture(scope="module")
def session_cache(shared_cache):
    """Models of this test session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        yield


@pytest.fixture(scope="module")
def powder(session_cache):
    """A raster and each way of the sampler, at two doses of a small powder."""
    doses = (0.02, 0.08)
    runs = {
        way: measure_sampler("powder-32", 0, doses, 0.05, nothing, way=way)
        for way in ("dose", "lists", "oracle")
    }
    return {"raster": measure_raster("powder-32", 0, doses, nothing), **runs}


def test_a_raster_of_more_dose_is_better_and_inference_beats_each_pixel_alone(powder):
    low, high = powder["raster"]["rows"]
    assert high["counts"] == pytest.approx(4 * low["counts"])
    assert high["best"]["td"] < low["best"]["td"] < low["alone"]
    assert min(low["tuned"], low["reference"]["td"]) < low["alone"]
    assert np.sum(low["best"]["bands"][0]) == 32 * 32


def test_sampler_stops_at_doses_or_times_of_the_raster_and_the_oracle_is_no_worse(powder):
    for way in ("dose", "oracle"):
        for row, dose in zip(powder[way]["at"], (0.02, 0.08), strict=True):
            assert row["td"] <= 3e-5 or row["dose_nc"] >= dose
    by_time = powder["lists"]["at"][1]
    assert by_time["lists_s"] >= powder["raster"]["rows"][1]["time_s"] or by_time["td"] <= 3e-5
    assert powder["oracle"]["at"][0]["td"] <= powder["dose"]["at"][0]["td"] + 0.02
    assert powder["dose"]["decision_us"] > 0


def test_figures_of_results_have_the_goals_of_the_issue():
    def scored(td):
        return {
            "td": td, "expected": td, "low": 0.0, "high": 1.0, "sure": 0.5, "sure_wrong": 0.001,
            "bands": [[4000, 4000], [3200.0, 3960.0], [3200, 3940]],
        }  # fmt: skip

    doses = doses_of("pbsn-128")
    rows = [
        {
            "dose_nc": dose, "counts": dose / 2, "time_s": dose, "alone": 0.3, "tuned": 0.03 / dose,
            "reference": scored(0.024 / dose), "best": scored(0.02 / dose),
        }
        for dose in doses
    ]  # fmt: skip
    ours = {
        "at": [scored(0.008 / dose) for dose in doses], "decision_us": 400.0,
        "reached": {"dose_nc": 2.0, "visits": 1, "pixels": 1},
    }  # fmt: skip
    late = {**ours, "reached": {"dose_nc": None, "visits": None, "pixels": None}}
    found = joint_results(
        {
            "joint-pbsn-128-0-raster": {"rows": rows}, "joint-pbsn-128-0-dose": ours, "joint-pbsn-128-0-oracle": ours,
            "joint-pbsn-128-0-lists": ours, "joint-pbsn-128-1-raster": {"rows": rows}, "joint-pbsn-128-1-dose": late,
        }
    )  # fmt: skip
    assert [(result["object"], result["seed"]) for result in found] == [("pbsn-128", 0), ("pbsn-128", 1)]
    figures = {figure.name: figure for figure in joint_figures(found)}
    what = "pbsn-128: dose for the paper's distortion of 0.0015"
    assert figures[f"{what}, worst"].value is None  # one seed did not come there
    assert not figures[f"{what}, worst"].holds
    assert figures[f"{what}, raster with our best inference"].value == pytest.approx(0.02 / 0.0015, rel=0.01)
    ratio = figures["pbsn-128, 2 nC: distortion over that of a raster with our best inference"]
    assert (ratio.value, ratio.holds) == (pytest.approx(0.4), True)
    tuned = figures[
        "pbsn-128, raster of 1 counts a pixel: Potts mean field, the best by the truth, over our best inference"
    ]
    assert (tuned.value, tuned.goal) == (pytest.approx(1.5), "≥ 1.5")
    assert figures["pbsn-128: reliability, worst band of probability"].value == pytest.approx(0.005)
    assert figures["pbsn-128: a decision, amortised, processor time"].holds


def test_trials_of_large_maps_are_of_one_seed_and_for_the_dose_only():
    keys = [trial.key for trial in joint_trials(["pbsn-128", "pbsn-1024"], range(3))]
    assert [key for key in keys if "1024" in key] == ["joint-pbsn-1024-0-dose", "joint-pbsn-1024-0-raster"]
    assert sum(key.endswith("-raster") for key in keys if "-128-" in key) == 3
    assert sum(key.endswith("-oracle") for key in keys) == 1


def test_adaptive_dwell_takes_more_counts_than_known_spectra_and_less_for_more_error(session_cache):
    rows = measure_dwell("powder-32", 4)
    assert all(row["program"] >= row["wald"] for row in rows)
    assert rows[0]["wald"] > rows[-1]["wald"]


def test_an_oracle_of_neighbours_finds_what_they_say_where_counts_say_nothing():
    truth = np.repeat([1, 2], 12)[None, :].repeat(24, axis=0).astype(np.uint8)
    found = neighbour_oracle(np.zeros((24, 24, 2)), truth)
    assert (found == truth).mean() > 0.95


def test_runs_that_ended_are_carried_to_larger_doses_where_they_are_whole():
    row = {"td": 0.1}
    found = joint_results({f"joint-powder-256-{seed}-dose": {"at": [row, None]} for seed in (0, 1)})
    n = len(doses_of("powder-256"))
    assert found[0]["dose"]["at"] == [row] * n
    assert found[1]["dose"]["at"] == [row, *[None] * (n - 1)]
