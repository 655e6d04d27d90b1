"""The network at work: from a map of measured labels to the most probable label of every pixel.

Maps of any size are cut into tiles whose margins exceed the cap on distances, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from ...errors import ConfigError
from ...images.labels import compact_labels
from ..imaging.evidence import ImageEvidence
from .guided_inputs import RATIO_UNIT, ImageInput, fold_ratios
from .inputs import N_PLANES, fold_planes, label_distances
from .model import LearnedModel
from .network import MULTIPLE, load_network

__all__ = ["NetworkMapper", "Precision", "Prediction", "Seen", "resolve_precision"]

Precision = Literal["auto", "bfloat16", "float32"]

_TILE, _MARGIN = 1024, 112
_LEAST = 1e-5
"""Least probability of the label that others leave."""


def resolve_precision(precision: Precision) -> Literal["bfloat16", "float32"]:
    """Return `precision`, or for "auto" the fastest that this processor computes natively."""
    if precision not in ("auto", "bfloat16", "float32"):
        raise ConfigError(f"precision must be auto, bfloat16 or float32, not {precision!r}")
    if precision != "auto":
        return precision
    native = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return "bfloat16" if native else "float32"


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield rows and columns of the tiles that a map is cut into."""
    rows, columns = shape
    step_r = _TILE if rows > _TILE + _MARGIN else rows
    step_c = _TILE if columns > _TILE + _MARGIN else columns
    for top in range(0, rows, step_r):
        for left in range(0, columns, step_c):
            yield (top, min(rows, top + step_r)), (left, min(columns, left + step_c))


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network predicts for every pixel."""

    labels: NDArray[np.uint8]
    """(rows, columns): the most probable label; its own where measured."""
    probability: NDArray[np.float32]
    """(rows, columns): probability of that label, 1 where measured."""
    distance: NDArray[np.float32]
    """(rows, columns): distance to the nearest voting sample, pixels, at most `inputs.CAP`."""
    conflict: NDArray[np.float32]
    """(rows, columns): d / (d + d'), d and d' the distances to the nearest sample of the most probable label and of
    any other; over 1/2 where another label is nearer, 0 where measured or where no other label is known."""


@njit(cache=True, nogil=True)
def _logistic(x):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + np.exp(-x))


@njit(cache=True, nogil=True)
def _decide(logits, values, distances, measured, labels, probability, distance, conflict):  # type: ignore[no-untyped-def]
    """Turn folded logits (maps, rows / 2, columns / 2, 4) into labels, their probability, distances and conflict.

    `distances` are squared, (labels, rows, columns) uint16.
    """
    rows, columns = labels.shape
    maps = logits.shape[0]
    for r in range(rows):
        for c in range(columns):
            lane = (r % 2) * 2 + c % 2
            nearest = distances[0, r, c]
            for i in range(1, values.size):
                nearest = min(nearest, distances[i, r, c])
            distance[r, c] = np.sqrt(np.float32(nearest))
            conflict[r, c] = 0.0
            if measured[r, c] > 0:
                labels[r, c], probability[r, c] = measured[r, c], 1.0
                continue
            best = 0
            p = _logistic(logits[0, r // 2, c // 2, lane])
            if values.size == 2 and p < 0.5:
                best, p = 1, 1.0 - p
            elif values.size > 2:
                total = p
                for i in range(1, maps):
                    q = _logistic(logits[i, r // 2, c // 2, lane])
                    total += q
                    if q > p:
                        best, p = i, q
                p /= max(total, 1e-9)
            labels[r, c], probability[r, c] = values[best], p
            if values.size > 1:
                own = np.sqrt(np.float32(distances[best, r, c]))
                rest = distances[1 if best == 0 else 0, r, c]
                for i in range(values.size):
                    if i != best:
                        rest = min(rest, distances[i, r, c])
                conflict[r, c] = own / (own + np.sqrt(np.float32(rest)) + np.float32(1e-6))


@njit(cache=True, nogil=True)
def _complement(logits, label):  # type: ignore[no-untyped-def]
    """Set the logits of one label, logits[label], to what the probabilities of all others leave."""
    maps, rows, columns, lanes = logits.shape
    for r in range(rows):
        for c in range(columns):
            for lane in range(lanes):
                left = np.float32(1.0)
                for i in range(maps):
                    if i != label:
                        left -= _logistic(logits[i, r, c, lane])
                left = min(max(left, np.float32(_LEAST)), np.float32(1.0 - _LEAST))
                logits[label, r, c, lane] = np.log(left / (np.float32(1.0) - left))


@njit(cache=True, nogil=True)
def _add_evidence(logits, bins, tables):  # type: ignore[no-untyped-def]
    """Multiply the probabilities of folded logits by a likelihood, and normalise them: a product of experts.

    `bins` (terms, rows, columns) uint8; `tables` (terms, labels, 256) hold logarithms. One map of logits is that of
    the first of two labels.
    """
    maps = logits.shape[0]
    terms, rows, columns = bins.shape
    weight = np.empty(tables.shape[1], np.float32)
    for r in range(min(rows, 2 * logits.shape[1])):
        for c in range(min(columns, 2 * logits.shape[2])):
            lane = (r % 2) * 2 + c % 2
            weight[:] = 0.0
            for t in range(terms):
                for i in range(weight.size):
                    weight[i] += tables[t, i, bins[t, r, c]]
            if maps == 1:
                logits[0, r // 2, c // 2, lane] += weight[0] - weight[1]
                continue
            top = weight.max()
            total = np.float32(0.0)
            for i in range(maps):
                weight[i] = _logistic(logits[i, r // 2, c // 2, lane]) * np.exp(weight[i] - top) + np.float32(
                    1e-12
                )
                total += weight[i]
            for i in range(maps):
                p = min(max(weight[i] / total, np.float32(1e-7)), np.float32(1.0 - 1e-6))
                logits[i, r // 2, c // 2, lane] = np.log(p / (np.float32(1.0) - p))


@njit(cache=True, nogil=True)
def _pool(logits, other, share):  # type: ignore[no-untyped-def]
    """Set folded logits to those of the weighted geometric mean with `share` of another prediction, normalised."""
    rest = np.float32(1.0) - share
    maps, rows, columns, lanes = logits.shape
    if maps == 1:
        for r in range(rows):
            for c in range(columns):
                for lane in range(lanes):
                    logits[0, r, c, lane] = rest * logits[0, r, c, lane] + share * other[0, r, c, lane]
        return
    weight = np.empty(maps, np.float32)
    for r in range(rows):
        for c in range(columns):
            for lane in range(lanes):
                total = np.float32(0.0)
                for i in range(maps):
                    p = _logistic(logits[i, r, c, lane]) ** rest * _logistic(other[i, r, c, lane]) ** share
                    weight[i] = p + np.float32(1e-12)
                    total += weight[i]
                for i in range(maps):
                    p = min(max(weight[i] / total, np.float32(1e-7)), np.float32(1.0 - 1e-6))
                    logits[i, r, c, lane] = np.log(p / (np.float32(1.0) - p))


@njit(cache=True, nogil=True)
def _at(logits, rows, columns, out):  # type: ignore[no-untyped-def]
    """Fill `out` (labels, n) with the probabilities of folded logits at some pixels."""
    maps = logits.shape[0]
    for j in range(rows.size):
        r, c = rows[j], columns[j]
        lane = (r % 2) * 2 + c % 2
        total = 0.0
        for i in range(maps):
            out[i, j] = _logistic(logits[i, r // 2, c // 2, lane])
            total += out[i, j]
        if maps == 1:
            if out.shape[0] > 1:
                out[1, j] = 1.0 - out[0, j]
            else:
                out[0, j] = 1.0
        else:
            for i in range(maps):
                out[i, j] /= max(total, 1e-9)


class Seen(NamedTuple):
    """A network that sees images, and what it sees of one."""

    network: NetworkMapper
    image: ImageInput
    weight: float
    """Of its prediction, against that from the labels alone; 0 … 1."""


class NetworkMapper:
    """Maps measured labels to a `Prediction` with a model's network.

    Parameters
    ----------
    model : LearnedModel
        Weights.
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the network. The two differ in rounding, hence now and then in a decision: a record of a map
        names the one that was used.
    complement : bool, optional
        See `PolicySettings`; by default as the model's own settings say.

    Notes
    -----
    Two labels take one pass of the network, L > 2 labels take L, or L - 1 with `complement`. Only the labels that
    were measured within a tile can be predicted there.
    """

    def __init__(
        self, model: LearnedModel, precision: Precision = "auto", *, complement: bool | None = None
    ) -> None:
        self.precision = resolve_precision(precision)
        self._complement = model.policy.complement if complement is None else complement
        self._dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        net = load_network(model).requires_grad_(False)
        self._planes = net.planes
        self._net = net.to(dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(
        self,
        measured: NDArray[np.int16],
        evidence: ImageEvidence | None = None,
        seen: Seen | None = None,
    ) -> Prediction:
        """Predict every pixel from (rows, columns) int16 labels, 0 where unclassified, -1 where unmeasured.

        With no voting sample at all every pixel gets label 1 with probability 0. The `evidence` of an image
        multiplies the probabilities; what a network that has `seen` the image predicts is pooled with them.
        """
        out = Prediction(
            np.ones(measured.shape, np.uint8),
            *(np.zeros(measured.shape, np.float32) for _ in range(3)),
        )
        if not (measured > 0).any():
            return out
        for rows, columns in _tiles(measured.shape):
            self._tile(measured, rows, columns, out, evidence, seen)
        return out

    def probabilities(
        self,
        measured: NDArray[np.int16],
        pixels: NDArray[np.int64],
        image: ImageInput | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Predict some pixels: the labels among `measured`, (L,), and the probability of each, (L, n).

        A label that was not measured within a tile has probability 0 there.
        """
        known = np.unique(measured[measured > 0]).astype(np.uint8)
        out = np.zeros((known.size, pixels.size), np.float32)
        row, column = np.divmod(pixels, measured.shape[1])
        for rows, columns in _tiles(measured.shape):
            here = np.flatnonzero(
                (row >= rows[0]) & (row < rows[1]) & (column >= columns[0]) & (column < columns[1])
            )
            if here.size == 0:
                continue
            values, _, logits, _ = self._window(measured, rows, columns, image)
            if values.size == 0:
                continue
            found = np.empty((values.size, here.size), np.float32)
            top, left = max(0, rows[0] - _MARGIN), max(0, columns[0] - _MARGIN)
            _at(logits, row[here] - top, column[here] - left, found)
            out[np.ix_(np.searchsorted(known, values), here)] = found
        return known, out

    def _tile(
        self,
        measured: NDArray[np.int16],
        rows: tuple[int, int],
        columns: tuple[int, int],
        out: Prediction,
        evidence: ImageEvidence | None,
        seen: Seen | None,
    ) -> None:
        top, left = max(0, rows[0] - _MARGIN), max(0, columns[0] - _MARGIN)
        core = np.s_[rows[0] : rows[1], columns[0] : columns[1]]
        values, distances, logits, padded = self._window(measured, rows, columns)
        if values.size == 0:
            out.distance[core] = np.float32(100.0)
            return
        if seen is not None and values.size > 1:
            other = seen.network._window(measured, rows, columns, seen.image)[2]
            _pool(logits, other, np.float32(seen.weight))
        if evidence is not None and values.size > 1:
            window = slice(top, rows[1] + _MARGIN), slice(left, columns[1] + _MARGIN)
            _add_evidence(logits, *evidence.of(values, window))
        inner = np.s_[: rows[1] - top, : columns[1] - left]
        # The kernel starts at the window's corner, so that 2 × 2 folding stays aligned; the core is cut out after.
        shape = (rows[1] - top, columns[1] - left)
        labels = np.empty(shape, np.uint8)
        probability, distance, conflict = (np.empty(shape, np.float32) for _ in range(3))
        _decide(
            logits,
            values,
            distances[:, *inner],
            padded[inner],
            labels,
            probability,
            distance,
            conflict,
        )
        cut = np.s_[rows[0] - top :, columns[0] - left :]
        out.labels[core], out.probability[core] = labels[cut], probability[cut]
        out.distance[core], out.conflict[core] = distance[cut], conflict[cut]

    def _window(
        self,
        measured: NDArray[np.int16],
        rows: tuple[int, int],
        columns: tuple[int, int],
        image: ImageInput | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32], NDArray[np.int16]]:
        """Labels of a tile with its margins, squared distances to them, folded logits, and what was measured."""
        top, left = max(0, rows[0] - _MARGIN), max(0, columns[0] - _MARGIN)
        cut = slice(top, rows[1] + _MARGIN), slice(left, columns[1] + _MARGIN)
        window = measured[cut]
        height, width = (-(-n // MULTIPLE) * MULTIPLE for n in window.shape)
        padded = np.full((height, width), -1, np.int16)
        padded[: window.shape[0], : window.shape[1]] = window
        values, compact = compact_labels(padded)
        if values.size == 0:
            return values, np.empty((0, height, width), np.uint16), np.empty((0, 0, 0, 4), np.float32), padded
        distances = label_distances(compact + 1, values.size)
        seen = None if image is None else image.of(values, cut)
        return values, distances, self._logits(distances, seen), padded

    def _logits(
        self,
        distances: NDArray[np.uint16],
        seen: tuple[NDArray[np.uint8], NDArray[np.int8]] | None,
    ) -> NDArray[np.float32]:
        """Folded logits (maps, rows / 2, columns / 2, 4): one map for one or two labels, else one for each.

        What a network sees of an image stays zero without one, and so does the share of wrong labels.
        """
        n, rows, columns = distances.shape
        maps = 1 if n <= 2 else n
        out = np.empty((maps, rows // 2, columns // 2, 4), np.float32)
        x = np.zeros((1, rows // 2, columns // 2, 4 * self._planes), np.float32)
        rest_label = -1
        if maps > 1 and self._complement:
            rest_label = int(np.argmax([np.count_nonzero(plane == 0) for plane in distances]))
        for i in range(maps):
            if i == rest_label:
                continue
            rest = [distances[j] for j in range(n) if j != i]
            other = np.minimum.reduce(rest) if rest else np.full((rows, columns), 100 * 100, np.uint16)
            fold_planes(distances[i], other, x[0])
            if seen is not None:
                fold_ratios(seen[0], seen[1][:, i], RATIO_UNIT, N_PLANES, x[0])
            with torch.inference_mode():
                planes = torch.from_numpy(x).to(self._dtype).permute(0, 3, 1, 2)
                out[i] = self._net.folded(planes)[0].permute(1, 2, 0).float().numpy()
        if rest_label >= 0:
            _complement(out, rest_label)
        return out
