"""How much of the learned sampler's map is still wrong: a number and an interval, from runs that were alike.

The network's own doubt, summed over the map, is a first guess S of the number W of wrong pixels: too large on
microstructures like those trained on, too small on images unlike them. So, as for SLADS (module `estimate`), runs on
known images of many kinds are kept as analogues: what the state of the run looked like, and how W compared with S.
The state is a function of the labels alone. A tenth of them is hidden, and predicted from the rest:

* how many of the hidden were wrong, against what the network expected;
* how many the k-NN vote had wrong, against the network;
* S against the number measured, and the part of S that lies where the network is nearly sure;
* the share of the hidden that was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...images.distortion import boundary_fraction
from ...images.generated import KINDS, training_image
from ...protocols import UNMEASURED
from ..error_forecast import Forecast, forecast
from ..slads.error_calibration import crop
from ..stopping import check_stop
from .holdout import Examination, examine
from .inference import Estimate, NetworkMapper
from .model import LearnedModel

__all__ = ["GENERATED", "LearnedOutlook", "learn_analogues", "state_of_run", "with_analogues"]

GENERATED = 48
"""Generated images whose runs become analogues."""
SIDE = 96
PROGRESS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2)
"""Where a run is looked at, in units of the boundary fraction."""
FLOOR = 0.3
"""Least spread of the logarithm of W against S."""
_SURE = 0.1


def state_of_run(
    estimate: Estimate, examination: Examination, measured: NDArray[np.int16], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Return what the state of a run looks like, (5,), and S, the doubt summed over the map in pixels.

    Parameters
    ----------
    estimate : Estimate
        What the network makes of `measured`.
    examination : Examination
        Of `measured`, too.
    measured : (rows, columns) int16
        Labels, 0 where ill, -1 where unmeasured.
    inside : (rows, columns) bool
        Pixels that are mapped.
    """
    doubt = 1.0 - estimate.probability[inside & (measured == UNMEASURED)].astype(np.float64)
    total, calm = float(doubt.sum()), float(doubt[doubt < _SURE].sum())
    wrong = examination.network_only + examination.both
    vote = examination.vote_only + examination.both
    return np.array(
        [
            np.log((wrong + 2.0) / (examination.expected + 2.0)),
            np.log((vote + 2.0) / (wrong + 2.0)),
            np.log((total + 2.0) / max(1, int((measured != UNMEASURED).sum()))),
            np.log((calm + 2.0) / (total + 2.0)),
            np.log((wrong + 1.0) / (examination.hidden + 10.0)),
        ]
    ), total


class LearnedOutlook:
    """The estimates of the remaining distortion and the stop rule that looks at them.

    Parameters
    ----------
    analogues : (m, 7) float32 array
        Of the model; without any there is no interval.
    mapper : NetworkMapper
        The network.
    inside : (rows, columns) bool
        Pixels that are mapped.
    seed : int
        Decides, with the labels, which of them an examination hides.
    stop_at, confidence : float, optional
        As `learned.LearnedSampler` takes them.

    Raises
    ------
    ConfigError
        If the wanted distortion or the confidence cannot be, or there are no analogues to be confident by.
    """

    def __init__(
        self,
        analogues: NDArray[np.float32],
        mapper: NetworkMapper,
        inside: NDArray[np.bool_],
        seed: int,
        stop_at: float | None,
        confidence: float | None,
    ) -> None:
        check_stop(stop_at, confidence)
        if confidence is not None and len(analogues) == 0:
            raise ConfigError("confidence needs a model that was trained with its analogues")
        self._analogues, self._mapper, self._inside, self._seed = analogues, mapper, inside, seed
        self.stop_at, self.confidence = stop_at, confidence
        self._forecast: tuple[Estimate, Forecast] | None = None
        self._verdict: tuple[Estimate, bool] | None = None

    @property
    def bounds(self) -> bool:
        """Whether there are analogues, hence an interval."""
        return len(self._analogues) > 0

    def quantile(self, estimate: Estimate, measured: NDArray[np.int16], probability: float) -> float:
        """Total distortion not exceeded with `probability`; the first for an estimate costs an examination."""
        if self._forecast is None or self._forecast[0] is not estimate:
            examination = examine(self._mapper, measured, self._seed)
            state, total = state_of_run(estimate, examination, measured, self._inside)
            self._forecast = estimate, forecast(state, total, self._analogues.astype(np.float64), FLOOR)
        n = int(self._inside.sum())
        most = n - int(np.count_nonzero(self._inside & (measured > 0)))
        return min(self._forecast[1].quantile(probability), float(most)) / n

    def doubt(self, estimate: Estimate, measured: NDArray[np.int16], examination: Examination) -> float:
        """Mean of 1 - P_max over the mapped pixels, those measured counting nothing, rescaled by an examination."""
        unsure = self._inside & (measured == UNMEASURED)
        total = float(np.sum(1 - estimate.probability[unsure], dtype=np.float64))
        return min(1.0, total / int(self._inside.sum()) * examination.calibration)

    def holds(
        self, estimate: Estimate, measured: NDArray[np.int16], examination: Callable[[], Examination]
    ) -> bool:
        """Whether the stop rule holds; with a confidence each new `estimate` costs an examination.

        It is asked at each point, but looks at the whole map only once for each estimate.
        """
        if self.stop_at is None:
            return False
        if self._verdict is None or self._verdict[0] is not estimate:
            if self.confidence is None:
                left = self.doubt(estimate, measured, examination())
            else:
                left = self.quantile(estimate, measured, self.confidence)
            self._verdict = estimate, left <= self.stop_at
        return self._verdict[1]


def _rows(image: NDArray[np.uint8], model: LearnedModel, run: int, seed: int) -> NDArray[np.float64]:
    """States of one run of the sampler on a known image, (looks, 7)."""
    from .sampler import LearnedSampler

    sampler = LearnedSampler(image.shape, model, labels=[int(v) for v in np.unique(image)], seed=seed)
    flat, everywhere = image.ravel(), np.ones(image.shape, bool)
    b = boundary_fraction(image)
    rows: list[NDArray[np.float64]] = []
    for stop in sorted({int(p * b * image.size) for p in PROGRESS} | {image.size // 50}):
        while sampler.n_measured < min(stop, image.size // 3):
            for suggestion in sampler.suggest(1):
                sampler.ingest(suggestion.pixel, int(flat[suggestion.pixel]))
        measured = sampler.measured
        state, total = state_of_run(
            sampler.estimate(), examine(sampler.mapper, measured, seed), measured, everywhere
        )
        wrong = int(np.count_nonzero(sampler.reconstruct() != image))
        rows.append(np.array([*state, np.log((wrong + 2.0) / (total + 2.0)), float(run)]))
    return np.stack(rows)


def learn_analogues(
    model: LearnedModel,
    images: Sequence[NDArray[np.uint8]] = (),
    *,
    seed: int,
    known: NDArray[np.float32] | None = None,
    generated: int = GENERATED,
    report: Callable[[float], None] = lambda part: None,
) -> NDArray[np.float32]:
    """Run the sampler on known images and keep what its states looked like.

    Parameters
    ----------
    model : LearnedModel
        The network that decides.
    images : sequence of (rows, columns) uint8 arrays
        A user's own label images, two runs on the middle of each.
    seed : int
        Seed of the generated images, which are none of those that the network is trained on, and of the runs.
    known : (n, 7) float32 array, optional
        Analogues to add these to: those of the model that `model` was adapted from.
    generated : int
        Number of generated microstructures.
    report : callable, optional
        Told the part that is done.

    Returns
    -------
    (m, 7) float32 array
        As `estimate.forecast` takes them.
    """
    jobs = [crop(image, 256) for image in images for _ in range(2)]
    # The third number of the seed keeps these images apart from those of `Trainer`, whose generator has one.
    # All kinds alike, not by their shares: those on which the network is poor are wanted as much as the others.
    kinds = sorted(KINDS)
    jobs += [
        training_image(np.random.default_rng([seed, 4, i]), SIDE, kind=kinds[i % len(kinds)])
        for i in range(generated)
    ]
    out: list[NDArray[np.floating]] = [np.zeros((0, 7))] if known is None else [known]
    first = 0 if known is None or len(known) == 0 else int(known[:, -1].max()) + 1
    for i, image in enumerate(jobs):
        out.append(_rows(image, model, first + i, seed + i))
        report((i + 1) / len(jobs))
    return np.concatenate(out).astype(np.float32)


def with_analogues(
    model: LearnedModel,
    first: LearnedModel | None,
    images: Sequence[NDArray[np.uint8]],
    *,
    seed: int,
    report: Callable[[float], None] = lambda part: None,
) -> LearnedModel:
    """Return `model` with its analogues: an adapted one keeps those of `first`, and gets those of its own images.

    Parameters are those of `learn_analogues`; `first` is what `model` was trained on from, None for nothing.
    """
    if images and first is not None:
        found = learn_analogues(model, images, seed=seed, known=first.analogues, generated=0, report=report)
    else:
        found = learn_analogues(model, seed=seed, report=report)
    return replace(model, analogues=found)
