"""A recorded map under another classifier (labels of the same spectra) or sampler (pixels of the same specimen).

Pure but for `draw_comparison`, which writes the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import RecordError
from ..files import atomic_write
from ..progress import Progress, no_progress, part_of
from ..protocols import Classifier, Sampler
from ..simulated import simulated_object
from .run_data import RunData

__all__ = [
    "LabelComparison",
    "SamplerComparison",
    "compare_labels",
    "compare_samplers",
    "draw_comparison",
    "known_truth",
]

N_NUMBERS = 24
"""Numbers of pixels at which two samplers are compared, evenly on a logarithmic scale."""


@dataclass(frozen=True)
class LabelComparison:
    """How the labels of a map and those of another classifier coincide."""

    sha256: str
    """Of the other classifier."""
    same: float
    """Fraction of the spectra with the same label."""
    labels: list[str]
    """Names, "no phase" first."""
    counts: list[list[int]]
    """Spectra by recorded label (rows) and by the other's (columns)."""
    error_recorded: float | None = None
    """Fraction of the spectra with a wrong phase, where the truth is known."""
    error_other: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, without those that are not known."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class SamplerComparison:
    """Total distortion (Eq. 14 of the paper) of a map and of the map that another sampler would have made."""

    numbers: NDArray[np.int64]
    """(K,) numbers of measured pixels."""
    td_recorded: NDArray[np.float64]
    """(K,)."""
    td_other: NDArray[np.float64]
    """(K,)."""


def known_truth(data: RunData) -> NDArray[np.uint8] | None:
    """Phase map of the specimen, (rows, columns) uint8, where it is known: a simulated one, or a full raster."""
    specimen = simulated_object(data.start)
    if specimen is not None:
        from ..phantom import make_object

        return make_object(*specimen).truth
    if data.n_measured == data.grid.n_pixels:
        return np.asarray(np.maximum(data.measured, 0), np.uint8)
    return None


def compare_labels(
    data: RunData, classifier: Classifier, truth: NDArray[np.uint8] | None = None
) -> LabelComparison:
    """Classify the spectra of a map by another classifier.

    Parameters
    ----------
    data : RunData
        With its spectra.
    classifier : Classifier
    truth : (rows, columns) uint8 array, optional
        Phase map of the specimen.

    Raises
    ------
    RecordError
        If the map has no spectra of the classifier's channels.
    """
    labels, _, verdicts = classifier.classify_batch(data.spectra_of(classifier.n_channels))
    votes = np.where(verdicts == "ok", labels, 0).astype(np.int64)
    names = ["no phase", *data.phases]
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (data.votes, np.minimum(votes, len(names) - 1)), 1)

    def error(called: NDArray[np.int64]) -> float | None:
        if truth is None:
            return None
        return float(((called != truth.ravel()[data.pixels]) & (called > 0)).mean())

    return LabelComparison(
        sha256=classifier.sha256,
        same=float((votes == data.votes).mean()),
        labels=names,
        counts=counts.tolist(),
        error_recorded=error(data.votes),
        error_other=error(votes),
    )


def compare_samplers(
    data: RunData,
    recorded: Sampler,
    other: Sampler,
    truth: NDArray[np.uint8] | None,
    progress: Progress = no_progress,
) -> SamplerComparison:
    """Let another sampler map the same specimen, and compare the reconstructions of both at the same dose.

    Parameters
    ----------
    data : RunData
        The recorded map.
    recorded, other : Sampler
        That of the map, and the other, before the first pixel.
    truth : (rows, columns) uint8 array
        Phase map of the specimen; see `known_truth`.
    progress : callable
        Called as ``progress("sampling", fraction)``.

    Raises
    ------
    RecordError
        If the truth is not known.
    """
    if truth is None:
        raise RecordError(
            f"run {data.uid[:8]}: what another sampler would have measured elsewhere is known only for a simulated "
            "object or a full raster"
        )
    n = data.n_measured
    numbers = np.unique(np.geomspace(max(n // 50, 1), n, N_NUMBERS).astype(np.int64))
    ours = zip(data.pixels.tolist(), data.votes.tolist(), strict=True)
    return SamplerComparison(
        numbers,
        _distortion(recorded, ours, numbers, truth, part_of(progress, 0.0, 0.5, "sampling")),
        _distortion(other, _chosen(other, truth), numbers, truth, part_of(progress, 0.5, 1.0, "sampling")),
    )


def _chosen(sampler: Sampler, truth: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    while suggestions := sampler.suggest(1):
        pixel = suggestions[0].pixel
        yield pixel, int(truth.ravel()[pixel])


def _distortion(
    sampler: Any,
    labelled: Iterable[tuple[int, int]],
    numbers: NDArray[np.int64],
    truth: NDArray[np.uint8],
    progress: Progress,
) -> NDArray[np.float64]:
    """(K,) total distortion of a sampler's own reconstruction after `numbers` of pixels."""
    out: list[float] = []
    wanted = iter(numbers)
    following = next(wanted)
    for i, (pixel, label) in enumerate(labelled, start=1):
        sampler.ingest(pixel, label)
        progress("sampling", i / numbers[-1])
        if i == following:
            seen = bool((sampler.measured > 0).any())
            out.append(float((sampler.reconstruct() != truth).mean()) if seen else 1.0)
            following = next(wanted, -1)
            if following < 0:
                break
    out += [out[-1] if out else 1.0] * (len(numbers) - len(out))  # a sampler that has nothing left to suggest
    return np.array(out)


def draw_comparison(
    path: Path,
    data: RunData,
    labels: LabelComparison | None,
    samplers: SamplerComparison | None,
    name: str,
) -> None:
    """Write the comparison as one picture.

    Parameters
    ----------
    path : Path
        A file of a type that matplotlib writes.
    data : RunData
        The recorded map.
    labels, samplers : optional
        What was compared.
    name : str
        Of the other sampler, for the legend.
    """
    panels = int(samplers is not None) + int(labels is not None)
    figure = Figure(figsize=(5 * panels, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    if samplers is not None:
        here = axes.pop(0)
        share = samplers.numbers / data.grid.n_pixels * 100
        for curve, label in ((samplers.td_recorded, "recorded"), (samplers.td_other, name)):
            here.plot(share, curve, marker=".", label=label)
        here.set(xlabel="pixels measured, %", ylabel="total distortion")
        here.set_yscale("symlog", linthresh=1e-3)
        here.set_ylim(bottom=0)
        here.legend(frameon=False)
    if labels is not None:
        here = axes.pop(0)
        counts = np.array(labels.counts)
        here.imshow(np.log1p(counts), cmap="Blues")
        for (i, j), count in np.ndenumerate(counts):
            here.text(j, i, str(count), ha="center", va="center")
        here.set_xticks(range(len(labels.labels)), labels.labels, rotation=30, parse_math=False)
        here.set_yticks(range(len(labels.labels)), labels.labels, parse_math=False)
        here.set(xlabel="other", ylabel="recorded")
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=120)
