"""The default classifier: the likelihood of the counts under each phase, and whether the fit can be accepted.

Bayes' rule over the phases (equal priors) and over alternatives that together weigh `OUTSIDE`: a flat spectrum and
every element on its own. The log-likelihoods (`likelihood`) are tempered by 1 / (1 + N ω), as learnt from left-out
training spectra (`templates`): a posterior that knew only counting statistics would be far too sure of real spectra
at high doses. Flagged spectra are the work of `verdicts`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ...errors import ConfigError, DataError, in_one_line
from ...protocols import UNCLASSIFIED, Classification, Evidence, Mixture
from ...threads import one_thread
from ..axis import EnergyAxis
from ..base import StoredClassifier
from ..counts import MAX_COUNTS, check_batch, check_counts, check_phases
from ..physics.composition import Composition
from ..physics.detector import Detector
from ..rebin import same_detector
from .computed import DetectorCalibration
from .energy_scale import bin_edges, moved, transfer_matrix
from .engine import Engine, FirstEngine, NuisanceEngine
from .kernel import bin_counts, counts_outside
from .learning import learn_templates
from .library import element_shapes
from .live_channels import discriminator_end
from .mixture import MixtureModel
from .nuisance import Nuisance, typical_response
from .nuisance_judge import ACCEPTED, FLAGGED, NEAR, OTHER
from .posterior import bin_batch
from .settings import ClassifierSettings
from .templates import STRAY, Templates, flat_shape

__all__ = ["PhaseClassifier"]

_BLOCK = 32
"""Spectra judged at a time in a batch: what fits into a processor's cache."""
OWN_ELEMENT = 0.15
"""Chi-square per count under which an element's computed spectrum is that of a phase, and no alternative to it."""
NUISANCE = "nuisance."
"""Prefix of the names of the nuisances' arrays in a model file."""
LEAST_LOG = -600.0
"""Log-likelihood, against the best, that stands for everything under it."""
OUTSIDE = 1e-3
"""Prior probability that a spectrum is of none of the phases."""


def _first_live_kev(spectra: Mapping[str, NDArray[Any]], axis: EnergyAxis, low_kev: float) -> float:
    """Energy from which on channels are used: `low_kev`, or where a discriminator above it ends."""
    rows = [np.atleast_2d(np.asarray(table)) for table in spectra.values()]
    if any(table.shape[-1] != axis.n_channels or table.dtype.kind not in "iuf" for table in rows):
        return low_kev  # refused by name where it is learnt from
    return max(low_kev, discriminator_end(sum(table.sum(axis=0) for table in rows), axis))


class PhaseClassifier(StoredClassifier):
    """Phases by likelihood, with verdicts ``ok``, ``low_counts``, ``mixed``, ``unknown`` and ``ill``.

    Only ``ok`` and ``mixed`` carry a phase's label (``mixed``: that of the larger part); the others carry
    `UNCLASSIFIED`.
    Made by `from_spectra`, `from_compositions` or `load`.

    Examples
    --------
    From compositions, and a spectrum of about a hundred counts:

    >>> import numpy as np
    >>> from slads_bluesky import PhaseClassifier
    >>> from slads_bluesky.phantom import training_spectra
    >>> classifier = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
    >>> spectrum = training_spectra("pbsn-64", n=1)["Sn"][0]
    >>> counts = np.random.default_rng(0).binomial(spectrum, 1e-3).astype(np.int32)
    >>> found = classifier.classify(counts)
    >>> classifier.phases[found.label - 1], found.verdict
    ('Sn', 'ok')
    """

    kind = "likelihood"
    version = 2
    nan_arrays = ("rate",)

    def __init__(
        self,
        phases: tuple[str, ...],
        axis: EnergyAxis,
        templates: Templates,
        settings: ClassifierSettings,
        nuisance: Nuisance | None = None,
    ) -> None:
        self.phases = check_phases(phases)
        self.axis = axis
        self.templates = templates
        self.settings = settings
        self.nuisance = nuisance
        if (nuisance is None) != (settings.model == 1):
            raise ConfigError(f"classifier: nuisances do not go with model {settings.model}")
        self._starts = settings.bin_starts(axis)
        n_bins = len(self._starts) - 1
        if templates.shape.shape != (len(self.phases), n_bins):
            raise ConfigError(
                f"classifier: templates of shape {templates.shape.shape}, expected {(len(self.phases), n_bins)}"
            )
        flat = flat_shape(self._starts)
        detector = Detector(resolution_ev=settings.resolution_ev)
        elements = element_shapes(
            axis, self._starts, settings.beam_energy_kev, settings.takeoff_deg, detector
        )
        if settings.model == 2 and settings.response == 2:
            elements = np.array([typical_response(row, self._starts, axis) for row in elements])
        self.element_shapes = elements
        distance = ((elements[:, None] - templates.shape) ** 2 / templates.shape).sum(axis=2).min(axis=1)
        foreign = elements[distance > OWN_ELEMENT]
        outside = (1.0 - STRAY) * np.vstack([flat, foreign]) + STRAY * flat
        log_outside = float(np.log(OUTSIDE / (1.0 - OUTSIDE) * len(self.phases) / len(outside)))
        outside = np.ascontiguousarray(np.log(outside))
        self._engine: Engine
        if nuisance is None:
            self._engine = FirstEngine(templates, settings, self._starts, axis, outside, log_outside)
        else:
            self._engine = NuisanceEngine(
                templates, nuisance, settings, self._starts, axis, outside, log_outside
            )
        self._verdicts = self._engine.verdicts
        self._least_gain = -math.log(settings.false_alarm_rate)

    # ---- making one

    @classmethod
    def from_spectra(
        cls,
        spectra: Mapping[str, NDArray[Any]],
        axis: EnergyAxis,
        *,
        seed: int = 0,
        **settings: Any,
    ) -> PhaseClassifier:
        """Learn from measured spectra.

        Parameters
        ----------
        spectra : phase name to (M, n_channels) counts
            One or more each; from three on, their scatter is learnt too.
        axis : EnergyAxis
        seed : int
            Of the noise that ``noise_lambda`` adds to the training spectra.
        **settings
            Fields of `ClassifierSettings`.

        Raises
        ------
        ConfigError, DataError
            Naming the phase and what is wrong with it.
        """
        return cls.from_both(spectra, {}, axis, seed=seed, **settings)

    @classmethod
    def from_compositions(
        cls,
        compositions: Mapping[str, str | Mapping[str, float] | Composition],
        axis: EnergyAxis | None = None,
        *,
        calibration: DetectorCalibration | None = None,
        **settings: Any,
    ) -> PhaseClassifier:
        """Compute the phases' spectra: no measured one is needed.

        Parameters
        ----------
        compositions : phase name to formula or mass fractions
        axis : EnergyAxis, optional
            Default: `EnergyAxis.phenom`.
        calibration : DetectorCalibration, optional
            Of the detector, from `calibration.calibrate`.
        **settings
            Fields of `ClassifierSettings`.
        """
        chosen = axis if axis is not None else EnergyAxis.phenom()
        return cls.from_both({}, compositions, chosen, calibration=calibration, **settings)

    @classmethod
    def from_both(
        cls,
        spectra: Mapping[str, NDArray[Any]],
        compositions: Mapping[str, str | Mapping[str, float] | Composition],
        axis: EnergyAxis,
        *,
        order: Sequence[str] | None = None,
        seed: int = 0,
        calibration: DetectorCalibration | None = None,
        **settings: Any,
    ) -> PhaseClassifier:
        """Take some phases from measured spectra and others from compositions; `order` gives the labels' order.

        Without it, measured phases come first. ConfigError if a phase is named twice, or `order` names others.
        """
        try:
            if calibration is not None:
                settings.setdefault("low_kev", calibration.low_kev)
            given = "low_kev" in settings
            chosen = ClassifierSettings(**settings)
        except TypeError as error:
            raise ConfigError(f"classifier: {in_one_line('', error)}") from error
        if spectra and not given and chosen.model == 2:
            chosen = replace(chosen, low_kev=_first_live_kev(spectra, axis, chosen.low_kev))
        phases, templates, nuisance = learn_templates(
            spectra, compositions, axis, chosen, order=order, seed=seed, calibration=calibration
        )
        return cls(phases, axis, templates, chosen, nuisance)

    @one_thread()
    def on_axis(self, axis: EnergyAxis, *, force: bool = False) -> PhaseClassifier:
        """Move the classifier to the energy scale of a detector that was calibrated again.

        The templates are moved, not the spectra, whose Poisson statistics stay as they are.

        Parameters
        ----------
        axis : EnergyAxis
            Of the spectra that it shall take.
        force : bool
            Whether another detector's scale is taken too; else only what one detector's may differ by
            (`rebin.same_detector`).

        Returns
        -------
        PhaseClassifier
            Itself if the scale is its own.

        Raises
        ------
        DataError
            If the scale is another detector's, and `force` is not set.

        Examples
        --------
        >>> from slads_bluesky.spectra import EnergyAxis, PhaseClassifier
        >>> classifier = PhaseClassifier.from_compositions({"Pb": "Pb", "Sn": "Sn"})
        >>> recalibrated = EnergyAxis(-0.05, 0.01005, 2040)
        >>> classifier.on_axis(recalibrated).axis == recalibrated
        True
        """
        if axis == self.axis:
            return self
        if not (force or same_detector(self.axis, axis)):
            self.axis.require(axis, "classifier: the detector")
        starts = self.settings.bin_starts(axis)
        matrix = transfer_matrix(bin_edges(self.axis, self._starts), bin_edges(axis, starts))
        templates, nuisance = moved(self.templates, self.nuisance, matrix, starts)
        return PhaseClassifier(self.phases, axis, templates, self.settings, nuisance)

    # ---- using it

    @property
    def n_channels(self) -> int:
        """Length of the spectra that it takes."""
        return self.axis.n_channels

    @property
    def uses_live_time(self) -> bool:
        """Whether `classify` checks the count rate against the live time: training showed which rate to expect."""
        return bool((self.templates.rate[:, 0] > 0).any())

    @property
    def bin_starts(self) -> NDArray[np.int32]:
        """First channel of each bin, and the number of channels at the end: (n_bins + 1,)."""
        return self._starts

    def _binned(self, counts: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
        """Bins of one spectrum and its sum; DataError naming what is wrong with it."""
        array = np.asarray(counts)
        if array.shape != (self.axis.n_channels,) or array.dtype.kind not in "iuf":
            check_counts(array, self.n_channels)
        bins = np.empty(len(self._starts) - 1)
        plain = np.ascontiguousarray(array, dtype=np.float64)
        total = bin_counts(plain, self._starts, bins)
        if not counts_outside(plain, self._starts) <= MAX_COUNTS:
            check_counts(array, self.n_channels)
        if not total <= MAX_COUNTS:  # NaN too
            check_counts(array, self.n_channels)
            if not math.isfinite(total):
                raise DataError(f"spectrum: counts sum to {total}")
        return bins, total

    def classify(self, counts: NDArray[Any], live_time_s: float | None = None) -> Classification:
        """Label, probability and verdict of one spectrum.

        Parameters
        ----------
        counts : (n_channels,) array
        live_time_s : float, optional
            With it, and if the training spectra's live time was known, the count rate is checked too: far too low
            is ``low_counts``, far too high ``ill``.

        Returns
        -------
        Classification
            Its probability is the posterior of the label; for flags that rest on a test instead of the
            posterior, one minus the false-alarm rate.

        Raises
        ------
        DataError
            If it is no such spectrum.
        """
        bins, total = self._binned(counts)
        if live_time_s is None:
            plain = self._engine.plainly_of(bins, total)
            if plain >= 0:
                return Classification(plain + 1, 1.0, "ok")
        best, probability, flag, posterior = self._engine.judge(bins, total)
        if flag == ACCEPTED and live_time_s is None and probability >= self.settings.confidence:
            return Classification(best + 1, probability, "ok")
        return self._conclude(bins, total, best, probability, flag, float(posterior[-1]), live_time_s)

    def _conclude(
        self,
        bins: NDArray[np.float64],
        total: float,
        best: int,
        probability: float,
        flag: int,
        outside: float,
        live_time_s: float | None,
    ) -> Classification:
        sure = max(outside, 1.0 - self.settings.false_alarm_rate)
        if live_time_s is not None:
            rate = self._rate_verdict(total, best, live_time_s)
            if rate is not None:
                return Classification(UNCLASSIFIED, sure, "low_counts" if rate < 0 else "ill")
        if total == 0:
            return Classification(UNCLASSIFIED, outside, "low_counts")
        if flag == NEAR:  # of this phase, or of another composition: too few counts to decide
            return Classification(UNCLASSIFIED, probability, "low_counts")
        if flag in (FLAGGED, OTHER):
            verdict, parts = self._verdicts.explain(bins, total, best)
            accepted = probability >= self.settings.confidence
            if verdict == "mixed" and not accepted and self._verdicts.gain(bins, parts) < self._least_gain:
                # of either phase, or of both: too few counts to decide
                return Classification(UNCLASSIFIED, probability, "low_counts")
            if verdict == "mixed":
                return Classification(int(parts[:-1].argmax()) + 1, probability, "mixed")
            if verdict != "ok" or flag == OTHER:
                return Classification(UNCLASSIFIED, sure, "ill" if verdict == "ill" else "unknown")
        if probability >= self.settings.confidence:
            return Classification(best + 1, probability, "ok")
        return Classification(UNCLASSIFIED, probability, "low_counts")

    def _rate_verdict(self, total: float, best: int, live_time_s: float) -> int | None:
        """-1 or 1 if there are far too few or too many counts for this live time, else None."""
        rate, spread = self.templates.rate[best]
        if not (rate > 0 and live_time_s > 0):
            return None
        expected = rate * live_time_s
        limit = -float(ndtri(0.5 * self.settings.false_alarm_rate))
        allowed = limit * np.sqrt(expected + (spread * expected) ** 2)
        if abs(total - expected) <= allowed + 0.5:
            return None
        return 1 if total > expected else -1

    def classify_batch(
        self, counts: NDArray[Any]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.str_]]:
        """Labels, probabilities and verdicts of spectra (n, n_channels), in their order."""
        x = check_batch(counts, self.n_channels)
        best = np.empty(len(x), np.int64)
        probability = np.empty(len(x))
        flag = np.empty(len(x), np.int64)
        bins = np.empty((_BLOCK, len(self._starts) - 1))
        totals = np.empty(_BLOCK)
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            block = np.ascontiguousarray(x[part], dtype=np.float64)
            n = len(block)
            bin_batch(block, self._starts, bins, totals)
            self._engine.judge_batch(bins[:n], totals[:n], best[part], probability[part], flag[part])
        labels = (best + 1).astype(np.uint8)
        verdicts = np.full(len(x), "ok", dtype="<U10")
        for i in np.flatnonzero((flag != ACCEPTED) | ~(probability >= self.settings.confidence)):
            labels[i], probability[i], verdicts[i] = self.classify(x[i])
        return labels, probability, verdicts

    def posterior(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Posterior of each phase and, last, of none of them: (L + 1,) for one spectrum (n_channels,)."""
        return self._engine.judge(*self._binned(counts))[3]

    def log_likelihoods(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Log-likelihood of one spectrum (n_channels,) under each phase and, last, under none of them: (L + 1,).

        The greatest is 0, and none is under `LEAST_LOG`. They are tempered as the posterior is: the posterior is
        their softmax with the priors, (1 - `OUTSIDE`) / L for a phase and `OUTSIDE` for none of them.

        Raises
        ------
        DataError
            If it is no such spectrum.
        """
        posterior = self._engine.judge(*self._binned(counts))[3]
        n = len(self.phases)
        out = np.log(np.maximum(posterior, np.exp(LEAST_LOG)))
        out[:n] -= math.log((1.0 - OUTSIDE) / n)
        out[n] -= math.log(OUTSIDE)
        return np.asarray(np.maximum(out - out.max(), LEAST_LOG))

    def evidence(self, counts: NDArray[Any]) -> Evidence:
        """All that a sequential test needs of one spectrum, at the price of one look.

        Returns
        -------
        Evidence
        """
        bins, total = self._binned(counts)
        best, probability, flag, posterior = self._engine.judge(bins, total)
        return Evidence(total, best, probability, flag != ACCEPTED, posterior)

    def draw_posteriors(
        self, phase: int, counts: int, n: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Posteriors (n, L + 1) of `n` spectra of `counts` counts drawn from the phase of that index."""
        out = np.empty((n, len(self.phases) + 1))
        for i, bins in enumerate(rng.multinomial(counts, self.templates.shape[phase], size=n)):
            out[i] = self._engine.judge(bins.astype(np.float64), float(counts))[3]
        return out

    def abundances(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Abundances of the phases and, last, of a flat spectrum, (L + 1,), as fractions of the counts."""
        bins, total = self._binned(counts)
        if total == 0:
            raise DataError("spectrum: holds no counts")
        return self._verdicts.parts(bins)

    @cached_property
    def _mixtures(self) -> MixtureModel:
        return MixtureModel(self.templates, self.nuisance, self.settings.yields)

    def mixture(self, counts: NDArray[Any]) -> Mixture:
        """Which phase has the largest part, and how large the parts are.

        Abundances are parts of the interaction volume where the phases' `ClassifierSettings.yields` are known, else
        fractions of the counts.

        Parameters
        ----------
        counts : (n_channels,) array

        Raises
        ------
        DataError
            If it is no such spectrum.

        Examples
        --------
        >>> import numpy as np
        >>> from slads_bluesky import PhaseClassifier
        >>> from slads_bluesky.phantom import training_spectra
        >>> known = training_spectra("pbsn-64", n=2)
        >>> classifier = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
        >>> found = classifier.mixture(0.7 * known["Pb-Sn"][0] + 0.3 * known["Sn"][0])
        >>> classifier.phases[found.majority - 1], found.pure < 0.5
        ('Pb-Sn', True)
        """
        return self._mixtures(*self._binned(counts))

    def energy_drift(self, counts: NDArray[Any], label: int) -> tuple[float, float] | None:
        """Relative error of the energy scale that the sum of a phase's spectra shows, against the classifier's.

        Parameters
        ----------
        counts : (n_channels,) array
            Sum of spectra; from some ten thousand counts on it says something.
        label : int
            Of the phase, 1 … L.

        Returns
        -------
        tuple of float or None
            The error, 0.005 where energies are read 0.5 % too high, and its standard deviation; None from a
            classifier of version 1, or if there are no counts.

        Raises
        ------
        DataError
            If it is no such spectrum.
        """
        bins, total = self._binned(counts)
        if not (isinstance(self._engine, NuisanceEngine) and total > 0):
            return None
        return self._engine.drift(bins, label - 1)

    # ---- saving it

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = dict(vars(self.templates))
        if self.nuisance is not None:
            arrays |= {NUISANCE + name: array for name, array in vars(self.nuisance).items()}
        return arrays

    def _description(self) -> dict[str, Any]:
        return {"phases": list(self.phases), "axis": self.axis.to_json(), "settings": self.settings.to_json()}

    @classmethod
    def _restore(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> PhaseClassifier:
        nuisance = {
            name.removeprefix(NUISANCE): array for name, array in arrays.items() if name.startswith(NUISANCE)
        }
        return cls(
            tuple(description["phases"]),
            EnergyAxis.from_json(description["axis"]),
            Templates(**{name: array for name, array in arrays.items() if not name.startswith(NUISANCE)}),
            ClassifierSettings.from_json(description["settings"]),
            Nuisance(**nuisance) if nuisance else None,
        )
