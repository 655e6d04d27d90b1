"""What lists cost in samples and dose: batches against single decisions, passes against a test after each count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...progress import Progress, no_progress
from ..figures import Figure, at_most, measured

__all__ = ["batch_figures", "measure_batches", "measure_dose"]

BATCHES: tuple[int | float | str, ...] = (1, 0.0012, 0.0025, 0.005, 0.01, 0.02, "auto")
DEPTHS = (0.02, 0.01, 0.005)
"""Distortions at which the samples of two curves are compared."""
BUSY_S = 36e-6


def measure_batches(
    names: Sequence[str] = ("pbsn-128", "powder-128"),
    seeds: Sequence[int] = (0, 1),
    fraction: float = 0.1,
    batches: Sequence[int | float | str] = BATCHES,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Sample objects by lists that are decided one list late, and by single decisions; perfect labels.

    Returns
    -------
    list of dict
        ``batch``, ``more`` samples than single decisions need for the same distortion (mean over objects, seeds and
        `DEPTHS`, as a part), and its ``worst``.
    """
    from ...phantom import make_object

    runs = [(name, seed) for name in names for seed in seeds]
    more: dict[int | float | str, list[float]] = {batch: [] for batch in batches}
    done, total = 0, len(runs) * (len(batches) + 1)
    for name, seed in runs:
        phantom = make_object(name, seed)
        single = _curve(phantom, seed, fraction, None)
        done += 1
        for batch in batches:
            if batch == 1 and seed != seeds[0]:  # a plan for every pixel: a minute each
                continue
            progress(f"{name}, seed {seed}, batch {batch}", done / total)
            curve = _curve(phantom, seed, fraction, batch)
            done += 1
            for depth in DEPTHS:
                one, other = _samples_at(single, depth), _samples_at(curve, depth)
                if np.isfinite(one):
                    more[batch].append(other / one - 1.0)
    return [
        {"batch": batch, "more": float(np.mean(values)), "worst": float(np.max(values)), "n": len(values)}
        for batch, values in more.items()
        if values
    ]


def _curve(phantom: Any, seed: int, fraction: float, batch: int | float | str | None) -> NDArray[np.float64]:
    """Samples and distortion, (m, 2), of a map by lists, one of them under way; one by one without a batch."""
    from ...plans.batches import batch_size
    from ...sampling import LearnedSampler

    truth = phantom.truth
    sampler = LearnedSampler(truth.shape, labels=len(phantom.phases), seed=seed)
    size: Callable[[int, int], int] = (lambda _, __: 1) if batch is None else batch_size(batch)
    marks = np.unique(np.geomspace(0.01, fraction, 40) * truth.size).astype(int).tolist()
    under_way: list[list[int]] = []
    curve, n = [], 0
    while n < fraction * truth.size:
        pending = [pixel for points in under_way for pixel in points]
        asked = size(n, truth.size)
        found = sampler.suggest(asked) if not pending else sampler.suggest_besides(asked, pending)
        under_way.append([s.pixel for s in found])
        if batch is not None and len(under_way) == 1 and n == 0:
            continue
        for pixel in under_way.pop(0):
            sampler.ingest(pixel, int(truth.flat[pixel]))
            n += 1
            if marks and n >= marks[0]:
                marks.pop(0)
                curve.append((n, float((sampler.reconstruct() != truth).mean())))
    return np.array(curve, np.float64)


def _samples_at(curve: NDArray[np.float64], depth: float) -> float:
    """Samples after which the distortion stays at most `depth`, between two marks by its logarithm; inf if never."""
    n, td = curve[:, 0], np.maximum(curve[:, 1], 1e-6)
    above = np.flatnonzero(td > depth)
    if above.size == 0:
        return float(n[0])
    i = int(above[-1])
    if i + 1 == len(n):
        return float("inf")
    part = (np.log(td[i]) - np.log(depth)) / (np.log(td[i]) - np.log(td[i + 1]))
    return float(n[i] + part * (n[i + 1] - n[i]))


def measure_dose(
    names: Sequence[str] = ("pbsn-64", "powder-64"),
    *,
    error: float = 1e-3,
    pixels: int = 400,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Decide pixels in passes as the flyer does, and after every count; the same pulses for both.

    Returns
    -------
    list of dict
        ``dose_ratio`` of the passes to the test after every count, ``passes`` a pixel, and the ``error`` of each.
    """
    from ...devices.mapping import FIRST_PART, NEXT_PART, SHORTEST_S
    from ...phantom import make_object
    from ...simulation.models import prepare_models
    from ...spectra import SequentialTest

    out = []
    for k, name in enumerate(names):
        progress(f"dose of {name}", k / len(names))
        phantom = make_object(name, seed)
        models = prepare_models(name, sampler="learned", classifier="likelihood", seed=seed)
        rule: Any = SequentialTest(models.classifier, error, 10.0)  # type: ignore[arg-type]
        rng = np.random.default_rng(seed)
        good = rng.permutation(np.flatnonzero(phantom.labels.ravel() > 0))[:pixels]
        arrivals = [_pulses(phantom, int(pixel), rng) for pixel in good]
        truth = phantom.labels.ravel()[good]
        steady = [_after_every_count(rule, *one, phantom.axis.n_channels) for one in arrivals]
        first = FIRST_PART * float(np.median([time for time, _ in steady]))
        passes = [
            _in_passes(rule, *one, phantom.axis.n_channels, max(first, SHORTEST_S), NEXT_PART, SHORTEST_S)
            for one in arrivals
        ]
        out.append(
            {
                "object": name,
                "continuous_ms": float(np.mean([time for time, _ in steady])) * 1e3,
                "dose_ratio": float(
                    np.mean([time for time, _, _ in passes]) / np.mean([time for time, _ in steady])
                ),
                "passes": float(np.mean([count for _, count, _ in passes])),
                "error_continuous": float(
                    np.mean([label != t for (_, label), t in zip(steady, truth, strict=True)])
                ),
                "error_passes": float(
                    np.mean([label != t for (_, _, label), t in zip(passes, truth, strict=True)])
                ),
                "pixels": len(good),
            }
        )
    return out


def _pulses(
    phantom: Any, pixel: int, rng: np.random.Generator, n: int = 4000
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Channels of the next n pulses of a pixel, and the live time of each, s."""
    expected = phantom.spectrum(pixel).astype(np.float64)
    cumulative = np.cumsum(expected)
    channels = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return channels, np.cumsum(rng.exponential(phantom.full_dwell_s / cumulative[-1], n))


def _after_every_count(
    rule: Any, channels: NDArray[np.int64], times: NDArray[np.float64], n_channels: int
) -> tuple[float, int]:
    rule.reset()
    counts = np.zeros(n_channels, np.int32)
    for k, channel in enumerate(channels):
        counts[channel] += 1
        decision = rule.update(counts, float(times[k]))
        if decision is not None:
            return float(times[k]) + BUSY_S * (k + 1), int(decision.label)
    return float(times[-1]) + BUSY_S * len(times), 0


def _in_passes(
    rule: Any,
    channels: NDArray[np.int64],
    times: NDArray[np.float64],
    n_channels: int,
    first_s: float,
    part: float,
    shortest_s: float,
) -> tuple[float, int, int]:
    rule.reset()
    ends = times + BUSY_S * np.arange(1, len(times) + 1)
    real, passes, following = 0.0, 0, first_s
    while True:
        real, passes = real + following, passes + 1
        k = int(np.searchsorted(ends, real, side="right"))
        counts = np.bincount(channels[:k], minlength=n_channels).astype(np.int32)
        decision = rule.update(counts, real - k * BUSY_S)
        if decision is not None or k == len(times):
            return real, passes, 0 if decision is None else int(decision.label)
        following = max(part * real, shortest_s)


def batch_figures(batches: list[dict[str, Any]], doses: list[dict[str, Any]]) -> list[Figure]:
    """Return the figures on batches and on dose, from the results of `measure_batches` and `measure_dose`."""
    out = []
    for row in batches:
        name = f"batch {row['batch']}: more samples than single decisions"
        value = 100.0 * row["more"]
        out.append(at_most(name, value, 3.0, "%") if row["batch"] == "auto" else measured(name, value, "%"))
    for row in doses:
        out.append(
            at_most(f"{row['object']}: dose in passes over a test after every count", row["dose_ratio"], 1.15)
        )
        out.append(at_most(f"{row['object']}: wrong phases in passes", row["error_passes"], 1e-3))
    return out
