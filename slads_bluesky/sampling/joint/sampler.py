"""The joint sampler: one posterior of all counts, and more counts where they lower its error most for their cost.

After every few per cent of new visits the evidence network says of every pixel how uncertain it is. A candidate is a
pixel and a dose: its worth is the uncertainty that the counts resolve, at it and, by the distance to the nearest
evidence, around it, over what they cost. Where all pixels are alike uncertain and a visit costs little, that is a
raster of few counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...images.labels import fill_from_nearest
from ...protocols import UNCLASSIFIED, UNMEASURED, Suggestion
from ..base import GridSampler
from ..learned.inference import Precision
from ..masks import initial_pixels
from ..picks import batch_size
from .error import expected_error
from .evidence import label_evidence, robust
from .mapper import EvidenceMapper
from .model import JointModel, shipped_joint_model
from .planning import FAVOURED, LEAST_COUNTS_SEEN, Known, Plan, first_nats, plan_visits
from .reference import JointPosterior

__all__ = ["JointSampler", "Minimise"]

Minimise = Literal["dose", "time", "both"]

GROWTH, LEAST, MOST = 0.02, 0.00125, 0.0025
"""A batch is `GROWTH` of the visits so far, from `LEAST` to `MOST` of the pixels."""
FEWEST = 8
"""Visits of a batch at least: on small maps one takes less time than the network."""
COSTS = {"dose": 0.0, "both": 0.5, "time": 1.0}
"""Part of a visit's overhead that is counted."""


class JointSampler(GridSampler):
    """Chooses pixels and doses by the posterior of the whole map; fits `protocols.Sampler`.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    model : JointModel, optional
        The general model that comes with the program by default.
    labels : int or sequence of int
        The labels that may be measured: 1 … n for a number n.
    seed : int
        Seed of the initial mask.
    initial : float
        Fraction of the initial low-discrepancy mask, of the pixels that may be measured.
    minimise : {"dose", "time", "both"}
        What the expected fall of the error is set against.
    overhead_counts : float
        Counts that the detector would take in the time that a visit costs besides its dwell.
    overhead_s : float
        The same as time, s: counts by the rate at which those so far came.
    revisits : bool
        Whether visited pixels may be suggested again; one that was given a label never is.
    roi, forbidden, smallest_feature, stop_at, confidence
        As `learned.sampler.LearnedSampler` takes them.
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the network.

    Raises
    ------
    ConfigError, DataError
        If a value cannot be.

    Examples
    --------
    Evidence of a few counts a pixel maps a disc:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, x = np.mgrid[:32, :32]
    >>> truth = np.where((y - 14) ** 2 + (x - 17) ** 2 < 9**2, 2, 1)
    >>> sampler = JointSampler(truth.shape, labels=2, seed=1)
    >>> for _ in range(200):
    ...     (at,) = sampler.suggest()
    ...     ratio = rng.normal(2.0, 2.0) * (1 if truth.flat[at.pixel] == 1 else -1)
    ...     sampler.ingest_evidence(at.pixel, np.array([ratio, 0.0, -9.0]), counts=4, visit=at.visit)
    >>> bool((sampler.reconstruct() != truth).mean() < 0.03)
    True
    """

    def __init__(
        self,
        shape: tuple[int, int],
        model: JointModel | None = None,
        *,
        labels: int | Sequence[int],
        seed: int = 0,
        initial: float = 0.01,
        minimise: Minimise = "dose",
        overhead_counts: float = 0.0,
        overhead_s: float = 0.0,
        revisits: bool = True,
        roi: NDArray[np.bool_] | None = None,
        forbidden: NDArray[np.bool_] | None = None,
        smallest_feature: int | None = None,
        stop_at: float | None = None,
        confidence: float | None = None,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(shape, labels, roi, forbidden, seed, smallest_feature)
        if minimise not in COSTS:
            raise ConfigError(f"minimise must be dose, time or both, not {minimise!r}")
        for name, value in (("overhead_counts", overhead_counts), ("overhead_s", overhead_s)):
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be 0 or more, not {value}")
        if stop_at is not None and not 0 < stop_at < 1:
            raise ConfigError(f"stop_at must be above 0 and under 1, not {stop_at}")
        if confidence is not None and not 0 < confidence < 1:
            raise ConfigError(f"confidence must be above 0 and under 1, not {confidence}")
        self._mapper = EvidenceMapper(model or shipped_joint_model(), precision)
        self._stop_at, self._confidence = stop_at, confidence
        self._overhead = COSTS[minimise] * float(overhead_counts)
        self._overhead_s = COSTS[minimise] * float(overhead_s)
        self._revisits = revisits
        self._initial = initial_pixels(self._shape, initial, seed=seed, allowed=self._allowed)
        n = len(self._labels)
        self._evidence = np.zeros((self._flat.size, n), np.float32)
        self._visits = np.zeros(self._flat.size, np.int32)
        self._n_visits = 0
        self._labelled = np.zeros(self._flat.size, bool)
        """Pixels that were given a label without counts."""
        self._weighed, self._counts = 0.0, 0.0
        self._timed, self._real_s = 0.0, 0.0
        """Counts whose real time is known, and that time."""
        self._spent = np.zeros(self._flat.size)
        self._batch, self._since = len(self._initial), 0
        self._seen: Known | None = None
        """What was known when the batch was due; None during the initial mask."""
        self._plan: Plan | None = None
        self._planned: JointPosterior | None = None
        self._now: JointPosterior | None = None

    @property
    def model(self) -> JointModel:
        """The model that it decides by."""
        return self._mapper.model

    @property
    def revisits(self) -> bool:
        """Whether visited pixels may be suggested again."""
        return self._revisits

    @property
    def n_visits(self) -> int:
        """Visits so far, those to the same pixel each by itself."""
        return self._n_visits

    @property
    def left_in_batch(self) -> int:
        """Visits that are left of the present batch: as many may be chosen at once at no loss."""
        return max(0, self._batch - self._since)

    @property
    def information(self) -> float:
        """Nats that one count brings, as far as is known; NaN before the first counts.

        By the last planning: the evidence for the labels of pixels that the map is sure of, over their counts. Before
        it, what the counts say for whatever label they favour, which is more.
        """
        if self._plan is not None and np.isfinite(self._plan.information):
            return self._plan.information
        return FAVOURED * self._weighed / self._counts if self._counts >= LEAST_COUNTS_SEEN else float("nan")

    def ingest(self, pixel: int, label: int) -> None:
        """Take a label as evidence; the same pixel and label twice change nothing, another label replaces.

        Raises
        ------
        DataError
            If the pixel lies outside the grid or the region of interest, or the label is none of `labels`.
        """
        pixel, label = int(pixel), int(label)
        if self._take(pixel, label) is None:
            return
        index = self._labels.index(label) + 1 if label != UNCLASSIFIED else 0
        self._evidence[pixel] = robust(label_evidence(index, len(self._labels)))
        new = not self._labelled[pixel]
        self._labelled[pixel] = True
        self._visited(pixel, new=new)

    def ingest_evidence(
        self,
        pixel: int,
        log_likelihood: NDArray[np.floating],
        *,
        counts: float = 0.0,
        visit: int = 0,
        real_s: float = 0.0,
    ) -> None:
        """Take what a spectrum says of the labels; visits of one pixel add up, and one taken before changes nothing.

        Parameters
        ----------
        pixel : int
            Flat index, C order.
        log_likelihood : (L + 1,) float array
            Of each label and, last, of none of them, up to a constant.
        counts : float
            Counts of the spectrum.
        visit : int
            How often the pixel was visited before.
        real_s : float
            Real time of its acquisition, s; 0 where it is not known.

        Raises
        ------
        DataError
            If the pixel lies outside the grid or the region of interest, or the values are not finite or of another
            number.
        """
        pixel, values = int(pixel), np.asarray(log_likelihood, np.float64)
        n = len(self._labels)
        if values.shape != (n + 1,) or not np.isfinite(values).all():
            raise DataError(f"pixel {pixel}: evidence must be {n + 1} finite numbers, not {values.shape}")
        if 0 <= pixel < self._flat.size and visit < self._visits[pixel]:
            return
        if not 0 <= pixel < self._flat.size:
            raise DataError(f"pixel {pixel} lies outside a grid of {self._shape[0]} × {self._shape[1]}")
        said = robust(values)
        total = self._evidence[pixel] + said
        best = int(total.argmax())
        label = self._labels[best] if np.partition(total, -2)[-2] < total[best] or n == 1 else UNCLASSIFIED
        self._take(pixel, label)
        self._evidence[pixel] = total - total.max()
        if counts > 0 and n > 1:
            top = np.sort(said)
            self._weighed += float(top[-1] - top[-2])
            self._counts += float(counts)
            self._spent[pixel] += float(counts)
            if real_s > 0:
                self._timed += float(counts)
                self._real_s += float(real_s)
        self._visited(pixel, new=True)

    def _visited(self, pixel: int, *, new: bool) -> None:
        self._now = None
        self._visits[pixel] += new
        self._n_visits += new
        self._since += 1
        if self._since < self._batch:
            return
        if self._seen is None and (self._flat[self._initial] == UNMEASURED).any():
            return
        self._seen = Known(
            self._evidence.copy(), self._visits.copy(), self._labelled.copy(), self._spent.copy(),
            self._overhead_now,
        )  # fmt: skip
        self._plan = self._planned = None
        self._since = 0
        self._batch = max(FEWEST, batch_size(self._n_visits, self._n_allowed, GROWTH, LEAST, MOST))

    @property
    def _overhead_now(self) -> float:
        """Counts that a visit costs besides its own, as far as is known."""
        return self._overhead + (self._timed / self._real_s if self._real_s > 0 else 0.0) * self._overhead_s

    def _map(self, evidence: NDArray[np.float32]) -> JointPosterior:
        return self._mapper(evidence.reshape(*self._shape, -1))

    def _uncertainty(self, posterior: JointPosterior) -> NDArray[np.float32]:
        """Probability that the label of each pixel is wrong, (rows, columns)."""
        return np.asarray(1.0 - posterior.probability.max(axis=2), np.float32)

    def _choose(self, n: int) -> list[Suggestion]:
        if self._seen is None:
            counts = self._in_counts(first_nats(self._overhead_now * self.information))
            left = self._initial[self._flat[self._initial] == UNMEASURED][:n]
            return [Suggestion(int(p), float("nan"), counts=counts) for p in left]
        wanted = n + self._since  # each pixel taken since takes at most one pick away
        if self._plan is None or self._plan.picks.size < wanted:
            posterior = self._posterior_then()
            self._plan = plan_visits(
                self._seen, posterior, self._uncertainty(posterior), self._allowed, max(wanted, self._batch),
                revisits=self._revisits,
            )  # fmt: skip
        plan, seen = self._plan, self._seen.visits
        known = self._posterior_then().probability.reshape(-1, len(self._labels))
        found = [
            Suggestion(
                int(p),
                float(plan.erd[p]),
                self._in_counts(float(plan.nats[p])),
                int(seen[p]),
                tuple(known[p].tolist()),
            )
            for p in plan.picks
            if self._flat[p] == UNMEASURED
            or (self._revisits and self._visits[p] == seen[p] and not self._labelled[p])
        ]
        return found[:n]

    def _in_counts(self, nats: float) -> int:
        """Counts that bring so many nats; 0, as the detector is set, while it is not known what one brings."""
        known = self.information
        return max(1, round(nats / known)) if np.isfinite(known) and known > 0 else 0

    def _posterior_then(self) -> JointPosterior:
        """What was known of every pixel when the batch was due."""
        assert self._seen is not None
        if self._planned is None:
            self._planned = self._map(self._seen.evidence)
        return self._planned

    def posterior(self) -> JointPosterior:
        """Return what all counts so far say of every pixel."""
        if self._now is None:
            just_planned = self._seen is not None and self._since == 0
            self._now = self._posterior_then() if just_planned else self._map(self._evidence)
        return self._now

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map: the most probable label of each pixel given all counts, (rows, columns) uint8.

        Pixels outside the region of interest hold the label of the nearest pixel inside.
        """
        if self._n_measured == 0 or not self._evidence.any():
            return np.full(self._shape, self._labels[0], np.uint8)
        labels = np.asarray(self._labels, np.uint8)[self.posterior().probability.argmax(axis=2)]
        given = self._labelled.reshape(self._shape) & (self._measured > 0)
        labels[given] = self._measured[given]
        return fill_from_nearest(labels, ~self._inside)

    def distortion_estimate(self) -> float:
        """Expected total distortion of `reconstruct()`; NaN before anything is known."""
        return self._error(self._confidence)[0]

    def distortion_interval(self, confidence: float = 0.9) -> tuple[float, float]:
        """Interval that holds the total distortion with probability `confidence`; NaN before anything is known."""
        return self._error(confidence)[1:]

    def _error(self, confidence: float | None) -> tuple[float, float, float]:
        if self._n_measured == 0 or not self._evidence.any():
            return float("nan"), float("nan"), float("nan")
        found = expected_error(self._counted(self.posterior()), confidence or 0.9)
        return float(found.expected), float(found.low), float(found.high)

    def _counted(self, posterior: JointPosterior) -> NDArray[np.float32]:
        """Probabilities of the mapped pixels, (n, L); those that were given a label are certain."""
        given = (self._labelled.reshape(self._shape) & (self._measured > 0))[self._inside]
        found = posterior.probability[self._inside]
        found[given] = np.eye(found.shape[1], dtype=np.float32)[0]
        return found

    def should_stop(self) -> bool:
        """Whether the stop rule held at the last planning; always True when no pixel is left."""
        if self._n_open == 0 and not self._revisits:
            return True
        if self._stop_at is None or self._seen is None or not self.covers_smallest_feature:
            return not self.suggest(1)
        posterior = self._posterior_then()
        # one-sided at the confidence: the interval at 2 c − 1 has its upper end there
        two_sided = 0.0 if self._confidence is None else max(0.0, 2.0 * self._confidence - 1.0)
        found = expected_error(self._counted(posterior), two_sided)
        return (found.expected if self._confidence is None else found.high) <= self._stop_at
