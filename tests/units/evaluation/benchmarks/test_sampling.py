"""What `bench sampling` measures, on objects small enough to run here."""

import json

import numpy as np
import pytest

from slads_bluesky.evaluation.benchmarks import natural
from slads_bluesky.evaluation.benchmarks.coverage import coverage
from slads_bluesky.evaluation.benchmarks.large import measure_large
from slads_bluesky.evaluation.benchmarks.objects import Row, object_trials, summarise, summary
from slads_bluesky.evaluation.benchmarks.sampling_figures import sampling_figures
from slads_bluesky.evaluation.benchmarks.trace import look_at, trace
from slads_bluesky.evaluation.benchmarks.trials import make_trials
from slads_bluesky.images import boundary_fraction
from slads_bluesky.sampling import distortion_curve


def test_trace_of_a_sampler_equals_its_distortion_curve(model, make_blobs):
    truth = make_blobs((48, 56), 3.0, seed=31)
    stops = look_at(truth.size, 0.3, 0.02)[1:]  # the first lies within the initial mask
    parts = []
    found = trace("slads", model, truth, stops, 6, report=parts.append)
    curve, _ = distortion_curve(truth, model, stops, 6)
    assert np.allclose(found.td, curve)
    assert found.fractions == [n / truth.size for n in stops]
    assert (
        len(found.decision_us) == stops[-1] - round(0.01 * truth.size) - 1
    )  # the first is counted separately
    assert 8 < len(found.covered) <= 16
    assert parts[-1] == 1.0
    assert parts == sorted(parts)
    wanted = sorted(found.td)[4]
    assert trace("slads", model, truth, stops, 6, wanted).td[-1] <= wanted < found.td[-6]


def test_summarise_of_small_objects_gives_median_and_worst():
    rows = [Row("pbsn", 32, 0.02, float("nan"), 0.2, 0.1), Row("pbsn", 32, float("nan"), 0.1, 0.2, 0.1)]
    for row in rows:
        results = make_trials(object_trials([row], ["low-discrepancy"], 0, seeds=2))
        found = summarise(row, "low-discrepancy", 0, results, seeds=2)
        assert len(found["values"]) == len(found["boundary_fraction"]) == 2
        assert found["train_s"] == 0
        json.dumps(found, allow_nan=False)
    assert found["asked"] == "TD at 10%"
    assert 0 < found["median"] <= found["worst"] < 0.5


def test_summary_of_a_figure_not_reached_is_none():
    assert summary([0.1, 0.3, 0.2]) == {"median": 0.2, "worst": 0.3}
    assert summary([0.1, np.inf, 0.2]) == {"median": 0.2, "worst": None}


def test_coverage_of_intervals_is_counted_per_group_and_over_all():
    found = coverage({("slads", "a"): [True, False], ("slads", "b"): [True, True], ("random", "a"): []})
    assert {row["group"]: (row["looks"], row["coverage"]) for row in found} == {
        "slads, a": (2, 0.5),
        "slads, b": (2, 1.0),
        "slads, all": (4, 0.75),
    }


def test_natural_images_of_known_pictures_are_label_images():
    found = dict(natural.natural_images(("camera", "coins", "no_such_picture"), 2, 64))
    assert set(found) == {"camera", "coins"}
    for image in found.values():
        assert image.shape == (64, 64)
        assert set(np.unique(image)) == {1, 2}
        assert 0.02 < boundary_fraction(image) < 0.5


def test_measure_large_of_a_batch_sampler_times_whole_batches(model, make_blobs):
    truth = make_blobs((96, 96), 4.0, seed=5)
    found = measure_large("slads", truth, model, 0, n_decisions=50)
    assert found["decisions"] == 50
    assert 0 < found["first_decision_s"] <= found["start_s"]
    assert found["decision_us"]["median"] <= found["decision_us"]["worst"]
    assert found["peak_rss_mb"] >= found["rss_before_mb"] > 20
    learned = measure_large("learned", truth, None, 0, n_decisions=1)
    assert learned["decisions"] > 1  # a batch, with the network's pass that it costs


def test_summarise_of_photographs_gives_the_median_over_starts():
    trials = natural.natural_trials(("camera",), ("slads", "learned"), 5)
    assert len(trials) == len({trial.key for trial in trials}) == 2 * 2 * natural.STARTS
    results = {}
    for trial in trials:
        _, _, phases, name, seed, start = trial.key.split("-")
        assert seed == "5"
        facts = {"image": "camera", "phases": int(phases), "boundary_fraction": 0.2, "wanted": 0.004}
        reached = not (name == "learned" and phases == "4" and start != "0")
        fraction = (0.25 if name == "slads" else 0.125) * (1 + int(start))
        curve = [[0.01, 0.05, 0.1], [0.5, 0.3, 0.2 if name == "slads" else 0.25]]
        curve = (
            curve if name == "slads" or phases == "4" else [part[:2] for part in curve]
        )  # it came to its end
        results[trial.key] = {
            **facts,
            "fraction": fraction,
            "reached": reached,
            "covered": [True, False],
            "curve": curve,
        }
    two, four = natural.summarise(("slads", "learned"), 5, results)
    assert two["needed"]["slads"] == {"median": 0.5, "worst": 0.75}
    assert two["ratio"] == {"learned": 0.5}
    assert four["needed"]["learned"] == {"median": None, "worst": None}
    assert four["ratio"] == {"learned": None}
    assert len(four["covered"]["slads"]) == 6
    assert two["worst_ratio"]["learned"] == pytest.approx([1.5, 0.1])
    assert four["worst_ratio"]["learned"] == pytest.approx([1.25, 0.1])
    rows = sampling_figures({"objects": [], "natural": [two, four], "coverage": [], "large": []})
    assert [row.holds for row in rows[:2]] == [False, False]
    json.dumps([two, four], allow_nan=False)
