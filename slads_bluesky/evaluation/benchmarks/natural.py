"""Fraction of the pixels that each sampler needs on photographs: images unlike any that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...images.distortion import boundary_fraction
from .objects import summary
from .trace import Trained, look_at, trace, trains
from .trials import Report, Trial

__all__ = ["PICTURES", "natural_images", "natural_trials", "summarise"]

PICTURES = (
    *("camera", "coins", "moon", "clock", "coffee", "rocket", "retina", "horse"),
    *("brick", "grass", "gravel", "page", "text"),
)
TRAINING_PICTURES = ("astronaut", "cell", "immunohistochemistry")
"""Pictures that SLADS is trained on."""
PHASES = (2, 4)
STARTS = 3
"""Starting masks: the fraction that one run needs on a photograph varies by a tenth and more."""
SIDE = 128


def natural_images(
    pictures: Sequence[str], phases: int, side: int = SIDE
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Give scikit-image's own pictures as label images; pictures that it would have to download are left out.

    Parameters
    ----------
    pictures : sequence of str
        Names in `skimage.data`.
    phases : int
        Labels to segment into, by multi-Otsu.
    side : int
        Rows and columns.
    """
    from skimage import data, transform

    from ...images.segmentation import segment

    for name in pictures:
        try:
            picture = np.asarray(getattr(data, name)(), np.float64)
        except (AttributeError, OSError, ImportError, ValueError):
            continue
        grey = picture[..., :3].mean(axis=2) if picture.ndim == 3 else picture
        edge = min(grey.shape)
        small = transform.resize(grey[:edge, :edge], (side, side), anti_aliasing=True)  # type: ignore[no-untyped-call]
        try:
            yield name, segment(small, phases, window=1, smallest=1, name=name)
        except DataError:
            continue


FROM = 0.02
"""Fraction of the pixels from which two samplers are compared at each fraction."""


def _key(picture: str, phases: int, name: str, seed: int, start: int) -> str:
    return f"natural-{picture}-{phases}-{name}-{seed}-{start}"


def natural_trials(pictures: Sequence[str], names: Sequence[str], seed: int) -> list[Trial]:
    """Trials of each sampler on each of `pictures`, in two and in four phases, from `STARTS` starting masks."""
    trials = []
    for phases in PHASES:
        trained = {name: Trained(name, partial(_training_images, phases), seed) for name in names}
        for i, (picture, image) in enumerate(natural_images(pictures, phases)):
            for name in names:
                for start in range(STARTS):
                    first = i == start == 0 and trains(name)
                    trials.append(
                        Trial(
                            _key(picture, phases, name, seed, start),
                            f"{picture} in {phases} phases, {name}, start {start + 1} of {STARTS}",
                            4.0 + (20.0 if first else 0.0),
                            partial(_measure, picture, phases, image, name, seed + start, trained[name]),
                        )
                    )
    return trials


def _training_images(phases: int) -> list[NDArray[np.uint8]]:
    return [image for _, image in natural_images(TRAINING_PICTURES, phases)]


def _measure(
    picture: str,
    phases: int,
    image: NDArray[np.uint8],
    name: str,
    seed: int,
    trained: Trained,
    report: Report,
) -> dict[str, Any]:
    b = boundary_fraction(image)
    wanted = max(0.0015, b / 50)
    stops = look_at(image.size, min(0.9, 3 * b + 0.05), 0.0025)
    found = trace(name, trained()[0], image, stops, seed, wanted, report)
    return {
        **found.figures(wanted),
        "image": picture,
        "phases": phases,
        "boundary_fraction": b,
        "wanted": wanted,
    }


def summarise(
    names: Sequence[str], seed: int, results: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Figures of each picture, from the results of `natural_trials`: fraction needed, and its ratio to SLADS'.

    Of the fraction the median and the worst over the starts are given, None where the distortion was not reached;
    the ratio is that of the medians.
    """
    of_pictures = {(r["image"], r["phases"]): r for r in results.values() if "image" in r}
    rows = []
    for (picture, phases), any_of in of_pictures.items():
        of_names = {
            name: [results[_key(picture, phases, name, seed, start)] for start in range(STARTS)]
            for name in names
        }
        runs = {
            name: [r["fraction"] if r["reached"] else math.inf for r in of_name]
            for name, of_name in of_names.items()
        }
        needed = {name: summary(of_name) for name, of_name in runs.items()}
        slads = needed["slads"]["median"] if "slads" in needed else None
        ratio = {
            name: None if found["median"] is None else found["median"] / slads
            for name, found in needed.items()
            if slads and name != "slads"
        }
        curves = {name: _median_curve([r["curve"] for r in of_name]) for name, of_name in of_names.items()}
        rows.append(
            {
                "image": picture,
                "worst_ratio": {
                    name: _worst_ratio(curves[name], curves["slads"], any_of["wanted"])
                    for name in names
                    if "slads" in names and name != "slads"
                },
                "phases": phases,
                "boundary_fraction": any_of["boundary_fraction"],
                "wanted": any_of["wanted"],
                "needed": needed,
                "ratio": ratio,
                "covered": {
                    name: [held for r in of_name for held in r["covered"]]
                    for name, of_name in of_names.items()
                },
            }
        )
    return rows


def _median_curve(curves: Sequence[Sequence[Sequence[float]]]) -> dict[float, float]:
    """Median distortion at each fraction at which a run looked; a run that came to its end keeps its last one."""
    looks = max((curve[0] for curve in curves), key=len)
    tds = [list(td) + [td[-1]] * (len(looks) - len(td)) for _, td in curves]
    return dict(zip(looks, np.median(tds, axis=0).tolist(), strict=True))


def _worst_ratio(
    own: Mapping[float, float], other: Mapping[float, float], wanted: float
) -> list[float] | None:
    """Largest ratio of two curves, and where, over the fractions from `FROM` at which the other is above `wanted`."""
    last = own[max(own)]
    ratios = [
        (own.get(fraction, last) / td, fraction)
        for fraction, td in other.items()
        if fraction >= FROM and td > wanted
    ]
    return list(max(ratios)) if ratios else None
