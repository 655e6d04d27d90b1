"""The parts of `bench sampling`, on an object small enough to run here."""

import json

import numpy as np
from rich.console import Console

from slads_bluesky.cli.bench_sampling import _coverage, _stops, _summary, _trace, natural_images
from slads_bluesky.sampling import boundary_fraction, distortion_curve


def test_a_trace_is_the_sampler_run_pixel_by_pixel(model, make_blobs):
    truth = make_blobs((48, 56), 3.0, seed=31)
    stops = _stops(truth.size, 0.3, 0.02)[1:]  # the first lies within the initial mask
    trace = _trace("slads", model, truth, stops, 6, -1.0)
    curve, _ = distortion_curve(truth, model, stops, 6)
    assert np.allclose(trace.td, curve)
    assert trace.fractions == [n / truth.size for n in stops]
    assert len(trace.decision_us) == stops[-1] - round(0.01 * truth.size) - 1  # the first is told apart
    assert 8 < len(trace.covered) <= 16
    wanted = sorted(trace.td)[4]
    assert _trace("slads", model, truth, stops, 6, wanted).td[-1] <= wanted < trace.td[-6]


def test_figures_that_were_never_reached_are_none():
    assert _summary([0.1, 0.3, 0.2]) == {"median": 0.2, "worst": 0.3}
    assert _summary([0.1, np.inf, 0.2]) == {"median": 0.2, "worst": None}


def test_coverage_is_counted_per_group_and_over_all():
    console = Console(quiet=True)
    found = _coverage(console, {"slads, a": [True, False], "slads, b": [True, True], "random, a": []})
    assert {row["group"]: (row["looks"], row["coverage"]) for row in found} == {
        "slads, a": (2, 0.5),
        "slads, b": (2, 1.0),
        "slads, all": (4, 0.75),
    }
    json.dumps(found, allow_nan=False)


def test_natural_images_are_real_label_images():
    found = dict(natural_images(("camera", "coins", "no_such_picture"), 2, 64))
    assert set(found) == {"camera", "coins"}
    for image in found.values():
        assert image.shape == (64, 64)
        assert set(np.unique(image)) == {1, 2}
        assert 0.02 < boundary_fraction(image) < 0.5
