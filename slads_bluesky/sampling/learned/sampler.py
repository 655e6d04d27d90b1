"""The learned sampler: one network, trained on generated microstructures, says where to measure and what is there.

After every few per cent of new measurements the network predicts from all labels the most probable label of each
pixel and its probability; the next picks are those where uncertainty and distance to the nearest measurement are
both large. Now and then the network is validated on hidden measurements (`holdout`): where it fails, SLADS decides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...images.distortion import boundary_fraction
from ...images.labels import fill_from_nearest
from ...protocols import UNMEASURED, Suggestion
from ..base import GridSampler
from ..imaging.guide import EXPONENT, GuideState, ImageGuide
from ..masks import initial_pixels
from ..picks import batch_size
from ..slads.model import SladsModel
from ..slads.reconstruct import knn_reconstruct
from ..slads.sampler import SladsSampler
from ..slads.training import default_radius
from .error_monitor import LearnedErrorMonitor
from .guided import GuidedMapper
from .holdout import SPACING, Validation, validate
from .inference import NetworkMapper, Precision, Prediction
from .label_errors import ROUNDS, LabelErrors, find_label_errors
from .model import LearnedModel, image_model, shipped_model
from .planning import Plan
from .settings import PolicySettings

__all__ = ["LearnedSampler"]

CHECKS = 1.25
"""Factor by which the number of measured pixels grows from one check for wrong labels to the next."""


class LearnedSampler(GridSampler):
    """Chooses pixels by a network; fits `protocols.Sampler`.

    What it suggests is a function of the labels ingested, in their order, and of the seed. The network predicts
    when a batch is full, not at every pixel: picks of one batch are spread out and given best first.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    model : LearnedModel, optional
        The general model that comes with the program by default.
    labels : int or sequence of int
        The labels that may be measured: 1 … n for a number n.
    seed : int
        Seed of the initial mask.
    initial : float
        Fraction of the initial low-discrepancy mask, of the pixels that may be measured.
    roi : (rows, columns) bool array, optional
        Region of interest: only its pixels are mapped and measured.
    forbidden : (rows, columns) bool array, optional
        Pixels that are mapped but must not be measured.
    smallest_feature : int, optional
        Pixels of the smallest patch that must not be missed; see `base.GridSampler`.
    policy : PolicySettings, optional
        How predictions become picks; the model's own settings by default.
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the network, resolved at once; see `NetworkMapper`.
    stop_at : float, optional
        `should_stop` holds once the estimate of the total distortion is not above this.
    confidence : float, optional
        `should_stop` holds only once the total distortion is not above `stop_at` with this probability.
    image_network : LearnedModel or str, optional
        Of the network that predicts once an image is used: a model, the hash of one, or "shipped". Without it the
        probabilities of `model` are multiplied by what the image says, as in maps recorded before there was one.

    Raises
    ------
    ConfigError, DataError
        If the labels, a fraction or the masks cannot be.

    Examples
    --------
    Map a disc on a plane from a tenth of its pixels:

    >>> import numpy as np
    >>> y, x = np.mgrid[:48, :48]
    >>> truth = np.where((y - 20) ** 2 + (x - 26) ** 2 < 12**2, 2, 1)
    >>> sampler = LearnedSampler(truth.shape, labels=2, seed=1)
    >>> while sampler.n_measured < truth.size // 10:
    ...     for suggestion in sampler.suggest():
    ...         sampler.ingest(suggestion.pixel, truth.flat[suggestion.pixel])
    >>> wrong = np.mean(sampler.reconstruct() != truth)
    >>> bool(wrong < 0.01)
    True
    """

    def __init__(
        self,
        shape: tuple[int, int],
        model: LearnedModel | None = None,
        *,
        labels: int | Sequence[int],
        seed: int = 0,
        initial: float = 0.005,
        roi: NDArray[np.bool_] | None = None,
        forbidden: NDArray[np.bool_] | None = None,
        smallest_feature: int | None = None,
        policy: PolicySettings | None = None,
        precision: Precision = "auto",
        stop_at: float | None = None,
        confidence: float | None = None,
        image_network: LearnedModel | str | None = "shipped",
    ) -> None:
        super().__init__(shape, labels, roi, forbidden, seed, smallest_feature)
        if isinstance(image_network, LearnedModel) and not image_network.sees_images:
            raise ConfigError("image_network must be the model of a network that sees images")
        self._model = model or shipped_model()
        if self._model.sees_images:
            raise ConfigError("the sampler's model sees images: it decides only beside one that does not")
        self._image_network = image_network
        self._image_model: LearnedModel | None = None
        """What predicts once an image is used; None without an image."""
        self._sees: NetworkMapper | None = None
        self._seed, self._fraction = int(seed), float(initial)
        self._policy = policy or self._model.policy
        self._mapper = NetworkMapper(self._model, precision, complement=self._policy.complement)
        self._monitor = LearnedErrorMonitor(
            self._model.calibration_runs, self._mapper, self._inside, self._seed, stop_at, confidence
        )
        self._initial = initial_pixels(self._shape, initial, seed=seed, allowed=self._allowed)
        self._plan: Plan | None = None
        """The present batch, from the labels as they were when it was due; None during the initial mask."""
        self._since = 0
        self._batch = len(self._initial)
        self._validated: NDArray[np.int16] | None = None
        """The labels that the last validation is about, None before the first."""
        self._n_validated = 0
        self._validation: Validation | None = None
        self._now: Prediction | None = None
        self._errors: LabelErrors | None = None
        self._checked: NDArray[np.int16] | None = None
        """The labels that the last check for wrong ones is about, None before the first."""
        self._n_checked = 0
        self._errors_then: LabelErrors | None = None
        self._slads: SladsSampler | None = None
        self._frame: NDArray[np.float32] | None = None
        self._guided: GuidedMapper | None = None
        """The network with the image, from the first validation on; None without an image."""

    @property
    def model(self) -> LearnedModel:
        """The model that it decides by."""
        return self._model

    @property
    def mapper(self) -> NetworkMapper:
        """The network with its arithmetic."""
        return self._mapper

    @property
    def precision(self) -> str:
        """Arithmetic of the network, for the record."""
        return self._mapper.precision

    @property
    def batch(self) -> int:
        """Picks that are planned at once now."""
        return self._batch

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """(rows, columns): pixels that may be measured."""
        return self._allowed

    @property
    def initial_mask_is_measured(self) -> bool:
        """Whether every pixel of the initial mask is measured."""
        return bool(np.all(self._flat[self._initial] != UNMEASURED))

    def take_image(self, frame: NDArray[np.float32]) -> None:
        """Take a grey-level frame of the field; see `base.GridSampler.take_image`."""
        super().take_image(frame)
        self._image_model = image_model(self._image_network)
        self._frame = frame
        self._guide = ImageGuide(frame, self._shape, self._seed)
        self._initial = self._guide.initial_pixels(self._fraction, self._allowed)
        self._batch = len(self._initial)

    @property
    def image_use(self) -> GuideState | None:
        """How the image is used by the last hold-out validation; None without one, or before the first."""
        if self._guided is None:
            return None
        return self._guided.state if self.uses_network else self._fallback().image_use

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label; the same pixel and label twice change nothing, another label replaces.

        Parameters
        ----------
        pixel : int
            Flat index, C order.
        label : int
            One of `labels`, or 0 for unclassified.

        Raises
        ------
        DataError
            If the pixel lies outside the grid or the region of interest, or the label is none of `labels`.
        """
        pixel, label = int(pixel), int(label)
        if self._take(pixel, label) is None:
            return
        self._now = self._errors = None
        if self._slads is not None:
            self._slads.ingest(pixel, label)
        self._since += 1
        if self._since >= self._batch and (self._plan or self.initial_mask_is_measured):
            self._next_batch()

    def _next_batch(self) -> None:
        """Keep the labels of this moment to plan from, and now and then for the next validation."""
        seen, p = self._measured.copy(), self._policy
        self._since = 0
        self._batch = batch_size(self._n_measured, self._n_allowed, p.growth, p.least, p.most)
        if self._n_measured >= SPACING * self._n_validated:
            self._validated, self._n_validated, self._validation = seen, self._n_measured, None
            self._slads = None
            if self._guide is not None:
                self._guided = GuidedMapper(self._mapper, self._guide, seen, self._seeing())
                self._monitor.use(self._guided)
        if self._n_measured >= CHECKS * self._n_checked:
            self._checked, self._n_checked, self._errors_then = seen, self._n_measured, None
        self._plan = self._planned(seen)

    def _seeing(self) -> NetworkMapper | None:
        """Return the network that sees the image; made once."""
        if self._sees is None and self._image_model is not None:
            self._sees = NetworkMapper(
                self._image_model, self._mapper.precision, complement=self._policy.complement
            )
        return self._sees

    def _planned(self, seen: NDArray[np.int16]) -> Plan:
        """Return the picks that follow from labels, with the image where it is used."""
        if self._guided is None:
            return Plan(self._mapper, seen, self._allowed, self._seed)
        exponent = EXPONENT if self._guided.state.used else 1.0
        return Plan(self._guided, seen, self._allowed, self._seed, exponent)

    def _choose(self, n: int) -> list[Suggestion]:
        """Return up to `n` pixels of the present batch, or of SLADS where it decides."""
        if self._plan is None:
            left = self._initial[self._flat[self._initial] == UNMEASURED][:n]
            return [Suggestion(int(p), float("nan")) for p in left]
        if not self.uses_network:
            return self._fallback().suggest(n)
        return [Suggestion(p, erd) for p, erd in self._plan.take(n, self._measured, self._batch)]

    def suggest_besides(self, n: int, pending: Collection[int]) -> list[Suggestion]:
        """Return up to `n` pixels while those of `pending` are measured: as if they showed what is expected of them.

        During the initial mask, and where the network does not decide, the pending pixels are only left out.
        """
        known = np.array(sorted(pending), np.int64)
        if self._plan is None or self._plan.blind or not self.uses_network:
            found = self.suggest(n + known.size)
            return [s for s in found if s.pixel not in set(pending)][:n]
        seen = self._measured.copy()
        seen.flat[known] = self.prediction().labels.flat[known]
        plan = self._planned(seen)
        return [Suggestion(p, erd) for p, erd in plan.take(n, seen, n)]

    @property
    def uses_network(self) -> bool:
        """Whether the network decides, by the last hold-out validation; if not, SLADS does."""
        return self.validation().accepts_network

    def validation(self) -> Validation:
        """Return how network and k-NN vote predicted hidden labels in the last hold-out validation."""
        if self._validation is None:
            if self._validated is None:
                return Validation(0, 0, 0, 0, 0.0)
            self._validation = validate(self._mapper, self._validated, self._seed)
        return self._validation

    def label_errors(self) -> LabelErrors:
        """Return which measured labels all others contradict; none where no label need be wrong.

        Whether any need be is decided each time that the number of measured pixels has grown by a quarter.
        """
        none = LabelErrors(0.0, np.zeros(0, np.int64))
        if self._checked is None:
            return none
        if self._errors_then is None:
            self._errors_then = self._contradicted(self._checked, 1)
        if self._errors_then.share == 0.0:
            return none
        if self._errors is None:
            self._errors = self._contradicted(self._measured, ROUNDS)
        return self._errors

    def _contradicted(self, measured: NDArray[np.int16], rounds: int) -> LabelErrors:
        inside = np.where(self._inside, self.prediction().labels, 0).astype(np.uint8)
        boundaries = float(boundary_fraction(inside) * inside.astype(bool).mean())
        return find_label_errors(self._mapper.probabilities, measured, boundaries, self._seed, rounds)

    def _fallback(self) -> SladsSampler:
        """Return a SLADS that has all labels; its initial mask is ours, hence measured."""
        if self._slads is None:
            slads = SladsSampler(
                self._shape,
                SladsModel(
                    self._model.fallback, self._labels, radius=default_radius(self._shape[0] * self._shape[1])
                ),
                labels=self._labels,
                seed=self._seed,
                initial=self._fraction,
                roi=self._inside,
                forbidden=~self._allowed,
            )
            if self._frame is not None:
                slads.take_image(self._frame)
            for pixel in np.flatnonzero(self._flat != UNMEASURED):
                slads.ingest(int(pixel), int(self._flat[pixel]))
            self._slads = slads
        return self._slads

    def prediction(self) -> Prediction:
        """Return what the network predicts for every pixel now, from all labels ingested."""
        if self._now is None:
            self._now = (self._guided or self._mapper)(self._measured)
        return self._now

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map: (rows, columns) uint8 labels; measured pixels keep theirs, unclassified ones do not vote.

        A sample that all others contradict (`label_errors`) does not keep its label and does not vote. Before the
        first phase is measured every pixel holds the lowest label. Pixels outside the region of interest hold the
        label of the nearest pixel inside.
        """
        if not (self._measured > 0).any():
            return np.full(self._shape, self._labels[0], np.uint8)
        if not self.uses_network and self._guided is not None:
            return self._fallback().reconstruct()
        if not self.uses_network:
            return knn_reconstruct(self._measured, roi=self._inside)
        errors = self.label_errors()
        seen = errors.without(self._measured) if errors.pixels.size else self._measured
        if self._guided is not None and self._guided.state.used:
            labels = self._guided.reconstruct(seen)
        elif errors.pixels.size:
            labels = self._mapper(seen).labels
        else:
            labels = self.prediction().labels.copy()
        return fill_from_nearest(labels, ~self._inside)

    def distortion_estimate(self) -> float:
        """Estimate the total distortion of `reconstruct()`: the median of its forecast; NaN before there is one.

        For a model without calibration runs it is the mean of the network's own uncertainty, rescaled by the last
        hold-out validation: a guide and no bound, since on specimens unlike the training images rare confident
        errors are missed.
        """
        if not (self._measured > 0).any():
            return float("nan")
        if self._monitor.has_interval:
            return self.distortion_quantile(0.5)
        return self._monitor.mean_uncertainty(self.prediction(), self._measured, self.validation())

    def distortion_quantile(self, probability: float) -> float:
        """Total distortion not exceeded with `probability`; NaN before there is one, or without calibration runs."""
        if not self._monitor.has_interval or not (self._measured > 0).any():
            return float("nan")
        return self._monitor.quantile(self.prediction(), self._measured, probability)

    def distortion_interval(self, confidence: float = 0.9) -> tuple[float, float]:
        """Interval that holds the total distortion with probability `confidence`; NaN as `distortion_quantile`."""
        tail = (1.0 - confidence) / 2.0
        return self.distortion_quantile(tail), self.distortion_quantile(1.0 - tail)

    def distortion_bound(self, confidence: float = 0.95) -> float:
        """Total distortion that is not exceeded with probability `confidence`; NaN as `distortion_quantile`."""
        return self.distortion_quantile(confidence)

    def should_stop(self) -> bool:
        """Whether the stop rule held at the last planning; always True when no pixel is left."""
        if self._n_open == 0:
            return True
        if self._monitor.stop_at is None or self._plan is None or self._plan.blind:
            return False
        if not self.covers_smallest_feature:
            return False
        return self._monitor.holds(self._plan.prediction, self._plan.seen, self.validation)
