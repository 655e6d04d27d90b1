"""How much of the learned sampler's map is still wrong: a number and an interval, and the stop rule based on them.

The network's own uncertainty, summed over the map, is a first guess S of the number W of wrong pixels: too large on
microstructures like those of its training, too small on images unlike them. So, as for SLADS (`error_forecast`),
the number is forecast from calibration runs on known images of many kinds (`error_calibration`): what the state of
the run looked like, and how W compared with S. The state is a function of the labels alone. A tenth of them is
hidden, and predicted from the rest:

* how many of the hidden were wrong, against what the network expected;
* how many the k-NN vote had wrong, against the network;
* S against the number measured, and the part of S that lies where the network is nearly sure;
* the share of the hidden that was wrong.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...protocols import UNMEASURED
from ..error_forecast import Forecast, forecast
from ..stopping import check_stop
from .holdout import Validation, validate
from .inference import NetworkMapper, Prediction
from .planning import Mapper

__all__ = ["LearnedErrorMonitor", "run_state"]

FLOOR = 0.3
"""Least spread of the logarithm of W against S."""
_SURE = 0.1


def run_state(
    prediction: Prediction, validation: Validation, measured: NDArray[np.int16], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Return the state of a run as the error forecast takes it.

    Parameters
    ----------
    prediction : Prediction
        What the network predicts from `measured`.
    validation : Validation
        Hold-out validation on `measured`.
    measured : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured.
    inside : (rows, columns) bool
        Pixels that are mapped.

    Returns
    -------
    (5,) float64 array, float
        The covariates, and S: the uncertainty summed over the map, in pixels.
    """
    uncertainty = 1.0 - prediction.probability[inside & (measured == UNMEASURED)].astype(np.float64)
    total, nearly_sure = float(uncertainty.sum()), float(uncertainty[uncertainty < _SURE].sum())
    wrong = validation.network_only + validation.both
    vote = validation.vote_only + validation.both
    return np.array(
        [
            np.log((wrong + 2.0) / (validation.expected + 2.0)),
            np.log((vote + 2.0) / (wrong + 2.0)),
            np.log((total + 2.0) / max(1, int((measured != UNMEASURED).sum()))),
            np.log((nearly_sure + 2.0) / (total + 2.0)),
            np.log((wrong + 1.0) / (validation.hidden + 10.0)),
        ]
    ), total


class LearnedErrorMonitor:
    """The forecasts of the remaining distortion and the stop rule based on them.

    Parameters
    ----------
    calibration_runs : (m, 7) float32 array
        Of the model; without any there is no interval.
    mapper : NetworkMapper
        The network.
    inside : (rows, columns) bool
        Pixels that are mapped.
    seed : int
        Decides, with the labels, which of them a validation hides.
    stop_at, confidence : float, optional
        As `learned.sampler.LearnedSampler` takes them.

    Raises
    ------
    ConfigError
        If the wanted distortion or the confidence cannot be, or a confidence is given without calibration runs.
    """

    def __init__(
        self,
        calibration_runs: NDArray[np.float32],
        mapper: NetworkMapper,
        inside: NDArray[np.bool_],
        seed: int,
        stop_at: float | None,
        confidence: float | None,
    ) -> None:
        check_stop(stop_at, confidence)
        if confidence is not None and len(calibration_runs) == 0:
            raise ConfigError("confidence needs a model with calibration runs")
        self._calibration_runs = calibration_runs
        self._mapper: Mapper = mapper
        self._inside, self._seed = inside, seed
        self.stop_at, self.confidence = stop_at, confidence
        self._forecast: tuple[Prediction, Forecast] | None = None
        self._verdict: tuple[Prediction, bool] | None = None

    def use(self, mapper: Mapper) -> None:
        """Validate this from now on: the network with an image."""
        self._mapper = mapper

    @property
    def has_interval(self) -> bool:
        """Whether there are calibration runs, hence an interval."""
        return len(self._calibration_runs) > 0

    def quantile(self, prediction: Prediction, measured: NDArray[np.int16], probability: float) -> float:
        """Total distortion not exceeded with `probability`; the first call for a prediction costs a validation."""
        if self._forecast is None or self._forecast[0] is not prediction:
            validation = validate(self._mapper, measured, self._seed)
            state, total = run_state(prediction, validation, measured, self._inside)
            runs = self._calibration_runs.astype(np.float64)
            self._forecast = prediction, forecast(state, total, runs, FLOOR)
        n = int(self._inside.sum())
        most = n - int(np.count_nonzero(self._inside & (measured > 0)))
        return min(self._forecast[1].quantile(probability), float(most)) / n

    def mean_uncertainty(
        self, prediction: Prediction, measured: NDArray[np.int16], validation: Validation
    ) -> float:
        """Mean of 1 - P_max over the mapped pixels, 0 where measured, rescaled by a hold-out validation."""
        unmeasured = self._inside & (measured == UNMEASURED)
        total = float(np.sum(1 - prediction.probability[unmeasured], dtype=np.float64))
        return min(1.0, total / int(self._inside.sum()) * validation.calibration)

    def holds(
        self, prediction: Prediction, measured: NDArray[np.int16], validation: Callable[[], Validation]
    ) -> bool:
        """Whether the stop rule holds; with a confidence each new `prediction` costs a validation.

        It is called at each point, but evaluates the whole map only once for each prediction.
        """
        if self.stop_at is None:
            return False
        if self._verdict is None or self._verdict[0] is not prediction:
            if self.confidence is None:
                remaining = self.mean_uncertainty(prediction, measured, validation())
            else:
                remaining = self.quantile(prediction, measured, self.confidence)
            self._verdict = prediction, remaining <= self.stop_at
        return self._verdict[1]
