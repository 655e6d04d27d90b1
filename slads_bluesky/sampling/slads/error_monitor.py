"""How far a run has come: what was found at the chosen pixels, how wrong the map still is, whether to stop."""

from __future__ import annotations

from array import array

import numpy as np

from ...errors import ConfigError
from ..error_forecast import Forecast, Record, covariates, forecast
from ..stopping import StopFunction, check_stop, threshold_for
from .model import SladsModel
from .pixel_error import map_pixel_error
from .state import N_VOTES, Field

__all__ = ["ErrorMonitor"]


class ErrorMonitor:
    """The record of a run and the two stop rules that look at it.

    Parameters
    ----------
    model : SladsModel
        Its pixel error, calibration runs and stop thresholds are used.
    n_pixels : int
        Pixels of the map.
    stop_at, confidence : float, optional
        As `SladsSampler` takes them.

    Raises
    ------
    ConfigError
        If the wanted distortion or the confidence cannot be, or the model was trained without calibration runs.
    """

    def __init__(
        self, model: SladsModel, n_pixels: int, stop_at: float | None, confidence: float | None
    ) -> None:
        check_stop(stop_at, confidence)
        if stop_at is not None and len(model.stop if confidence is None else model.calibration_runs) == 0:
            raise ConfigError("stop_at needs a model that was trained with calibration runs")
        self._model, self._n_pixels = model, n_pixels
        self.stop_at, self.confidence = stop_at, confidence
        self._pixel_error, self._agreed, self._missed = array("f"), array("b"), array("b")
        self._function = StopFunction(n_pixels)
        self._threshold = threshold_for(model.stop, stop_at) if stop_at is not None else 0.0
        self._forecast: Forecast | None = None
        self._check_at = 0
        self.stopped = False

    @property
    def record(self) -> Record:
        """What was found at the pixels chosen so far, those of the initial mask left out."""
        return Record(
            np.array(self._pixel_error, np.float32),
            np.array(self._agreed, bool),
            np.array(self._missed, bool),
        )

    @property
    def stop_function(self) -> float:
        """L of the references' stop rule."""
        return self._function.value

    def take(self, pixel_error: float, agreed: bool, missed: bool) -> None:
        """Take how the map stood at a chosen pixel before it was measured."""
        self._pixel_error.append(pixel_error)
        self._agreed.append(bool(agreed))
        self._missed.append(bool(missed))
        self._function.take(bool(missed))

    def invalidate(self) -> None:
        """Drop the forecast: the map has changed."""
        self._forecast = None

    def forecast(self, field: Field, n_measured: int) -> Forecast | None:
        """Return the distribution of the number of wrong pixels; None for a model without calibration runs."""
        if len(self._model.calibration_runs) == 0:
            return None
        if self._forecast is None:
            total, agreed, n_total, n_agreed = map_pixel_error(field, self._model.pixel_error)
            state = covariates(self.record, n_measured, total, agreed, n_total, n_agreed)
            self._forecast = forecast(state, float(total), self._model.calibration_runs)
        return self._forecast

    def quantile(self, field: Field, n_measured: int, probability: float) -> float:
        """Total distortion that is not exceeded with `probability`; NaN for a model without calibration runs."""
        found = self.forecast(field, n_measured)
        if found is None:
            return float("nan")
        most = float(self._n_pixels - field.counts[N_VOTES])
        return min(most, found.quantile(probability)) / self._n_pixels

    def check(self, field: Field, n_measured: int) -> None:
        """See whether the stop rule holds; the bound, which looks at the whole map, at every per cent more."""
        if self.stop_at is None or self.stopped or n_measured < self._check_at:
            return
        if self.confidence is None:
            self.stopped = self._function.holds(self._threshold, n_measured)
        else:
            self.stopped = self.quantile(field, n_measured, self.confidence) <= self.stop_at
            self._check_at = n_measured + max(16, n_measured // 100)
