"""SLADS as a `Sampler`: labels in, the next pixels out, every decision at the cost of the pixels it touches.

The decisions are those of a full recomputation after every label. They depend on the set of labels measured so
far and on the seed, never on the order in which the labels came.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...images.labels import fill_from_nearest, label_positions
from ...protocols import UNMEASURED, Suggestion
from ..base import GridSampler
from ..error_forecast import Record
from ..imaging.guide import GuideState, ImageGuide
from ..masks import initial_pixels
from ..picks import batch_size
from .engine import advance, copy_changed, pick_batch, rebuild, take_back
from .erd import best_pixel
from .error_monitor import ErrorMonitor
from .guided import GuidedPlan, vote_map, vote_probabilities
from .model import SladsModel, theta_matrix
from .reconstruct import label_map
from .state import LANES, OUTSIDE, STEP, Field, copy_field, empty_field

__all__ = ["SladsSampler"]

SPACING = 2.0
"""Factor by which the number of measured pixels grows from one validation of an image to the next."""
GROWTH, LEAST, MOST = 0.05, 0.0025, 0.0035
"""Of a batch of picks with an image, as `picks.batch_size` takes them."""


class SladsSampler(GridSampler):
    """SLADS on a grid, Eqs. 4 to 6 of the paper, with an initial low-discrepancy mask.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    model : SladsModel
        A trained model.
    labels : int or sequence of int
        The labels that may be measured: 1 … n for a number n.
    seed : int
        Seed of the initial mask.
    initial : float
        Fraction of the initial mask, of the pixels that may be measured.
    roi : (rows, columns) bool array, optional
        Region of interest: only its pixels are mapped and measured.
    forbidden : (rows, columns) bool array, optional
        Pixels that are mapped but must not be measured.
    smallest_feature : int, optional
        Pixels of the smallest patch that must not be missed; see `base.GridSampler`.
    stop_at : float, optional
        Total distortion at which `should_stop` is to hold; by default it holds when no pixel is left.
    confidence : float, optional
        With it `should_stop` holds once the total distortion is at most `stop_at` with this probability, by
        `distortion_bound`; without it, by the stop function of the references.

    Raises
    ------
    ConfigError, DataError
        If the labels, the fraction, the masks or the wanted distortion cannot be.

    Examples
    --------
    Train on one image of stripes, and map another from a fifth of its pixels:

    >>> import numpy as np
    >>> from slads_bluesky.sampling import train_slads
    >>> y, x = np.mgrid[:32, :32]
    >>> stripes = (y + x // 3) // 8 % 2 + 1
    >>> model = train_slads([stripes], seed=0, cs=(8.0,), radius=2, calibrated=False)
    >>> truth = (x + y // 4) // 8 % 2 + 1
    >>> sampler = SladsSampler(truth.shape, model, labels=2, seed=1)
    >>> while sampler.n_measured < truth.size // 5:
    ...     for suggestion in sampler.suggest():
    ...         sampler.ingest(suggestion.pixel, truth.flat[suggestion.pixel])
    >>> wrong = np.mean(sampler.reconstruct() != truth)
    >>> bool(wrong < 0.05)
    True
    """

    def __init__(
        self,
        shape: tuple[int, int],
        model: SladsModel,
        *,
        labels: int | Sequence[int],
        seed: int = 0,
        initial: float = 0.01,
        roi: NDArray[np.bool_] | None = None,
        forbidden: NDArray[np.bool_] | None = None,
        smallest_feature: int | None = None,
        stop_at: float | None = None,
        confidence: float | None = None,
    ) -> None:
        super().__init__(shape, labels, roi, forbidden, seed, smallest_feature)
        self._model = model
        self._values = np.array(self._labels, np.uint8)
        self._compact = {label: i for i, label in enumerate(self._labels)}
        self._seed = int(seed)
        self._initial = initial_pixels(self._shape, initial, seed=self._seed, allowed=self._allowed)
        self._fraction = float(initial)
        self._validated: NDArray[np.int16] | None = None
        """The labels that the last validation of the image is about, None before the first or without an image."""
        self._n_validated = 0
        self._use: GuideState | None = None
        self._planned: NDArray[np.int16] | None = None
        self._plan: GuidedPlan | None = None
        self._since, self._batch = 0, 0
        self._n_voting = 0
        self._cursor = 0
        self._field: Field | None = None
        self._next: Suggestion | None = None
        self._twin: Field | None = None
        self._twin_step = 0
        self._in_initial = np.zeros(self._flat.size, bool)
        self._in_initial[self._initial] = True
        self._n_initial_left = int(self._initial.size)
        self._monitor = ErrorMonitor(model, int(self._inside.sum()), stop_at, confidence)

    # ------------------------------------------------------------------ what is known

    @property
    def model(self) -> SladsModel:
        """The trained model."""
        return self._model

    @property
    def n_initial(self) -> int:
        """Pixels of the initial mask."""
        return int(self._initial.size)

    def take_image(self, frame: NDArray[np.float32]) -> None:
        """Take a grey-level frame of the field; see `base.GridSampler.take_image`."""
        super().take_image(frame)
        self._guide = ImageGuide(frame, self._shape, self._seed)
        self._initial = self._guide.initial_pixels(self._fraction, self._allowed)
        self._in_initial[:] = False
        self._in_initial[self._initial] = True
        self._n_initial_left = int(self._initial.size)

    @property
    def image_use(self) -> GuideState | None:
        """How the image is used by the last hold-out validation; None without one, or before the first."""
        if self._guide is None or self._validated is None:
            return None
        if self._use is None:
            self._use = self._guide.validated(vote_probabilities, self._validated)
        return self._use

    # ------------------------------------------------------------------ where to measure

    def _choose(self, n: int) -> list[Suggestion]:
        """Return up to `n` pixels by their ERD.

        The initial mask comes first, alone. After it a batch is chosen pixel by pixel, each time pretending that
        the reconstruction of the pixel before was measured.
        """
        start = self._next_initial(n)
        if start:
            return [Suggestion(pixel, float("nan")) for pixel in start]
        guided = self._guided_plan()
        if guided is not None:
            return [Suggestion(pixel, erd) for pixel, erd in guided.take(n, self._measured)]
        field = self._built()
        if n == 1:
            if self._next is None:
                self._next = self._read(field, int(best_pixel(field)))
            return [self._next]
        if self._twin is None:
            self._twin = copy_field(field)
        else:
            copy_changed(field, self._twin, self._twin_step)
        self._twin_step = int(field.counts[STEP])
        pixels, erds = pick_batch(self._twin, min(n, self._n_open), len(self._labels))
        return [Suggestion(int(pixel), float(erd)) for pixel, erd in zip(pixels, erds, strict=True)]

    def _guided_plan(self) -> GuidedPlan | None:
        """Return the picks by vote and image; None where no image is used."""
        use = self.image_use
        if use is None or not use.used or self._planned is None:
            return None
        if self._plan is None:
            evidence = use.evidence(self._planned)
            assert evidence is not None
            self._plan = GuidedPlan(self._planned, evidence, self._inside, self._allowed, self._model.k)
        return self._plan

    def _next_batch(self) -> None:
        """Keep the labels of this moment to plan from with the image, and now and then for its next validation."""
        self._since, self._batch = 0, batch_size(self._n_measured, self._n_allowed, GROWTH, LEAST, MOST)
        self._planned, self._plan = self._measured.copy(), None
        if self._n_measured >= SPACING * self._n_validated:
            self._validated, self._n_validated, self._use = self._planned, self._n_measured, None

    def _next_initial(self, n: int) -> list[int]:
        """Return up to n unmeasured pixels of the initial mask; of a longer one while no phase is known."""
        while self._cursor < self._initial.size and self._flat[self._initial[self._cursor]] != UNMEASURED:
            self._cursor += 1
        if self._cursor == self._initial.size and self._n_voting == 0:
            everything = initial_pixels(self._shape, 1.0, seed=self._seed, allowed=self._allowed)
            left = everything[self._flat[everything] == UNMEASURED]
            return [int(p) for p in left[:n]]
        found: list[int] = []
        for pixel in self._initial[self._cursor :]:
            if len(found) == n:
                break
            if self._flat[pixel] == UNMEASURED:
                found.append(int(pixel))
        return found

    def _read(self, field: Field, pixel: int) -> Suggestion:
        row, column = divmod(pixel, self._shape[1])
        per_row = -(-self._shape[1] // LANES)
        return Suggestion(pixel, float(field.erd[row * per_row + column // LANES, column % LANES]))

    # ------------------------------------------------------------------ what was measured

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label, 0 for unclassified; the same pixel and label twice change nothing, another replaces.

        Raises
        ------
        DataError
            If the pixel lies outside the grid or the region of interest, or the label is none of `labels`.
        """
        pixel, label = int(pixel), int(label)
        before = self._take(pixel, label)
        if before is None:
            return
        self._next = None
        self._monitor.invalidate()
        if before == UNMEASURED:
            self._n_initial_left -= bool(self._in_initial[pixel])
        self._n_voting += (label > 0) - (before > 0)
        if self._field is not None:
            self._update(self._field, pixel, before, label)
        elif self._n_initial_left == 0 and self._n_voting > 0:
            self._built()
        if self._field is not None and self._n_initial_left == 0:
            self._monitor.check(self._field, self._n_measured)
        self._since += 1
        if (
            self._guide is not None
            and self._n_initial_left == 0
            and self._n_voting
            and self._since >= self._batch
        ):
            self._next_batch()

    def _update(self, field: Field, pixel: int, before: int, label: int) -> None:
        """Bring the field up to date after the label of a pixel became another."""
        n_labels = len(self._labels)
        row, column = divmod(pixel, self._shape[1])
        if self._n_voting == 0:
            self._field = self._twin = None
        elif before > 0:
            pixels, labels = self._votes()
            take_back(field, pixel, pixels, labels, n_labels, label=self._compact.get(label))
        else:
            # An unclassified pixel that is measured again is closed already; a first label closes it.
            following, error, agreed, missed = advance(
                field, row, column, self._compact.get(label, -1), n_labels, self._model.pixel_error
            )
            if following >= 0:
                self._next = self._read(field, int(following))
            if label > 0 and before == UNMEASURED and not self._in_initial[pixel]:
                self._monitor.take(error, agreed, missed)

    def _votes(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Flat pixels and compact labels of the voting samples."""
        pixels = np.flatnonzero(self._flat > 0).astype(np.int32)
        return pixels, label_positions(self._flat[pixels], self._values).astype(np.int32)

    def _built(self) -> Field:
        """Return the field, made from all samples at once if there is none."""
        if self._field is None:
            field = empty_field(
                self._allowed & (self._measured == UNMEASURED),
                self._inside,
                k=self._model.k,
                theta=theta_matrix(self._model.theta),
                radius=self._model.radius,
            )
            rebuild(field, *self._votes(), len(self._labels))
            self._field, self._twin, self._twin_step = field, None, 0
        return self._field

    # ------------------------------------------------------------------ the map

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map: (rows, columns) uint8 labels; measured pixels keep theirs, unclassified ones do not vote.

        Before the first phase is measured every pixel holds the lowest label. Pixels outside the region of
        interest hold the label of the nearest pixel inside.
        """
        if self._n_voting == 0:
            return fill_from_nearest(np.full(self._shape, self._labels[0], np.uint8), ~self._inside)
        use = self.image_use
        evidence = use.evidence(self._measured) if use is not None else None
        if evidence is None:
            return label_map(self._built(), self._values)
        best = vote_map(self._built(), evidence, self._values).best
        table = np.zeros(256, np.uint8)
        table[: self._values.size] = self._values
        return fill_from_nearest(table[best], best == OUTSIDE)

    def erd_map(self) -> NDArray[np.float32]:
        """Expected reduction in distortion of each pixel, in pixels of the map: (rows, columns), 0 where measured."""
        rows, columns = self._shape
        if self._n_voting == 0:
            return np.zeros(self._shape, np.float32)
        erd = np.asarray(self._built().erd, np.float32).reshape(rows, -1)[:, :columns]
        return np.where(self._allowed & (self._measured == UNMEASURED), erd, np.float32(0))

    # ------------------------------------------------------------------ how good it is

    def should_stop(self) -> bool:
        """Whether the stop rule held once, or no pixel is left that may be measured."""
        return self._n_open == 0 or (self._monitor.stopped and self.covers_smallest_feature)

    @property
    def record(self) -> Record:
        """What was found at the pixels chosen so far, those of the initial mask left out."""
        return self._monitor.record

    @property
    def stop_function(self) -> float:
        """L of the references' stop rule (module `stopping`)."""
        return self._monitor.stop_function

    def distortion_quantile(self, probability: float) -> float:
        """Total distortion (Eq. 14) of `reconstruct()` that is not exceeded with `probability`.

        By the runs of training that were alike (module `estimate`); NaN before the first phase is measured and
        for models without calibration.
        """
        if self._n_voting == 0:
            return float("nan")
        return self._monitor.quantile(self._built(), self._n_measured, probability)

    def distortion_estimate(self) -> float:
        """Estimate of the total distortion (Eq. 14) of `reconstruct()`: its median; NaN before there is one."""
        return self.distortion_quantile(0.5)

    def distortion_interval(self, confidence: float = 0.9) -> tuple[float, float]:
        """Interval that holds the total distortion with probability `confidence`; NaN before there is one."""
        tail = (1.0 - confidence) / 2.0
        return self.distortion_quantile(tail), self.distortion_quantile(1.0 - tail)

    def distortion_bound(self, confidence: float = 0.95) -> float:
        """Total distortion that is not exceeded with probability `confidence`; NaN before there is one."""
        return self.distortion_quantile(confidence)
