"""The learned sampler: one network, trained on generated microstructures, says where to measure and what is there.

After every few per cent of new measurements the network looks at all labels and gives each pixel its most probable
label and how sure it is of it; the next picks are those where doubt and distance to the nearest measurement are
both large. Now and then hidden measurements examine it (`learned_choice`): where it fails, SLADS takes over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...protocols import UNMEASURED, Suggestion
from ..base import GridSampler, label_array, read_state
from ..masks import initial_pixels
from ..slads.model import SladsModel
from ..slads.reconstruct import fill_outside, knn_reconstruct
from ..slads.sampler import SladsSampler
from ..slads.training import default_radius
from .error_monitor import LearnedOutlook
from .holdout import APART, Examination, examine
from .inference import Estimate, NetworkMapper, Precision
from .model import LearnedModel, shipped_model
from .planning import Plan
from .policy import batch_size
from .reconstruct import NetworkReconstructor

__all__ = ["LearnedSampler", "NetworkReconstructor"]

STATE_VERSION = 1


class LearnedSampler(GridSampler):
    """Chooses pixels by a network; fits `protocols.Sampler`.

    What it suggests is a function of the labels ingested, in their order, and of the seed. The network looks at
    the map when a batch is full, not at every pixel: picks of one batch are spread out and given best first.

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
    growth, least, most : float
        A batch is `growth` of the pixels measured so far, but from `least` to `most` of all that may be measured.
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the network, resolved at once and part of the state; see `NetworkMapper`.
    stop_at : float, optional
        `should_stop` holds once the estimate of the total distortion is not above this.
    confidence : float, optional
        `should_stop` holds only once the total distortion is not above `stop_at` with this probability.

    Raises
    ------
    ConfigError, DataError
        If the labels, a fraction or the masks cannot be.
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
        growth: float = 0.04,
        least: float = 0.0012,
        most: float = 0.0015,
        precision: Precision = "auto",
        stop_at: float | None = None,
        confidence: float | None = None,
    ) -> None:
        for name, value in (("growth", growth), ("least", least), ("most", most)):
            if not 0.0 < value <= 1.0:
                raise ConfigError(f"{name} must lie in (0, 1], not {value}")
        super().__init__(shape, labels, roi, forbidden)
        self._model = model or shipped_model()
        self._settings: dict[str, Any] = {
            "initial": float(initial),
            "seed": int(seed),
            "growth": float(growth),
            "least": float(least),
            "most": float(most),
            "stop_at": stop_at,
            "confidence": confidence,
        }
        self._mapper = NetworkMapper(self._model, precision)
        self._outlook = LearnedOutlook(
            self._model.analogues, self._mapper, self._inside, int(seed), stop_at, confidence
        )
        self._initial = initial_pixels(self._shape, initial, seed=seed, allowed=self._allowed)
        self._plan: Plan | None = None
        """The present batch, from the labels as they were when it was due; None during the initial mask."""
        self._since = 0
        self._batch = len(self._initial)
        self._exam_seen: NDArray[np.int16] | None = None
        """The labels that the last examination was about, None before the first."""
        self._exam_n = 0
        self._exam: Examination | None = None
        self._now: Estimate | None = None
        self._slads: SladsSampler | None = None

    def _plan_from(self, seen: NDArray[np.int16]) -> Plan:
        return Plan(self._mapper, seen, self._allowed, self._settings["seed"])

    @property
    def model(self) -> LearnedModel:
        """The model that it decides by."""
        return self._model

    @property
    def mapper(self) -> NetworkMapper:
        """The network at work."""
        return self._mapper

    @property
    def precision(self) -> str:
        """Arithmetic of the network, for the record."""
        return self._mapper.precision

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label; the same pixel and label twice change nothing, another label replaces.

        Raises
        ------
        DataError
            If the pixel lies outside the grid or the region of interest, or the label is none of `labels`.
        """
        pixel, label = int(pixel), int(label)
        if self._take(pixel, label) is None:
            return
        self._now = None
        if self._slads is not None:
            self._slads.ingest(pixel, label)
        self._since += 1
        if self._since >= self._batch and (self._plan or np.all(self._flat[self._initial] != UNMEASURED)):
            self._next_batch()

    def _next_batch(self) -> None:
        """Keep the labels of this moment to plan from, and now and then to be examined on."""
        s, seen = self._settings, self._measured.copy()
        self._plan = self._plan_from(seen)
        self._since = 0
        self._batch = batch_size(self._n_measured, self._n_allowed, s["growth"], s["least"], s["most"])
        if self._n_measured >= APART * self._exam_n:
            self._exam_seen, self._exam_n, self._exam = seen, self._n_measured, None
            self._slads = None

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Up to `n` pixels, none measured or masked; changes nothing; empty when none are left."""
        if n < 1 or self._n_open == 0:
            return []
        if self._plan is None:
            left = self._initial[self._flat[self._initial] == UNMEASURED][:n]
            return [Suggestion(int(p), float("nan")) for p in left]
        if not self.trusts_network:
            return self._fallback().suggest(n)
        return [Suggestion(p, erd) for p, erd in self._plan.take(n, self._measured, self._batch)]

    @property
    def trusts_network(self) -> bool:
        """Whether the last examination lets the network decide; if not, SLADS does."""
        return self.examination().trust_network

    def examination(self) -> Examination:
        """Return how network and k-NN vote predicted hidden labels at the last examination."""
        if self._exam is None:
            if self._exam_seen is None:
                return Examination(0, 0, 0, 0, 0.0)
            self._exam = examine(self._mapper, self._exam_seen, self._settings["seed"])
        return self._exam

    def _fallback(self) -> SladsSampler:
        """Return a SLADS that knows all labels; its start mask is ours, hence measured."""
        if self._slads is None:
            slads = SladsSampler(
                self._shape,
                SladsModel(
                    self._model.fallback, self._labels, radius=default_radius(self._shape[0] * self._shape[1])
                ),
                labels=self._labels,
                seed=self._settings["seed"],
                initial=self._settings["initial"],
                roi=self._inside,
                forbidden=~self._allowed,
            )
            for pixel in np.flatnonzero(self._flat != UNMEASURED):
                slads.ingest(int(pixel), int(self._flat[pixel]))
            self._slads = slads
        return self._slads

    def estimate(self) -> Estimate:
        """What the network believes of every pixel now, from all labels ingested."""
        if self._now is None:
            self._now = self._mapper(self._measured)
        return self._now

    def reconstruct(self) -> NDArray[np.uint8]:
        """(rows, columns): a label 1 … L for every pixel; measured pixels keep theirs, ill ones do not vote.

        Before the first phase is measured every pixel holds the lowest label. Pixels outside the region of
        interest hold the label of the nearest pixel inside.
        """
        if not (self._measured > 0).any():
            return np.full(self._shape, self._labels[0], np.uint8)
        if not self.trusts_network:
            return knn_reconstruct(self._measured, roi=self._inside)
        return fill_outside(self.estimate().labels.copy(), ~self._inside)

    def distortion_estimate(self) -> float:
        """Estimate of the total distortion of `reconstruct()`: its median; NaN before there is one.

        With a model without analogues, the network's own doubt, rescaled by how it did in the last examination: a
        guide and no bound, since on specimens unlike the training images rare confident errors are missed.
        """
        if not (self._measured > 0).any():
            return float("nan")
        if self._outlook.bounds:
            return self.distortion_quantile(0.5)
        return self._outlook.doubt(self.estimate(), self._measured, self.examination())

    def distortion_quantile(self, probability: float) -> float:
        """Total distortion that is not exceeded with `probability`; NaN before there is one, or without analogues."""
        if not self._outlook.bounds or not (self._measured > 0).any():
            return float("nan")
        return self._outlook.quantile(self.estimate(), self._measured, probability)

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
        if self._outlook.stop_at is None or self._plan is None or self._plan.blind:
            return False
        return self._outlook.holds(self._plan.estimate, self._plan.seen, self.examination)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON from which `from_state` makes a sampler with the same next suggestion."""
        arrays, facts = self._grid_state("learned", STATE_VERSION)
        if self._plan is not None:
            arrays["seen"] = self._plan.seen.copy()
        if self._exam_seen is not None:
            arrays["examined"] = self._exam_seen.copy()
        return arrays, {
            **facts,
            "settings": dict(self._settings),
            "precision": self._mapper.precision,
            "model_sha256": self._model.sha256,
            "since": self._since,
            "batch": self._batch,
        }

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], model: LearnedModel | None = None
    ) -> LearnedSampler:
        """Make the sampler whose `state` this is; DataError naming the field that is missing or disagrees."""
        model = model or shipped_model()
        try:
            state = read_state(arrays, facts, ("learned",), STATE_VERSION, model.sha256)
            planned = {k: label_array(arrays, k, state.shape) for k in ("seen", "examined") if k in arrays}
            out = cls(state.shape, model, precision=facts["precision"], **state.masks, **facts["settings"])
            out._since, out._batch = int(facts["since"]), int(facts["batch"])
        except KeyError as error:
            raise DataError(f"sampler state: field {error.args[0]} is missing") from error
        out._take_all(state.measured)
        if "seen" in planned:
            out._plan = out._plan_from(planned["seen"])
        if "examined" in planned:
            out._exam_seen = planned["examined"]
            out._exam_n = int((out._exam_seen != UNMEASURED).sum())
        return out
