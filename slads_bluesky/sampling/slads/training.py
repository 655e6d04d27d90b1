"""Training SLADS on label images: least squares on random masks, then c and R by running the sampler itself.

Each image is masked at random at several densities; every unmeasured pixel gives a row of features and a target.
Rows are never kept: they are summed into normal equations, chunk by chunk, so that memory does not grow with the
images. Work is parallel over image and density by joblib; under ``joblib.parallel_config("dask")`` with a
``distributed.Client`` the same calls run on a cluster.

Source: Godaliyadda et al., IEEE Trans. Comput. Imaging 4 (2018) 1–16, sections III and IV.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...images.distortion import boundary_fraction
from ...images.labels import check_label_image, compact_labels
from ...progress import Progress, no_progress
from ...threads import one_thread
from ..base import MAX_LABELS
from .engine import rebuild
from .error_calibration import GENERATED, calibrate, crop
from .features import feature_table
from .model import TERMS, SladsModel, expand
from .reduction import gaussian_reduction
from .simulate import distortion_curve
from .state import SHIFT, empty_field, to_grid

__all__ = ["CS", "DENSITIES", "check_training_set", "default_radius", "train_slads"]

DENSITIES = (0.05, 0.10, 0.20, 0.40, 0.80)
CS = (2.0, 4.0, 8.0, 10.0, 12.0, 16.0)
_CHUNK = 65536
_ROWS = 200_000
_RUN_PIXELS = 400_000


def default_radius(n_pixels: int) -> int:
    """Return R of feature 3 for a map of `n_pixels`: a disc of 0.25 % of it, at least 1 pixel."""
    return max(1, math.ceil(math.sqrt(0.0025 * n_pixels / math.pi)))


def check_training_set(
    images: Sequence[NDArray[Any]], names: Sequence[str] | None = None
) -> tuple[list[NDArray[np.uint8]], tuple[int, ...]]:
    """Return the label images as uint8 and their common phases.

    Raises
    ------
    DataError
        If there is none, one is not a label image, holds one phase only, or another set of phases than the first.
    """
    if len(images) == 0:
        raise DataError("no training image")
    known = names if names is not None else [f"training image {i}" for i in range(1, len(images) + 1)]
    checked = [check_label_image(image, name) for image, name in zip(images, known, strict=True)]
    phases = tuple(int(v) for v in np.unique(checked[0]) if v > 0)
    if len(phases) > MAX_LABELS:
        raise DataError(f"{known[0]} has {len(phases)} labels, at most {MAX_LABELS} can be mapped")
    for image, name in zip(checked, known, strict=True):
        own = tuple(int(v) for v in np.unique(image) if v > 0)
        if own != phases:
            raise DataError(f"{name} has the labels {list(own)}, {known[0]} has {list(phases)}")
    if len(phases) < 2:
        raise DataError(f"{known[0]} has one phase only ({phases[0]}): nothing to learn")
    return checked, phases


def image_sha256(image: NDArray[np.uint8]) -> str:
    """Return the hash of a label image and its shape."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


@one_thread()
def _normal_equations(
    image: NDArray[np.uint8],
    density: float,
    entropy: list[int],
    k: int,
    radii: tuple[int, ...],
    cs: tuple[float, ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of terms ⊗ terms (R, 26, 26) and terms ⊗ targets (R, 26, m), per radius, for one random mask."""
    generator = np.random.default_rng(entropy)
    measured = generator.random(image.shape) < density
    values, compact = compact_labels(image)
    voting = np.flatnonzero((measured & (image > 0)).ravel()).astype(np.int32)
    gram = np.zeros((len(radii), len(TERMS), len(TERMS)))
    moment = np.zeros((len(radii), len(TERMS), len(cs)))
    if voting.size == 0:
        return gram, moment
    inside = np.ones(image.shape, bool)
    field = empty_field(~measured, inside, k=k, theta=np.zeros((7, 7)), radius=radii[0])
    rebuild(field, voting, compact.ravel()[voting].astype(np.int32), values.size)
    wrong = (to_grid(field, field.recon) != compact) & (image > 0)
    nearest2 = to_grid(field, field.keys[:, 0] >> SHIFT).ravel()
    areas = []
    for radius in radii:
        close = np.count_nonzero(field.keys >> SHIFT <= radius * radius, axis=1)
        areas.append((1.0 + math.pi * radius * radius) / (1.0 + to_grid(field, close).ravel()))
    pixels = np.flatnonzero(~measured.ravel())
    for start in range(0, pixels.size, _CHUNK):
        chunk = pixels[start : start + _CHUNK]
        features = feature_table(field, chunk)
        targets = gaussian_reduction(wrong, chunk, nearest2[chunk].astype(np.float64), np.array(cs))
        for i, area in enumerate(areas):
            features[:, 3] = area[chunk]
            terms = expand(features)
            gram[i] += terms.T @ terms
            moment[i] += terms.T @ targets
    return gram, moment


@one_thread()
def _solve(gram: NDArray[np.float64], moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares from normal equations, each term scaled to unit norm first."""
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    theta = np.linalg.lstsq(gram / np.outer(scale, scale), moment / scale[:, None], rcond=1e-12)[0]
    solved: NDArray[np.float64] = theta / scale[:, None]
    return solved


def _area(image: NDArray[np.uint8], model: SladsModel, seed: int) -> float:
    """Area under the logarithm of the distortion of the whole sampler on the middle of a training image.

    The references take the distortion itself, which is settled before the last boundaries are found; the
    logarithm (of the distortion + 0.0005) weighs them like the first.
    """
    image = crop(image)
    stop = min(1.0, max(0.05, 1.5 * boundary_fraction(image)))
    numbers = np.unique(np.linspace(0.01, stop, 40) * image.size).astype(int)
    curve, _ = distortion_curve(image, model, [max(1, int(n)) for n in numbers], seed)
    return float(np.trapezoid(np.log(curve + 0.0005), numbers / image.size))


def _choose(
    models: Sequence[SladsModel],
    images: Sequence[NDArray[np.uint8]],
    seed: int,
    n_jobs: int,
    progress: Progress,
) -> list[float]:
    """Mean area of each model: all are run on the first image, the best on every image from several starts.

    A large c samples best but may now and then leave an island to the end, which only many runs show: images so
    small that a run costs little are run from more starts, and more of the models are.
    """
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    areas = []
    for area in parallel(delayed(_area)(images[0], model, seed) for model in models):
        areas.append(area)
        progress("choice of c", 0.5 * len(areas) / len(models))
    starts = int(np.clip(round(_RUN_PIXELS / sum(crop(image).size for image in images)), 2, 8))
    finalists = np.argsort(areas, kind="stable")[: 3 if starts == 2 else 6]
    jobs = [(i, image, seed + start) for i in finalists for image in images for start in range(starts)]
    found: dict[int, list[float]] = {int(i): [] for i in finalists}
    runs = parallel(delayed(_area)(image, models[i], start) for i, image, start in jobs)
    for done, (area, (i, _, _)) in enumerate(zip(runs, jobs, strict=True), 1):
        found[int(i)].append(area)
        progress("choice of c", 0.5 + 0.5 * done / len(jobs))
    worst = max(max(values) for values in found.values())
    return [float(np.mean(found[i])) if i in found else max(area, worst) for i, area in enumerate(areas)]


def train_slads(
    images: Sequence[NDArray[Any]],
    *,
    seed: int,
    k: int = 10,
    radius: int | None = None,
    cs: Sequence[float] = CS,
    densities: Sequence[float] = DENSITIES,
    calibrated: bool = True,
    generated: int = GENERATED,
    n_jobs: int = 1,
    names: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> SladsModel:
    """Train SLADS on label images.

    Parameters
    ----------
    images : sequence of (rows, columns) integer arrays
        Label images of the same phases, 0 where unclassified. Best of the size that is to be mapped.
    seed : int
        Seed of the masks and of the runs by which c is chosen.
    k : int
        Neighbours that vote.
    radius : int, optional
        R of feature 3 in pixels; by default one, two or three times that of `default_radius` for the median image
        size, whichever samples best.
    cs : sequence of float
        Values of c to choose from.
    densities : sequence of float
        Fractions of the random masks.
    calibrated : bool
        Whether to learn the estimate of the remaining distortion and the stop thresholds too (module
        `calibration`), which takes as long again on small images.
    generated : int
        Number of generated microstructures that the calibration runs on beside the training images.
    n_jobs : int
        Processes of joblib; a ``joblib.parallel_config`` around the call chooses the backend.
    names : sequence of str, optional
        What messages call the images.
    progress : callable, optional
        Called with a stage's name and the part of it that is done.

    Returns
    -------
    SladsModel

    Raises
    ------
    DataError
        If the images are no label images of the same phases.
    """
    from joblib import Parallel, delayed

    checked, phases = check_training_set(images, names)
    pixels = int(np.median([image.size for image in checked]))
    disc = default_radius(pixels)
    discs = (disc, 2 * disc, 3 * disc) if radius is None else (int(radius),)
    candidates = tuple(float(c) for c in cs)
    models: list[SladsModel] = []
    # A small image gives few rows: more masks of it make the choice of pixels depend less on chance.
    repeats = int(np.clip(round(_ROWS / sum(image.size for image in checked)), 1, 4))
    jobs = [
        (i, j, repeat)
        for i in range(len(checked))
        for j in range(len(densities))
        for repeat in range(repeats)
    ]
    gram = np.zeros((len(discs), len(TERMS), len(TERMS)))
    moment = np.zeros((len(discs), len(TERMS), len(candidates)))
    parts = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_normal_equations)(checked[i], densities[j], [seed, i, j, repeat], k, discs, candidates)
        for i, j, repeat in jobs
    )
    for done, (part_gram, part_moment) in enumerate(parts, 1):
        gram += part_gram
        moment += part_moment
        progress("features", done / len(jobs))
    for disc, disc_gram, disc_moment in zip(discs, gram, moment, strict=True):
        for c, theta in zip(candidates, _solve(disc_gram, disc_moment).T, strict=True):
            models.append(SladsModel(theta, phases, c=c, k=k, radius=disc))
    areas = _choose(models, checked, seed, n_jobs, progress) if len(models) > 1 else [float("nan")]
    best = models[int(np.argmin(areas))]
    metadata = {
        "images": [
            {"sha256": image_sha256(im), "shape": list(im.shape), "boundary_fraction": boundary_fraction(im)}
            for im in checked
        ],
        "seed": int(seed),
        "densities": [float(d) for d in densities],
        "areas": {
            f"c {model.c:g}, R {model.radius}": area
            for model, area in zip(models, areas, strict=True)
            if np.isfinite(area)
        },
        "versions": {n: importlib.metadata.version(n) for n in ("slads-bluesky", "numpy", "scipy", "numba")},
    }
    trained = replace(best, metadata=metadata)
    if not calibrated:
        return trained
    pixel_error, calibration_runs, stop = calibrate(
        trained, checked, seed=seed, n_jobs=n_jobs, generated=generated, progress=progress
    )
    return replace(trained, pixel_error=pixel_error, calibration_runs=calibration_runs, stop=stop)
