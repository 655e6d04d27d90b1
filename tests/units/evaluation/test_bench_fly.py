"""What `bench fly` computes: samples at a distortion, dose of passes, both maps of equal time."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.devices.mapping import FIRST_PART, NEXT_PART, SHORTEST_S
from slads_bluesky.evaluation.benchmarks.fly import pace_figures
from slads_bluesky.evaluation.benchmarks.fly_batches import (
    _after_every_count,
    _in_passes,
    _samples_at,
    batch_figures,
)
from slads_bluesky.evaluation.benchmarks.fly_raster import _denoised


class Counts:
    """Decides label 1 at a number of counts."""

    def __init__(self, enough):
        self.enough = enough

    def reset(self):
        pass

    def update(self, counts, live_time_s):
        from slads_bluesky.protocols import Classification

        return Classification(1, 1.0, "ok") if counts.sum() >= self.enough else None


def test_samples_lie_between_two_marks_by_the_logarithm():
    curve = np.array([[100, 0.1], [200, 0.01], [300, 0.001]])
    assert _samples_at(curve, 0.01) == 200
    assert _samples_at(curve, 10**-2.5) == pytest.approx(250)
    assert _samples_at(curve, 1e-5) == np.inf


def test_passes_overshoot_by_no_more_than_one_pass():
    times = np.arange(1, 201) * 1e-3
    real, passes, label = _in_passes(Counts(50), np.zeros(200, int), times, 4, 20e-3, 0.15, 1e-4)
    needed = 50e-3 + 50 * 36e-6
    assert label == 1
    assert needed <= real <= 1.15 * needed
    assert passes > 3


def test_dose_in_passes_is_near_that_of_a_test_after_every_count():
    rng = np.random.default_rng(1)
    needed = rng.integers(8, 60, 80)  # counts after which each pixel is decided
    times = np.cumsum(rng.exponential(1.0 / 3500.0, (len(needed), 200)), axis=1)
    channels = np.zeros(200, int)
    steady = [_after_every_count(Counts(n), channels, at, 4)[0] for n, at in zip(needed, times, strict=True)]
    first = FIRST_PART * float(np.median(steady))
    passes = [
        _in_passes(Counts(n), channels, at, 4, first, NEXT_PART, SHORTEST_S)[0]
        for n, at in zip(needed, times, strict=True)
    ]
    assert 1.0 <= np.mean(passes) / np.mean(steady) <= 1.15


def test_denoising_recovers_two_halves_from_noise():
    truth = np.ones((32, 32), int)
    truth[:, 16:] = 2
    rng = np.random.default_rng(0)
    right = rng.normal(0.5, 1.0, truth.shape).astype(np.float32)
    scores = np.stack([np.where(truth == label, right, -right) / 2 for label in (1, 2)], axis=2)
    wrong = {name: float((labels != truth).mean()) for name, labels in _denoised(scores)}
    assert wrong["each pixel alone"] > 0.2
    assert wrong["Potts field"] < 0.05
    assert wrong["evidence network"] < 0.05


def test_figures_carry_the_goals_of_the_issue():
    pace = {
        "object": "pbsn-128", "fraction": 0.1, "batch": 0.02, "ratio": 1.1, "overhead_us_a_pixel": 100.0, "n": 10,
        "point_overhead_us": 3000.0, "recorded": 10, "verify_passed": True, "memory_growth_mb": 1.0, "overruns": 0,
    }  # fmt: skip
    rows = {figure.name.partition(": ")[2]: figure for figure in pace_figures(pace)}
    assert rows["wall time over dwells and settle times"].goal == "≤ 1.25"
    assert rows["less overhead than point by point, times"].holds
    found = batch_figures(
        [{"batch": "auto", "more": 0.05}],
        [{"object": "pbsn-64", "dose_ratio": 1.1, "error_passes": 0.0}],
    )
    assert [figure.holds for figure in found] == [False, True, True]
