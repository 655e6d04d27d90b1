"""Samples needed with and without an image of the field: simulated frames, and the real dacite with its own.

The frames of the simulated objects have one level a phase, neighbouring ones a number of standard deviations of the
noise apart, and what frames have: blur, shading, lines that charge, and a displacement against the map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...errors import DataError
from ...phantom.microstructures import Kind, make_labels
from ...sampling.factory import make_sampler
from ...sampling.joint.reference import denoise
from ...sampling.learned.model import shipped_model
from ...sampling.slads.model import SladsModel
from ...sampling.slads.training import default_radius
from ...spectra.io.maps import read_map
from ..figures import Figure, at_least, at_most, measured
from ..spectra.map_segmentation import classify_like
from .joint_dacite import neighbour_oracle
from .trials import Report, Trial

__all__ = ["CONDITIONS", "OBJECTS", "dacite", "image_figures", "image_trials", "simulated_frame", "summarise"]

CONTRAST = 3.0
"""Contrast-to-noise ratio of two neighbouring levels."""
CONDITIONS = ("without", "frame", "equal", "other")
"""Without an image; with one; with one in which two phases are equally grey; with one of another object."""
FRACTIONS = (0.02, 0.05, 0.08, 0.10, 0.20)
"""Of the pixels of the dacite, at which its map is judged."""
LABEL_ERROR = 0.05
"""Error granted to a label of the full measurement where its neighbours are weighed against it."""


class Object(NamedTuple):
    """An object and the total distortion to reach."""

    kind: Kind
    size: int
    wanted: float
    step: float
    """Fraction of the pixels between two looks."""


OBJECTS = {
    "pbsn-128": Object("pbsn", 128, 0.0015, 0.001),
    "powder-256": Object("powder", 256, 0.006, 0.001),
    "pbsn-1024": Object("pbsn", 1024, 0.0013, 0.002),
    "powder-1024": Object("powder", 1024, 0.02, 0.002),
}


def simulated_frame(
    labels: NDArray[np.uint8],
    seed: int,
    *,
    contrast: float = CONTRAST,
    equal: bool = False,
    displacement: tuple[float, float] = (2.3, -1.6),
    shading: float = 1.0,
    charging: float = 0.3,
) -> NDArray[np.float32]:
    """Make a frame of a label image.

    Parameters
    ----------
    labels : (rows, columns) uint8
    seed : int
        Of noise and charging.
    contrast : float
        Difference of two neighbouring levels, in standard deviations of the noise.
    equal : bool
        Whether the first two phases are equally grey.
    displacement : (float, float)
        Where the frame shows the map's pixel, (y, x) pixels from it.
    shading, charging : float
        Change over the field, and standard deviation of the lines' levels, both in differences of two levels.
    """
    rng = np.random.default_rng([seed, 0xF4])
    levels = np.arange(int(labels.max()) + 1, dtype=np.float64)
    if equal:
        levels[2] = levels[1]
    grey = ndimage.gaussian_filter(levels[labels], 0.5)
    grey = ndimage.shift(grey, displacement, order=1, mode="nearest")
    y, x = (np.linspace(0.0, 1.0, n) for n in labels.shape)
    lines = ndimage.gaussian_filter1d(rng.normal(size=labels.shape[0]), 3.0)
    grey += shading * (x[None, :] - 0.5 + 1.2 * (y[:, None] - 0.5) ** 2)
    grey += charging * (lines / lines.std())[:, None]
    return np.asarray(grey + rng.normal(size=grey.shape) / contrast, np.float32)


def _key(name: str, sampler: str, condition: str, seed: int) -> str:
    return f"image-{name}-{sampler}-{condition}-{seed}"


def image_trials(objects: Sequence[str], samplers: Sequence[str], seeds: Sequence[int]) -> list[Trial]:
    """Trials of each sampler on each object under each of `CONDITIONS`."""
    return [
        Trial(
            _key(name, sampler, condition, seed),
            f"{name}, {sampler}, {condition}, seed {seed}",
            1.0 + 4e-5 * OBJECTS[name].size ** 2,
            partial(_measure, OBJECTS[name], sampler, condition, seed),
        )
        for name in objects
        for sampler in samplers
        for seed in seeds
        for condition in CONDITIONS
    ]


def _model(sampler: str, labels: NDArray[np.uint8]) -> Any:
    if sampler != "slads":
        return None
    phases = tuple(range(1, int(labels.max()) + 1))
    return SladsModel(shipped_model().fallback, phases, radius=default_radius(labels.size))


def _measure(about: Object, sampler: str, condition: str, seed: int, report: Report) -> dict[str, Any]:
    labels = make_labels(about.kind, about.size, seed, "test")
    frame = None
    if condition == "other":
        frame = simulated_frame(make_labels(about.kind, about.size, seed + 1000, "test"), seed)
    elif condition != "without":
        frame = simulated_frame(labels, seed, equal=condition == "equal")
    made: Any = make_sampler(
        sampler, labels.shape, labels=int(labels.max()), model=_model(sampler, labels), seed=seed, image=frame
    )
    flat, step = labels.reshape(-1), max(1, int(about.step * labels.size))
    most = labels.size // 4
    td = 1.0
    while td > about.wanted and made.n_measured < most:
        for _ in range(step):
            pixel = made.suggest()[0].pixel
            made.ingest(pixel, int(flat[pixel]))
        td = float(np.mean(made.reconstruct() != labels))
        report(made.n_measured / most)
    use = made.image_use
    return {
        "fraction": made.n_measured / labels.size if td <= about.wanted else None,
        "td": td,
        "used": bool(use is not None and use.used),
        "displacement": None if use is None else [use.displacement.y, use.displacement.x],
    }


def summarise(
    objects: Sequence[str],
    samplers: Sequence[str],
    seeds: Sequence[int],
    results: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """For each object and sampler the median fraction needed under each condition, and its ratio to that without."""
    rows = []
    for name in objects:
        for sampler in samplers:
            found = {
                condition: [results[_key(name, sampler, condition, seed)] for seed in seeds]
                for condition in CONDITIONS
            }
            needed = {
                condition: float(np.median([r["fraction"] or math.inf for r in runs]))
                for condition, runs in found.items()
            }
            rows.append(
                {
                    "object": name,
                    "sampler": sampler,
                    "wanted": OBJECTS[name].wanted,
                    "needed": {c: v if math.isfinite(v) else None for c, v in needed.items()},
                    "ratio": {c: v / needed["without"] for c, v in needed.items() if c != "without"},
                    "used": {c: sum(r["used"] for r in runs) for c, runs in found.items()},
                    "runs": {c: [r["fraction"] for r in runs] for c, runs in found.items()},
                }
            )
    return rows


def image_figures(rows: Sequence[Mapping[str, Any]], real: Mapping[str, Any] | None) -> list[Figure]:
    """One figure for each goal."""
    figures = []
    for row in rows:
        name = f"{row['object']}, {row['sampler']}"
        figures.append(
            at_most(f"{name}: samples with a frame of CNR {CONTRAST:g} / without", row["ratio"]["frame"], 0.6)
        )
        figures.append(at_most(f"{name}: with two phases equally grey / without", row["ratio"]["equal"], 1.0))
        figures.append(
            at_most(f"{name}: with the frame of another object / without", row["ratio"]["other"], 1.05)
        )
    if real is not None:
        without, with_image = real["without"], real["frame"]
        goal = without[FRACTIONS.index(0.10)]
        figures.append(
            at_least(
                "dacite, agreement with the other measurement at 5 % with its BSE",
                with_image[FRACTIONS.index(0.05)],
                goal,
            )
        )
        for name, found in (("labels alone", without), ("its BSE", with_image)):
            figures.append(
                at_least(
                    f"dacite, agreement with the other measurement at 8 % with {name}",
                    found[FRACTIONS.index(0.08)],
                    0.97,
                )
            )
        what = "dacite, agreement with the other measurement,"
        figures.append(measured(f"{what} of all pixels", real["full"]))
        figures.append(measured(f"{what} of all pixels, denoised by a Potts field", real["denoised"]))
        figures.append(
            measured(
                f"{what} of all pixels, by an oracle that knows its labels around each pixel", real["oracle"]
            )
        )
    return figures


def dacite(folder: Path, seeds: Sequence[int], report: Report) -> dict[str, Any]:
    """Map the dacite with and without its own backscatter image, and judge by the other measurement of the field.

    The labels are those of the segmentation in ``p45_dacite.npz``. The judge is the second measurement,
    ``p45/P45_12bit_packed_8bit.bcf``, each spectrum classified by itself, where it is sure.

    Parameters
    ----------
    folder : Path
        Holds both files.
    seeds : sequence of int
    report : callable

    Returns
    -------
    dict
        JSON: ``fractions`` and the agreement at each, ``without`` and with the ``frame``; the part of the pixels that
        is ``judged``; agreement of the ``full`` map, of the same ``denoised``, and of an ``oracle`` that knows the
        judge's labels around each pixel.

    Raises
    ------
    DataError
        Naming the file that is missing.
    """
    path, other = folder / "p45_dacite.npz", folder / "p45" / "P45_12bit_packed_8bit.bcf"
    for file in (path, other):
        if not file.is_file():
            raise DataError(f"{file}: no such file")
    with np.load(path, allow_pickle=False) as stored:
        frame = np.asarray(stored["bse"], np.float32)
    labels, judge = read_map(path).labels, read_map(other)
    assert labels is not None
    sure, counted = classify_like(judge, labels)

    def agreement(found: NDArray[np.uint8]) -> float:
        return float(np.mean((found == sure)[counted]))

    curves: dict[str, list[list[float]]] = {"without": [], "frame": []}
    runs = [(condition, seed) for seed in seeds for condition in curves]
    for i, (condition, seed) in enumerate(runs):
        image = frame if condition == "frame" else None
        made: Any = make_sampler("learned", labels.shape, labels=int(labels.max()), seed=seed, image=image)
        curve = []
        for fraction in FRACTIONS:
            while made.n_measured < round(fraction * labels.size):
                pixel = made.suggest()[0].pixel
                made.ingest(pixel, int(labels.reshape(-1)[pixel]))
            curve.append(agreement(made.reconstruct()))
        curves[condition].append(curve)
        report((i + 1) / len(runs))
    # what a map of all pixels comes to, if a prior may overrule its labels: no map of a part of them can do better
    evidence = np.full((*labels.shape, int(labels.max())), math.log(LABEL_ERROR / (int(labels.max()) - 1)))
    np.put_along_axis(evidence, labels[..., None].astype(np.intp) - 1, math.log(1.0 - LABEL_ERROR), axis=2)
    return {
        "denoised": agreement(denoise(evidence).labels),
        "oracle": agreement(neighbour_oracle(evidence, sure)),
        "fractions": list(FRACTIONS),
        "judged": float(counted.mean()),
        "full": agreement(labels),
        **{condition: np.median(found, axis=0).tolist() for condition, found in curves.items()},
    }
