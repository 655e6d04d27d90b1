"""The two ways in which a spectrum is judged: without nuisances (files of version 1) and with them (version 2)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..axis import EnergyAxis
from .kernel import chi_square
from .marginal import fit_phase
from .nuisance import Nuisance
from .nuisance_judge import (
    ACCEPTED,
    FLAGGED,
    NuisanceModel,
    centred_directions,
    judge_nuisance,
    judge_nuisance_batch,
    make_nuisance_model,
)
from .posterior import Model, judge, judge_batch, outside_scores
from .settings import ClassifierSettings
from .templates import Templates, mixture_log_ratio
from .verdicts import Verdicts, make_thresholds

__all__ = ["Engine", "FirstEngine", "NuisanceEngine"]

COMPUTED_SLACK = 1.5
"""The limit from which on a computed phase is near another composition, in that of a measured one."""
Judgement = tuple[int, float, int, NDArray[np.float64]]
"""Best phase, its posterior, what is said of its fit (`nuisance_judge.ACCEPTED` …), and the posterior (L + 1,)."""


class Engine(Protocol):
    """What a `PhaseClassifier` asks."""

    verdicts: Verdicts

    def judge(self, bins: NDArray[np.float64], total: float) -> Judgement:
        """Judge one binned spectrum (n_bins,) of so many counts."""

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
    """Nuisances fitted within bounds and integrated out: version 2."""

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
        slack = 1.0 if settings.response == 1 else COMPUTED_SLACK
        self._model = make_nuisance_model(templates, nuisance, settings.false_alarm_rate, log_outside, slack)
        self.verdicts: Verdicts = _NuisanceVerdicts(self._model, templates, settings, starts, axis)

    def judge(self, bins: NDArray[np.float64], total: float) -> Judgement:
        """Judge one binned spectrum."""
        posterior = np.empty(len(self._model.shape) + 1)
        theta, mu = np.zeros(self._model.low.shape), np.empty(self._model.shape.shape)
        scores = self._outside @ bins
        best, probability, flag = judge_nuisance(bins, total, scores, self._model, posterior, theta, mu)
        return best, probability, flag, posterior

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
