"""The two ways in which a spectrum is judged: without nuisances (files of version 1) and with them (version 2)."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...threads import one_thread
from ..axis import EnergyAxis
from .energy_scale import bin_edges, moved, transfer_matrix
from .kernel import chi_square
from .marginal import fit_phase
from .nuisance import Nuisance
from .nuisance_judge import (
    ACCEPTED,
    FLAGGED,
    OTHER,
    NuisanceModel,
    centred_directions,
    judge_nuisance,
    judge_nuisance_batch,
    make_nuisance_model,
    plainly_of,
)
from .posterior import Model, judge, judge_batch, outside_scores
from .settings import ClassifierSettings
from .templates import Templates, mixture_log_ratio
from .verdicts import Verdicts, make_thresholds

__all__ = ["Engine", "FirstEngine", "NuisanceEngine"]

COMPUTED_SLACK = 1.5
"""The limit from which on a computed phase is near another composition, in that of a measured one."""
DRIFT_STEP = 1e-3
"""Relative step of the energy scale at which templates of a drifted detector are made; nuisances take the rest."""
DRIFT_GAIN = 15.0
"""Log ratio by which another energy scale must be likelier before it is tried."""
DRIFT_FIT_STEPS = 20
Judgement = tuple[int, float, int, NDArray[np.float64]]
"""Best phase, its posterior, what is said of its fit (`nuisance_judge.ACCEPTED` …), and the posterior (L + 1,)."""


class Engine(Protocol):
    """What a `PhaseClassifier` asks."""

    verdicts: Verdicts

    def judge(self, bins: NDArray[np.float64], total: float) -> Judgement:
        """Judge one binned spectrum (n_bins,) of so many counts."""

    def plainly_of(self, bins: NDArray[np.float64], total: float) -> int:
        """Return the phase that a binned spectrum is plainly of, with a probability of 1; -1: `judge` it."""

    def judge_batch(
        self,
        bins: NDArray[np.float64],
        totals: NDArray[np.float64],
        best: NDArray[np.int64],
        probability: NDArray[np.float64],
        flag: NDArray[np.int64],
    ) -> None:
        """Judge binned spectra (n, n_bins); fills the last three arrays (n,)."""


class FirstEngine:
    """Gain and offset alone, linearised: the arithmetic of version 1, which recorded runs are verified with."""

    def __init__(
        self,
        templates: Templates,
        settings: ClassifierSettings,
        starts: NDArray[np.int32],
        axis: EnergyAxis,
        outside: NDArray[np.float64],
        log_outside: float,
    ) -> None:
        self._outside = outside
        self._model = _make_model(templates, settings, np.array([templates.tempering[0], log_outside]))
        self.verdicts = Verdicts(templates, starts, axis, settings.resolution_ev, settings.false_alarm_rate)

    # Arrays are allocated for every spectrum: the thread of a device and a live view may ask at the same time.

    def judge(self, bins: NDArray[np.float64], total: float) -> Judgement:
        """Judge one binned spectrum."""
        scores = np.empty(len(self._outside))
        posterior = np.empty(len(self._model.shape) + 1)
        outside_scores(bins, self._outside, scores)
        best, probability, flagged = judge(bins, total, scores, self._model, posterior)
        return best, probability, FLAGGED if flagged else ACCEPTED, posterior

    def plainly_of(self, bins: NDArray[np.float64], total: float) -> int:
        """Leave it to `judge`, whose arithmetic recorded runs are verified with."""
        return -1

    def judge_batch(
        self,
        bins: NDArray[np.float64],
        totals: NDArray[np.float64],
        best: NDArray[np.int64],
        probability: NDArray[np.float64],
        flag: NDArray[np.int64],
    ) -> None:
        """Judge binned spectra."""
        flagged = np.empty(len(bins), np.bool_)
        judge_batch(bins, totals, bins @ self._outside.T, self._model, best, probability, flagged)
        flag[:] = np.where(flagged, FLAGGED, ACCEPTED)


class NuisanceEngine:
    """Nuisances fitted within bounds and integrated out: version 2.

    A spectrum that is flagged is judged again on the likeliest energy scale within `ClassifierSettings.drift`: a
    detector drifts between its calibration and a map. The verdict depends on this spectrum alone, on none before it.
    """

    def __init__(
        self,
        templates: Templates,
        nuisance: Nuisance,
        settings: ClassifierSettings,
        starts: NDArray[np.int32],
        axis: EnergyAxis,
        outside: NDArray[np.float64],
        log_outside: float,
    ) -> None:
        self._outside = outside
        self._slack = 1.0 if settings.response == 1 else COMPUTED_SLACK
        self._log_outside = log_outside
        self._templates, self._nuisance, self._settings = templates, nuisance, settings
        self._starts, self._edges = starts, bin_edges(axis, starts)
        self._model = make_nuisance_model(
            templates, nuisance, settings.false_alarm_rate, log_outside, self._slack
        )
        steps = round(settings.drift / DRIFT_STEP)
        self.gains = DRIFT_STEP * np.arange(-steps, steps + 1)
        self._drifted: dict[int, NuisanceModel] = {steps: self._model}
        self.verdicts: Verdicts = _NuisanceVerdicts(self._model, templates, settings, starts, axis)

    def judge(self, bins: NDArray[np.float64], total: float) -> Judgement:
        """Judge one binned spectrum."""
        scores = self._outside @ bins
        found = _judged(self._model, bins, total, scores)
        if found[2] in (FLAGGED, OTHER) and len(self.gains) > 1:
            step = self.likeliest_step(bins)
            if step is not None:
                again = _judged(self.model_at(step), bins, total, scores)
                if again[2] not in (FLAGGED, OTHER):
                    return again
        return found

    def plainly_of(self, bins: NDArray[np.float64], total: float) -> int:
        """Return the phase that a binned spectrum is plainly of, or -1."""
        return plainly_of(bins, total, self._outside @ bins, self._model)

    @cached_property
    @one_thread()
    def _log_moved(self) -> NDArray[np.float64]:
        """Ln of all templates at each of `gains`, (n_gains, L, n_bins)."""
        made = [
            moved(self._templates, None, self._matrix(gain), self._starts)[0].shape for gain in self.gains
        ]
        return np.log(np.array(made))

    def _matrix(self, gain: float) -> NDArray[np.float64]:
        return transfer_matrix(self._edges, self._edges / (1.0 + gain))

    def likeliest_step(self, bins: NDArray[np.float64]) -> int | None:
        """Which of `gains` is likeliest of bins (n_bins,), if it is `DRIFT_GAIN` likelier than none."""
        value = np.dot(self._log_moved, bins).max(axis=1)
        step = int(value.argmax())
        return step if value[step] > value[len(self.gains) // 2] + DRIFT_GAIN else None

    def model_at(self, step: int) -> NuisanceModel:
        """Return the templates at one of `gains`, made at their first use."""
        if step not in self._drifted:
            self._drifted[step] = self._made_at(float(self.gains[step]))
        return self._drifted[step]

    @one_thread()
    def _made_at(self, gain: float) -> NuisanceModel:
        templates, nuisance = moved(self._templates, self._nuisance, self._matrix(gain), self._starts)
        assert nuisance is not None
        rate = self._settings.false_alarm_rate
        return make_nuisance_model(templates, nuisance, rate, self._log_outside, self._slack)

    def drift(self, bins: NDArray[np.float64], phase: int) -> tuple[float, float]:
        """Relative error of the energy scale that bins (n_bins,) of a phase show, and its standard deviation."""
        step = len(self.gains) // 2
        if len(self.gains) > 1:
            step = int(np.dot(self._log_moved[:, phase], bins).argmax())
        model, total = self.model_at(step), float(bins.sum())
        theta, mu = np.zeros(model.low.shape[1]), np.empty(len(bins))
        fit_phase(
            bins, total, model.shape[phase], model.directions[phase], model.fisher[phase], model.low[phase],
            model.high[phase], model.precision[phase], DRIFT_FIT_STEPS, theta, mu,
        )  # fmt: skip
        # the first direction of a phase is the gain; for measured phases its unit is the setting's
        unit = self._gain_unit(phase)
        left = np.linalg.inv(np.diag(model.precision[phase]) + total * model.fisher[phase])
        return float(self.gains[step] + unit * theta[0]), float(unit * np.sqrt(left[0, 0]))

    def _gain_unit(self, phase: int) -> float:
        """Relative error of the scale that one unit of a phase's first direction stands for, by its own shape."""
        shape, change = self._model.shape[phase], self._model.directions[phase, 0]
        up, down = (self._at_gain(shape, sign * DRIFT_STEP) for sign in (1.0, -1.0))
        slope = 0.5 * (up - down) / DRIFT_STEP
        return float((change * slope / shape).sum() / (slope * slope / shape).sum())

    def _at_gain(self, shape: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
        return np.asarray(self._matrix(gain) @ shape)

    def judge_batch(
        self,
        bins: NDArray[np.float64],
        totals: NDArray[np.float64],
        best: NDArray[np.int64],
        probability: NDArray[np.float64],
        flag: NDArray[np.int64],
    ) -> None:
        """Judge binned spectra."""
        judge_nuisance_batch(bins, totals, bins @ self._outside.T, self._model, best, probability, flag)


def _judged(
    model: NuisanceModel, bins: NDArray[np.float64], total: float, scores: NDArray[np.float64]
) -> Judgement:
    # arrays are allocated for every spectrum: the thread of a device and a live view may ask at the same time
    posterior = np.empty(len(model.shape) + 1)
    theta, mu = np.zeros(model.low.shape), np.empty(model.shape.shape)
    best, probability, flag = judge_nuisance(bins, total, scores, model, posterior, theta, mu)
    return best, probability, flag, posterior


class _NuisanceVerdicts(Verdicts):
    """Verdicts whose mixtures have the nuisances of their main phase."""

    def __init__(
        self,
        model: NuisanceModel,
        templates: Templates,
        settings: ClassifierSettings,
        starts: NDArray[np.int32],
        axis: EnergyAxis,
    ) -> None:
        super().__init__(templates, starts, axis, settings.resolution_ev, settings.false_alarm_rate)
        self._model = model

    def _fits(
        self, bins: NDArray[np.float64], total: float, shape: NDArray[np.float64], main: int, limit: float
    ) -> bool:
        model = self._model
        theta, mu = np.zeros(model.low.shape[1]), np.empty(len(shape))
        directions = model.directions[main]
        centred = centred_directions(shape, directions)
        fisher = (centred / shape) @ centred.T
        fit_phase(
            bins,
            total,
            shape,
            directions,
            np.ascontiguousarray(fisher),
            model.low[main],
            model.high[main],
            model.precision[main],
            10,
            theta,
            mu,
        )
        return bool(chi_square(bins, total, mu, model.no_changes) <= limit)


def _make_model(templates: Templates, settings: ClassifierSettings, numbers: NDArray[np.float64]) -> Model:
    shape, changes = templates.shape, templates.changes
    gain, offset = changes[:, 0], changes[:, 1]
    limits = make_thresholds(templates, settings.false_alarm_rate)
    return Model(
        np.ascontiguousarray(np.concatenate([np.log(shape)[:, None], changes / shape[:, None]], axis=1)),
        np.stack([(p / shape).sum(axis=1) for p in (gain**2, offset**2, gain * offset)], axis=1),
        shape,
        changes,
        np.ascontiguousarray(mixture_log_ratio(shape)),
        limits.fit,
        limits.mixture,
        numbers,
    )
