"""What a trained SLADS learns about its own errors: pixel error, calibration runs and stop thresholds.

The sampler runs on the training images and on generated microstructures of many kinds (module
`images.generated`), so that the forecast covers specimens unlike those of the training. Large images are cut
to 512 × 512 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...images.distortion import boundary_fraction
from ...images.labels import compact_labels
from ...progress import Progress, no_progress
from ...threads import one_thread
from ..error_forecast import Record, covariates
from ..stopping import stop_curve
from .engine import rebuild, run_recorded
from .features import feature_table
from .model import SladsModel
from .pixel_error import fit_pixel_error, map_pixel_error, pixel_error_terms
from .simulate import initial_order, start_field
from .state import empty_field, to_grid

__all__ = ["GENERATED", "STOP_LEVELS", "calibrate", "crop"]

CHECKPOINTS = (0.0, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.05, 1.15, 1.3, 1.6)
"""Where the state of a run is taken, in units of the boundary fraction."""
STOP_LEVELS = (0.05, 0.02, 0.01, 0.005, 0.0025, 0.0015, 0.001)
"""Total distortions for which thresholds are learnt."""
GENERATED = 32
SIDE = 96
LARGEST = 512
_SAMPLE = 250


class _Run(NamedTuple):
    """One run of the sampler on a known image, with its states."""

    image: NDArray[np.uint8]
    own: bool
    order: NDArray[np.int32]
    n_initial: int
    features: NDArray[np.float32]
    missed: NDArray[np.bool_]
    numbers: list[int]
    wrong: list[int]
    curve: list[tuple[int, int]]
    sample: NDArray[np.float32]
    sample_wrong: NDArray[np.bool_]
    sample_weight: NDArray[np.float64]


def crop(image: NDArray[np.uint8], largest: int = LARGEST) -> NDArray[np.uint8]:
    """Return the middle of an image, at most `largest` pixels a side."""
    rows, columns = (max(0, (n - largest) // 2) for n in image.shape)
    return np.ascontiguousarray(image[rows : rows + largest, columns : columns + largest])


def _run(image: NDArray[np.uint8], own: bool, model: SladsModel, entropy: list[int]) -> _Run:
    """Run the sampler and keep its picks, and a sample of unmeasured pixels of each checkpoint."""
    generator = np.random.default_rng(entropy)
    size = image.size
    b = boundary_fraction(image)
    initial = initial_order(image, int(generator.integers(2**31)), 0.01, size)
    field, truth, _, n_labels = start_field(image, model, initial)
    checkpoints = {min(size // 2, max(initial.size, int(p * b * size))) for p in CHECKPOINTS}
    # The stop thresholds need the distortion more often than the forecast needs states.
    between = np.linspace(initial.size, max(checkpoints), 65).astype(int).tolist() if own else []
    stops = sorted({n for n in checkpoints if n >= initial.size}.union(between))
    order = np.empty(stops[-1], np.int32)
    order[: initial.size] = initial
    features = np.zeros((stops[-1], 6))
    missed = np.zeros(stops[-1], np.bool_)
    flat = truth.ravel()
    unmeasured = flat >= 0
    unmeasured[initial] = False
    numbers, wrong, tables, hits, weights = [], [], [], [], []
    curve = []
    done = initial.size
    for stop in stops:
        before = done
        done = run_recorded(field, truth, order, features, missed, done, stop, n_labels)
        unmeasured[order[before:done]] = False
        left = np.flatnonzero(unmeasured)
        if left.size == 0:
            break
        bad = to_grid(field, field.recon).ravel()[left] != flat[left]
        curve.append((done, int(bad.sum())))
        if stop not in checkpoints:
            continue
        numbers.append(done)
        wrong.append(int(bad.sum()))
        for group, truthful in ((left[bad], True), (left[~bad], False)):
            picked = generator.permutation(group)[:_SAMPLE]
            tables.append(feature_table(field, picked).astype(np.float32))
            hits.append(np.full(picked.size, truthful))
            # Checkpoints count alike whatever is wrong in them, so that the last errors weigh as much as the first.
            weights.append(np.full(picked.size, group.size / max(1, picked.size) / (bad.sum() + 10.0)))
    return _Run(
        image,
        own,
        order[:done],
        initial.size,
        features[initial.size : done].astype(np.float32),
        missed[initial.size : done],
        numbers,
        wrong,
        curve,
        np.concatenate(tables),
        np.concatenate(hits),
        np.concatenate(weights),
    )


@one_thread()
def _states(run: _Run, model: SladsModel, pixel_error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariates and log((W + 2) / (S + 2)) at each checkpoint of a run, (n, 6)."""
    image = run.image
    values, positions = compact_labels(image)
    compact = positions.ravel().astype(np.int32)
    value = (
        pixel_error_terms(run.features.astype(np.float64)) @ pixel_error if len(run.features) else np.zeros(0)
    )
    picked = (1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0)))).astype(np.float32)
    all_agree = run.features[:, 1] == 0
    inside = np.ones(image.shape, bool)
    rows = []
    for number, wrong in zip(run.numbers, run.wrong, strict=True):
        field = empty_field(~inside, inside, k=model.k, theta=np.zeros((7, 7)), radius=model.radius)
        seen = run.order[:number]
        voting = seen[compact[seen] >= 0]
        rebuild(field, voting, compact[voting], values.size)
        total, agreed, n_total, n_agreed = map_pixel_error(field, pixel_error)
        n = number - run.n_initial
        state = covariates(
            Record(picked[:n], all_agree[:n], run.missed[:n]), number, total, agreed, n_total, n_agreed
        )
        rows.append([*state, np.log((wrong + 2.0) / (total + 2.0))])
    return np.array(rows)


def _thresholds(runs: Sequence[_Run]) -> NDArray[np.float64]:
    """The stop function's value when each wanted distortion was reached, the smallest of all runs, (n, 2)."""
    rows = []
    for level in STOP_LEVELS:
        values = []
        for run in runs:
            curve = stop_curve(run.missed, run.image.size)
            for number, wrong in run.curve:
                if wrong <= level * run.image.size and number > run.n_initial:
                    values.append(curve[number - run.n_initial - 1])
                    break
        if len(values) == len(runs):
            rows.append((level, min(values)))
    return np.array(rows).reshape(-1, 2)


def calibrate(
    model: SladsModel,
    images: Sequence[NDArray[np.uint8]],
    *,
    seed: int,
    n_jobs: int = 1,
    generated: int = GENERATED,
    progress: Progress = no_progress,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Learn pixel error, calibration runs and stop thresholds of a trained sampler.

    Parameters
    ----------
    model : SladsModel
        Its θ, k and radius are used.
    images : sequence of (rows, columns) uint8 arrays
        The images that it was trained on.
    seed : int
        Seed of the generated images and of all runs.
    n_jobs : int
        Processes of joblib.
    generated : int
        Number of generated microstructures.
    progress : callable, optional
        Called with a stage's name and the part of it that is done.

    Returns
    -------
    pixel_error : (14,) float64 array
    calibration_runs : (m, 7) float64 array
    stop : (n, 2) float64 array
        As `SladsModel` takes them.
    """
    from joblib import Parallel, delayed

    from ...images.generated import training_image

    most = min(6, max(2, len(model.phases)))
    jobs = [(crop(image), True, [seed, 1, i, j]) for i, image in enumerate(images) for j in range(2)]
    jobs += [
        (training_image(np.random.default_rng([seed, 2, i]), SIDE, most), False, [seed, 3, i])
        for i in range(generated)
    ]
    runs: list[_Run] = []
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    for run in parallel(delayed(_run)(image, own, model, entropy) for image, own, entropy in jobs):
        runs.append(run)
        progress("calibration runs", len(runs) / len(jobs))
    pixel_error = fit_pixel_error(
        np.concatenate([run.sample for run in runs]).astype(np.float64),
        np.concatenate([run.sample_wrong for run in runs]),
        np.concatenate([run.sample_weight for run in runs]),
    )
    states = list(Parallel(n_jobs=n_jobs)(delayed(_states)(run, model, pixel_error) for run in runs))
    calibration_runs = np.concatenate(
        [np.column_stack([rows, np.full(len(rows), float(i))]) for i, rows in enumerate(states)]
    )
    return pixel_error, calibration_runs, _thresholds([run for run in runs if run.own])
