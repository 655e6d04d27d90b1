"""Measures where the error of element maps is expected to fall most: zoned crystals are not cut at a contour.

What is minimised is Σ over pixels and elements of the squared error of the intensity, in units of one measurement's
counting variance. Two things are unknown: what varies inside each phase (`field.Field`), and which phase a pixel is
of. The second counts by what another phase there would change: nothing at a contour that cuts a crystal in two, a lot
where two minerals meet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...protocols import UNMEASURED, Suggestion
from ...randomfield import Variation, VariationFinder
from ..learned.sampler import LearnedSampler
from ..picks import batch_size
from .field import Corners, Field, NodeGrid

__all__ = ["ElementSampler"]

NODES = 256
GROWTH, LEAST, MOST = 0.08, 0.005, 0.01
"""A batch is so much of the pixels measured, from and to so much of all; see `picks.batch_size`."""
LEAST_SPECTRA = 12
"""Spectra of a phase from which on its variation is looked for."""
FIT_POINTS = 120
REFIT = 1.25
"""The variation of a phase is looked for again when it has so many times the spectra."""
UNSEEN_SILL, UNSEEN_LENGTH = 0.03, 1.0 / 6.0
"""Where no variation is found one is granted that few spectra cannot show: its variance in units of a measurement's,
and its length in units of the map's side."""
UNSEEN_PHASE = 5e-4
"""Probability, of a pixel that the network is quite sure of, that it is of another phase all the same."""
GAP_EVERY = 6
"""Every so many-th pick is the pixel that is farthest from all measured ones: a grain that nobody saw, of an element
that nobody knows there, is in no expectation. In the dacite of `bench elements` half of the variance of iron is in
0.3 % of the pixels."""
LAZY = 32
NARROW, WIDE = 1, 5


class ElementSampler:
    """Chooses pixels for element maps; labels and their map are those of a `LearnedSampler`.

    Parameters
    ----------
    labels : LearnedSampler
        Asked for the initial mask and for what phase each pixel is of.
    n_elements : int

    Examples
    --------
    Half of a map is zoned, half is not; the zoned half is measured more:

    >>> import numpy as np
    >>> from slads_bluesky import LearnedSampler
    >>> rng = np.random.default_rng(0)
    >>> sampler = ElementSampler(LearnedSampler((48, 48), labels=2, initial=0.02), 1)
    >>> while sampler.n_measured < 200:
    ...     (at,) = sampler.suggest()
    ...     row, column = divmod(at.pixel, 48)
    ...     label = 1 if column < 24 else 2
    ...     counts = rng.poisson(200.0 if label == 1 else 100.0 + 6.0 * row)
    ...     sampler.ingest_intensities(at.pixel, label, np.array([float(counts)]), np.array([200.0]))
    >>> bool((sampler.measured[:, 26:] > 0).sum() > 2 * (sampler.measured[:, :22] > 0).sum())
    True
    """

    def __init__(self, labels: LearnedSampler, n_elements: int) -> None:
        self._labels, self._n_elements = labels, n_elements
        self._row: dict[int, int] = {}
        self._pixels: list[int] = []
        self._votes: list[int] = []
        self._values: list[NDArray[np.float64]] = []
        self._noise: list[NDArray[np.float64]] = []
        self._grid = NodeGrid(labels.shape, min(NODES, self._size // 8))
        self._found: dict[int, tuple[int, list[Variation]]] = {}
        self._since, self._batch = 0, batch_size(0, self._size, GROWTH, LEAST, MOST)
        self._plan: _Plan | None = None

    # ---- what the sampler of the labels says

    def __getattr__(self, name: str) -> Any:
        # the map of labels, its error and the rules to stop are not this sampler's business
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._labels, name)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._labels.shape

    @property
    def n_measured(self) -> int:
        """Different pixels ingested so far."""
        return self._labels.n_measured

    @property
    def measured(self) -> NDArray[np.int16]:
        """(rows, columns): label of each measured pixel, 0 where unclassified, -1 where unmeasured; a copy."""
        return self._labels.measured

    @property
    def _size(self) -> int:
        return int(np.prod(self._labels.shape))

    # ---- ingesting

    def ingest(self, pixel: int, label: int) -> None:
        """Take a label without a spectrum: the pixel is measured and says nothing of the elements."""
        self._take(pixel, label, None, None)

    def ingest_intensities(
        self, pixel: int, label: int, values: NDArray[np.float64], noise: NDArray[np.float64]
    ) -> None:
        """Take a label and what was measured of each element.

        Parameters
        ----------
        pixel, label : int
        values, noise : (E,) float64
            Intensities, and the variance of each by counting. The same pixel again changes nothing but its label.
        """
        self._take(pixel, label, values, noise)

    def _take(
        self, pixel: int, label: int, values: NDArray[np.float64] | None, noise: NDArray[np.float64] | None
    ) -> None:
        before = self._labels.n_measured
        self._labels.ingest(pixel, label)
        if pixel in self._row:
            self._votes[self._row[pixel]] = label
        elif values is not None and noise is not None:
            self._row[pixel] = len(self._pixels)
            self._pixels.append(int(pixel))
            self._votes.append(int(label))
            self._values.append(np.array(values, np.float64))
            self._noise.append(np.array(noise, np.float64))
        self._since += self._labels.n_measured - before
        if self._since >= self._batch and self._labels.initial_mask_is_measured:
            self._since = 0
            self._batch = batch_size(self.n_measured, self._size, GROWTH, LEAST, MOST)
            self._plan = self._planned(())

    # ---- suggesting

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Up to `n` pixels to measure next; the ERD is the expected fall of the error, in counting variances."""
        if self._plan is None or not self._plan.useful:
            return self._labels.suggest(n)
        return self._plan.take(n, self._labels.measured)

    def suggest_besides(self, n: int, pending: Collection[int]) -> list[Suggestion]:
        """Up to `n` pixels while those of `pending` are measured: what they add to the fields is known."""
        plan = self._planned(sorted(pending)) if self._plan is not None else None
        if plan is None or not plan.useful:
            return self._labels.suggest_besides(n, pending)
        seen = self._labels.measured
        seen.flat[list(pending)] = 0
        return plan.take(n, seen)

    def _planned(self, pending: Sequence[int]) -> _Plan:
        seen = self._labels.measured
        votes = np.array(self._votes, np.int64)
        pixels = np.array(self._pixels, np.int64)
        values, noise = np.array(self._values), np.array(self._noise)
        variations: dict[int, list[Variation]] = {}
        for label in self._labels.labels:
            of = np.flatnonzero(votes == label)
            if len(of) >= LEAST_SPECTRA:
                variations[label] = self._variations(label, pixels[of], values[of], noise[of])
        return _Plan(self._labels, self._grid, seen, pixels, votes, values, noise, variations, pending)

    def _variations(
        self, label: int, pixels: NDArray[np.int64], values: NDArray[np.float64], noise: NDArray[np.float64]
    ) -> list[Variation]:
        """How each element varies in a phase; looked for again when there is much more to see."""
        n, known = self._found.get(label, (0, []))
        if len(pixels) < REFIT * n:
            return known
        order = np.argsort(pixels)
        at = np.stack(np.divmod(pixels[order], self.shape[1]), axis=1).astype(np.float64)
        finder = VariationFinder(at, FIT_POINTS)
        known = [finder.find(values[order, e], noise[order, e]) for e in range(self._n_elements)]
        self._found[label] = (len(pixels), known)
        return known


class _Plan:
    """Picks that follow from one moment, one after the other; worked out as far as they are asked for."""

    def __init__(
        self,
        labels: LearnedSampler,
        grid: NodeGrid,
        seen: NDArray[np.int16],
        pixels: NDArray[np.int64],
        votes: NDArray[np.int64],
        values: NDArray[np.float64],
        noise: NDArray[np.float64],
        variations: dict[int, list[Variation]],
        pending: Sequence[int],
    ) -> None:
        self._labels, self._grid, self._seen = labels, grid, seen
        self._evidence = (pixels, votes, values, noise)
        self._variations, self._pending = variations, pending
        self._picks: list[Suggestion] = []
        self._first = 0
        self._ready = False

    @property
    def useful(self) -> bool:
        """Whether anything is known of any phase's elements."""
        return bool(self._variations)

    def take(self, n: int, measured: NDArray[np.int16]) -> list[Suggestion]:
        """Return the first `n` picks that are unmeasured by now; fewer if no more are left."""
        out: list[Suggestion] = []
        flat, i = measured.ravel(), self._first
        while len(out) < n:
            if i == len(self._picks) and not self._extend():
                break
            if flat[self._picks[i].pixel] == UNMEASURED:
                out.append(self._picks[i])
            elif i == self._first:
                self._first += 1
            i += 1
        return out

    # ---- once

    def _prepare(self) -> None:
        prediction = self._labels.mapper(self._seen)
        self._distance = np.maximum(prediction.distance, 1.0)
        self._label = prediction.labels.ravel()
        pixels, votes, values, noise = self._evidence
        #: variance of one measurement of each element, over the whole map: the unit of its error
        self._unit = np.maximum(noise.mean(axis=0), 1e-300)
        everything = self._grid.corners(np.arange(self._label.size))
        self._corners = everything
        self._fields: dict[int, list[Field]] = {}
        side = float(np.sqrt(self._label.size))
        for label, variations in self._variations.items():
            of = np.flatnonzero(votes == label)
            at, inside = everything.take(pixels[of]), everything.take(np.flatnonzero(self._label == label))
            fields = []
            for e, variation in enumerate(variations):
                own = float(noise[of, e].mean())
                if variation.sill <= 0.0:
                    variation = Variation(
                        variation.mean,
                        variation.mean_sd,
                        UNSEEN_SILL * own,
                        UNSEEN_LENGTH * side,
                        variation.nugget,
                    )
                fields.append(Field(self._grid, variation, at, values[of, e], noise[of, e], inside, own))
            self._fields[label] = fields
        self._of_phase = self._phase_error(1.0 - prediction.probability.ravel().astype(np.float64))
        self._fall = np.zeros(self._label.size)
        for label in self._fields:
            of = np.flatnonzero(self._label == label)
            self._fall[of] = self._falls(label, of)
        self._closed = (self._seen.ravel() != UNMEASURED) | ~self._labels.allowed.ravel()
        self._gap = ndimage.distance_transform_edt(self._seen == UNMEASURED)
        for pixel in self._pending:
            self._measure(int(pixel))
        self._ready = True

    def _falls(self, label: int, pixels: NDArray[np.intp]) -> NDArray[np.float64]:
        at, out = self._corners.take(pixels), np.zeros(len(pixels))
        for e, field in enumerate(self._fields.get(label, ())):
            out += field.fall(at) / self._unit[e]
        return out

    def _phase_error(self, uncertainty: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much knowing the phase of each pixel lowers the error, its neighbours' included.

        Another phase would be the nearest one of a measured pixel. What it would change there is the difference of
        what the two phases' own fields expect in that place.
        """
        known = [label for label in self._fields if (self._seen == label).any()]
        change = np.zeros(uncertainty.size)
        if len(known) > 1:
            gaps = np.stack([ndimage.distance_transform_edt(self._seen != label).ravel() for label in known])
            gaps[np.searchsorted(known, self._label).clip(0, len(known) - 1), np.arange(change.size)] = np.inf
            other = np.array(known)[gaps.argmin(axis=0)]
            expected = {
                label: np.stack([field.expected(self._corners) for field in self._fields[label]])
                for label in known
            }
            for label in known:
                for second in known:
                    of = np.flatnonzero((self._label == label) & (other == second))
                    if second != label and len(of):
                        apart = expected[label][:, of] - expected[second][:, of]
                        change[of] = (apart**2 / self._unit[:, None]).sum(axis=0)
        unseen = UNSEEN_PHASE * (change.mean() + 1.0)  # a phase that nobody saw there
        return np.asarray((uncertainty * change + unseen) * self._distance.ravel())

    # ---- pick after pick

    def _extend(self) -> bool:
        """Choose one more pixel; False if none is left."""
        if not self._ready:
            self._prepare()
        if len(self._picks) % GAP_EVERY == GAP_EVERY - 1:
            gap = np.where(self._closed, -1.0, self._gap.ravel())
            first = int(np.argmax(gap))
            if gap[first] < 0.0:
                return False
            self._picks.append(Suggestion(first, float(self._of_phase[first] + self._fall[first])))
            self._measure(first)
            return True
        while True:
            worth = np.where(self._closed, -np.inf, self._of_phase + self._fall)
            best = np.argpartition(-worth, min(LAZY, worth.size - 1))[: LAZY + 1]
            best = best[np.isfinite(worth[best])]
            if not len(best):
                return False
            # falls hardly ever get larger: what was computed before is as good as a bound, and only the best are
            # computed again
            for label in np.unique(self._label[best]):
                of = best[self._label[best] == label]
                self._fall[of] = self._falls(int(label), of)
            now = self._of_phase[best] + self._fall[best]
            first = int(best[np.argmax(now)])
            rest = np.delete(worth[best], int(np.argmax(now)))
            bound = float(worth[best].min()) if len(best) > LAZY else -np.inf
            if float(now.max()) >= bound or not len(rest):
                break
        self._picks.append(Suggestion(first, float(now.max())))
        self._measure(first)
        return True

    def _measure(self, pixel: int) -> None:
        """Take it that a pixel is measured: its field is known better there, and the phase of its surroundings."""
        at: Corners = self._corners.take(np.array([pixel]))
        for field in self._fields.get(int(self._label[pixel]), ()):
            field.measure(at)
        self._closed[pixel] = True
        rows, columns = self._seen.shape
        row, column = divmod(pixel, columns)
        # no pixel farther off than the largest gap comes any nearer
        reach = int(np.ceil(self._gap.max()))
        top, left = max(0, row - reach), max(0, column - reach)
        around = self._gap[top : row + reach + 1, left : column + reach + 1]
        y, x = np.ogrid[: around.shape[0], : around.shape[1]]
        np.minimum(around, np.hypot(y + top - row, x + left - column), out=around)
        h = int(np.clip(0.7 * self._distance[row, column], NARROW, WIDE))
        near = self._of_phase.reshape(rows, columns)[
            max(0, row - h) : row + h + 1, max(0, column - h) : column + h + 1
        ]
        near *= 0.1
