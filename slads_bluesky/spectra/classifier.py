"""The default classifier: the likelihood of the counts under each phase, and whether they may be believed.

Bayes' rule over the phases (equal priors) and over alternatives that together weigh `OUTSIDE`: a flat spectrum and
every element on its own. The log-likelihoods (`likelihood`) are tempered by 1 / (1 + N ω), as learnt from left-out
training spectra (`templates`): a posterior that knew only counting statistics would be far too sure of real spectra
at high doses. Doubts are the work of `verdicts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ..errors import ConfigError, DataError, ModelFileError
from ..protocols import ILL, Classification
from .axis import EnergyAxis
from .composition import Composition
from .counts import check_batch, check_counts, check_phases, check_training
from .detector import Detector
from .jit import compiled
from .library import element_shapes
from .likelihood import bin_counts, bin_starts, chi_square, phase_log_likelihoods
from .modelfile import model_sha256, read_model, write_model
from .physics import expected_counts
from .templates import STRAY, Templates, build_templates, flat_shape, mixture_log_ratio
from .verdicts import LEVELS, Verdicts, make_thresholds

__all__ = ["ClassifierSettings", "PhaseClassifier"]

OUTSIDE = 1e-3
"""Prior probability that a spectrum is of none of the phases."""
_LOG_STEP = float(np.log(LEVELS[1] / LEVELS[0]))


@dataclass(frozen=True)
class ClassifierSettings:
    """What a `PhaseClassifier` is told besides spectra.

    Parameters
    ----------
    beam_kev, takeoff_deg : float
        Of the computed spectra: phases given as compositions, and the elements that stand for the unknown.
    resolution_ev : float
        Of the detector at Mn Kα.
    false_alarm_rate : float
        Part of good spectra that may be doubted.
    confidence : float
        Posterior under which a spectrum is ``low_counts``.
    template_error : float
        Relative error of computed spectra, and of phases with fewer than three measured ones.
    gain_sd : float
        Standard deviation of the relative error of the energy scale.
    offset_sd_kev : float
        Standard deviation of the energy of channel 0, in keV.
    noise_lambda : float
        Mean counts that a flat background adds in every channel of a spectrum like those trained on.
    live_time_s : float or None
        Live time of the training spectra, for the check of the count rate.
    """

    beam_kev: float = 15.0
    takeoff_deg: float = 28.5
    resolution_ev: float = 126.0
    false_alarm_rate: float = 1e-3
    confidence: float = 0.95
    template_error: float = 0.1
    gain_sd: float = 3e-4
    offset_sd_kev: float = 1e-3
    noise_lambda: float = 0.0
    live_time_s: float | None = None

    def __post_init__(self) -> None:
        bounds = {
            "resolution_ev": (100.0, 1000.0),
            "false_alarm_rate": (1e-9, 0.2),
            "confidence": (0.0, 1.0 - 1e-9),
            "template_error": (0.0, 1.0),
            "gain_sd": (1e-9, 0.05),
            "offset_sd_kev": (1e-9, 0.1),
            "noise_lambda": (0.0, 1e6),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"classifier: {name} must be {low:g} to {high:g}, not {value}")
        if self.live_time_s is not None and not self.live_time_s > 0:
            raise ConfigError(f"classifier: live_time_s must be positive, not {self.live_time_s}")


@compiled
def _judge(
    bins: NDArray[np.float64],
    total: float,
    tables: NDArray[np.float64],
    fisher: NDArray[np.float64],
    outside: NDArray[np.float32],
    shape: NDArray[np.float64],
    changes: NDArray[np.float64],
    ratio: NDArray[np.float64],
    fit_limit: NDArray[np.float64],
    mixture_limit: NDArray[np.float64],
    settings: NDArray[np.float64],
    posterior: NDArray[np.float64],
) -> tuple[int, float, bool]:
    """Best phase, its posterior, and whether it is suspect; fills `posterior` (L + 1,), the last: outside."""
    n_phases = len(tables)
    omega, log_outside, log_step = settings[0], settings[1], settings[2]
    phase_log_likelihoods(bins, total, tables, fisher, posterior[:n_phases])
    temper = 1.0 / (1.0 + total * omega)
    best = 0
    for i in range(n_phases):
        posterior[i] *= temper
        if posterior[i] > posterior[best]:
            best = i
    top = posterior[best]
    # the alternatives, by log-sum-exp over those that matter
    values = np.empty(len(outside))
    high = -np.inf
    for k in range(len(outside)):
        value = 0.0
        for g in range(len(bins)):
            value += bins[g] * outside[k, g]
        values[k] = value * temper
        high = max(high, values[k])
    away = 0.0
    for k in range(len(outside)):
        away += np.exp(values[k] - high)
    posterior[n_phases] = high + np.log(away) + log_outside
    top = max(top, posterior[n_phases])
    norm = 0.0
    for i in range(n_phases + 1):
        posterior[i] = np.exp(posterior[i] - top)
        norm += posterior[i]
    for i in range(n_phases + 1):
        posterior[i] /= norm
    # thresholds at this dose, linear in the counts between two levels
    place = np.log(max(total, 1.0)) / log_step
    level = min(int(place), fit_limit.shape[1] - 2)
    low, width = np.exp(level * log_step), np.exp((level + 1) * log_step)
    part = min((total - low) / (width - low), 1.0)
    limit = fit_limit[best, level] * (1.0 - part) + fit_limit[best, level + 1] * part
    suspect = posterior[n_phases] > 0.5
    if not suspect:
        suspect = chi_square(bins, total, shape[best], changes[best]) > limit
    if not suspect:
        for other in range(n_phases):
            if other == best:
                continue
            value = 0.0
            for g in range(len(bins)):
                value += bins[g] * ratio[best, other, g]
            a, b = mixture_limit[best, other, level], mixture_limit[best, other, level + 1]
            if value > a * (1.0 - part) + b * part:
                suspect = True
                break
    return best, posterior[best], suspect


@compiled
def _judge_batch(
    counts: NDArray[np.float64],
    starts: NDArray[np.int32],
    tables: NDArray[np.float64],
    fisher: NDArray[np.float64],
    outside: NDArray[np.float32],
    shape: NDArray[np.float64],
    changes: NDArray[np.float64],
    ratio: NDArray[np.float64],
    fit_limit: NDArray[np.float64],
    mixture_limit: NDArray[np.float64],
    settings: NDArray[np.float64],
    best: NDArray[np.int64],
    probability: NDArray[np.float64],
    suspect: NDArray[np.bool_],
) -> None:
    """Do what `_judge` does for spectra (n, n_channels); fills the last three arrays (n,)."""
    bins = np.empty(len(starts) - 1)
    posterior = np.empty(len(tables) + 1)
    for i in range(len(counts)):
        total = bin_counts(counts[i], starts, bins)
        best[i], probability[i], suspect[i] = _judge(
            bins,
            total,
            tables,
            fisher,
            outside,
            shape,
            changes,
            ratio,
            fit_limit,
            mixture_limit,
            settings,
            posterior,
        )


class PhaseClassifier:
    """Phases by likelihood, with verdicts ``ok``, ``low_counts``, ``mixed``, ``unknown`` and ``ill``.

    Only ``ok`` and ``mixed`` carry a phase's label (``mixed``: that of the larger part); the others carry `ILL`.
    Made by `from_spectra`, `from_compositions` or `load`.
    """

    kind = "likelihood"
    version = 1

    def __init__(
        self,
        phases: tuple[str, ...],
        axis: EnergyAxis,
        templates: Templates,
        settings: ClassifierSettings,
    ) -> None:
        self.phases = check_phases(phases)
        self.axis = axis
        self.templates = templates
        self.settings = settings
        self._starts = bin_starts(axis, settings.resolution_ev)
        n_bins = len(self._starts) - 1
        if templates.shape.shape != (len(self.phases), n_bins):
            raise ConfigError(
                f"classifier: templates of shape {templates.shape.shape}, expected {(len(self.phases), n_bins)}"
            )
        shape, changes = templates.shape, templates.changes
        self._tables = np.ascontiguousarray(
            np.concatenate([np.log(shape)[:, None], changes / shape[:, None]], axis=1)
        )
        self._fisher = np.stack(
            [
                (changes[:, 0] ** 2 / shape).sum(axis=1),
                (changes[:, 1] ** 2 / shape).sum(axis=1),
                (changes[:, 0] * changes[:, 1] / shape).sum(axis=1),
            ],
            axis=1,
        )
        self._ratio = np.ascontiguousarray(mixture_log_ratio(shape))
        self._limits = make_thresholds(templates, settings.false_alarm_rate)
        flat = flat_shape(self._starts)
        detector = Detector(resolution_ev=settings.resolution_ev)
        elements = element_shapes(axis, self._starts, settings.beam_kev, settings.takeoff_deg, detector)
        outside = (1.0 - STRAY) * np.vstack([flat, elements]) + STRAY * flat
        self._outside = np.log(outside).astype(np.float32)
        log_outside = np.log(OUTSIDE / (1.0 - OUTSIDE) * len(self.phases) / len(outside))
        self._numbers = np.array([float(templates.tempering[0]), log_outside, _LOG_STEP])
        self._verdicts = Verdicts(
            templates, self._starts, axis, settings.resolution_ev, settings.false_alarm_rate
        )
        self._model = (
            self._tables,
            self._fisher,
            self._outside,
            templates.shape,
            templates.changes,
            self._ratio,
            self._limits.fit,
            self._limits.mixture,
            self._numbers,
        )
        self._bins = np.empty(n_bins)
        self._posterior = np.empty(len(self.phases) + 1)

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
        **settings: Any,
    ) -> PhaseClassifier:
        """Compute the phases' spectra: no measured one is needed.

        Parameters
        ----------
        compositions : phase name to formula or mass fractions
        axis : EnergyAxis, optional
            Default: `EnergyAxis.phenom`.
        **settings
            Fields of `ClassifierSettings`.
        """
        return cls.from_both({}, compositions, axis if axis is not None else EnergyAxis.phenom(), **settings)

    @classmethod
    def from_both(
        cls,
        spectra: Mapping[str, NDArray[Any]],
        compositions: Mapping[str, str | Mapping[str, float] | Composition],
        axis: EnergyAxis,
        *,
        order: Sequence[str] | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> PhaseClassifier:
        """Take some phases from measured spectra and others from compositions; `order` gives the labels' order.

        Without it, measured phases come first. ConfigError if a phase is named twice, or `order` names others.
        """
        try:
            chosen = ClassifierSettings(**settings)
        except TypeError as error:
            raise ConfigError(f"classifier: {error}") from error
        named = check_phases([*spectra, *compositions])
        phases = check_phases(order) if order is not None else named
        if sorted(phases) != sorted(named):
            raise ConfigError(f"classifier: order {list(phases)} does not name the phases {list(named)}")
        checked = check_training(spectra, axis.n_channels, least=1) if spectra else {}
        starts = bin_starts(axis, chosen.resolution_ev)
        rng = np.random.default_rng([seed, 0x11E])
        binned: dict[str, NDArray[np.float64]] = {}
        for name, table in checked.items():
            noisy = table + rng.poisson(chosen.noise_lambda, table.shape)
            binned[name] = np.add.reduceat(noisy, starts[:-1], axis=1)
        detector = Detector(resolution_ev=chosen.resolution_ev)
        for name, value in compositions.items():
            try:
                counts = expected_counts(
                    value,
                    axis,
                    beam_kev=chosen.beam_kev,
                    takeoff_deg=chosen.takeoff_deg,
                    detector=detector,
                    total_counts=1.0,
                )
            except ConfigError as error:
                raise ConfigError(f"phase {name!r}: {error}") from error
            binned[name] = np.add.reduceat(counts, starts[:-1])[None]
        templates = build_templates(
            [binned[name] for name in phases],
            np.array([name in compositions for name in phases]),
            starts,
            axis,
            template_error=chosen.template_error,
            gain_sd=chosen.gain_sd,
            offset_sd_kev=chosen.offset_sd_kev,
            live_time_s=chosen.live_time_s,
        )
        return cls(phases, axis, templates, chosen)

    # ---- using it

    @property
    def n_channels(self) -> int:
        """Length of the spectra that it takes."""
        return self.axis.n_channels

    def _binned(self, counts: NDArray[Any]) -> float:
        """Bin one spectrum into the scratch array; DataError naming what is wrong with it."""
        array = np.asarray(counts)
        if array.shape != (self.axis.n_channels,) or array.dtype.kind not in "iuf":
            check_counts(array, self.n_channels)
        total = bin_counts(np.ascontiguousarray(array, dtype=np.float64), self._starts, self._bins)
        if not total >= 0:
            check_counts(array, self.n_channels)
            raise DataError(f"spectrum: counts sum to {total}")
        return total

    def _judged(self, bins: NDArray[np.float64], total: float) -> tuple[int, float, bool]:
        return _judge(bins, total, *self._model, self._posterior)

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
            Its probability is the posterior of the label; for doubts that rest on a test instead of the
            posterior, one minus the false-alarm rate.

        Raises
        ------
        DataError
            If it is no such spectrum.
        """
        total = self._binned(counts)
        best, probability, suspect = self._judged(self._bins, total)
        if not suspect and live_time_s is None and probability >= self.settings.confidence:
            return Classification(best + 1, probability, "ok")
        return self._conclude(self._bins, total, best, probability, suspect, live_time_s)

    def _conclude(
        self,
        bins: NDArray[np.float64],
        total: float,
        best: int,
        probability: float,
        suspect: bool,
        live_time_s: float | None,
    ) -> Classification:
        outside = float(self._posterior[-1])
        sure = max(outside, 1.0 - self.settings.false_alarm_rate)
        if live_time_s is not None:
            rate = self._rate_verdict(total, best, live_time_s)
            if rate is not None:
                return Classification(ILL, sure, "low_counts" if rate < 0 else "ill")
        if total == 0:
            return Classification(ILL, outside, "low_counts")
        if suspect:
            verdict, parts = self._verdicts.explain(bins, total, best)
            if verdict == "mixed" and probability < self.settings.confidence:
                return Classification(
                    ILL, probability, "low_counts"
                )  # of either, or of both: too few to tell
            if verdict == "mixed":
                return Classification(int(parts[:-1].argmax()) + 1, probability, "mixed")
            if verdict != "ok":
                return Classification(ILL, sure, "ill" if verdict == "ill" else "unknown")
        if probability >= self.settings.confidence:
            return Classification(best + 1, probability, "ok")
        return Classification(ILL, probability, "low_counts")

    def _rate_verdict(self, total: float, best: int, live_time_s: float) -> int | None:
        """-1 or 1 if there are far too few or too many counts for this live time, else None."""
        rate, spread = self.templates.rate[best]
        if not (rate > 0 and live_time_s > 0):
            return None
        expected = rate * live_time_s
        limit = float(norm.isf(0.5 * self.settings.false_alarm_rate))
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
        suspect = np.empty(len(x), np.bool_)
        for start in range(0, len(x), 32):
            part = slice(start, start + 32)
            block = np.ascontiguousarray(x[part], dtype=np.float64)
            _judge_batch(block, self._starts, *self._model, best[part], probability[part], suspect[part])
        labels = (best + 1).astype(np.uint8)
        verdicts = np.full(len(x), "ok", dtype="<U10")
        for i in np.flatnonzero(suspect | ~(probability >= self.settings.confidence)):
            labels[i], probability[i], verdicts[i] = self.classify(x[i])
        return labels, probability, verdicts

    def posterior(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Posterior of each phase and, last, of none of them: (L + 1,) for one spectrum (n_channels,)."""
        total = self._binned(counts)
        self._judged(self._bins, total)
        return self._posterior.copy()

    def evidence(self, counts: NDArray[Any]) -> tuple[float, int, float, bool, NDArray[np.float64]]:
        """All that a sequential test needs of one spectrum, at the price of one look.

        Returns
        -------
        total, best, probability, suspect, posterior
            Sum of the counts, index of the best phase, its posterior, whether the fit is in doubt, and the
            posterior of each phase and, last, of none.
        """
        total = self._binned(counts)
        best, probability, suspect = self._judged(self._bins, total)
        return total, best, probability, suspect, self._posterior

    def draw_posteriors(
        self, phase: int, counts: int, n: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Posteriors (n, L + 1) of `n` spectra of `counts` counts drawn from the phase of that index."""
        out = np.empty((n, len(self.phases) + 1))
        for i, bins in enumerate(rng.multinomial(counts, self.templates.shape[phase], size=n)):
            self._judged(bins.astype(np.float64), float(counts))
            out[i] = self._posterior
        return out

    def parts(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Abundances of the phases and, last, of a flat spectrum, (L + 1,), as parts of the counts."""
        if self._binned(counts) == 0:
            raise DataError("spectrum: holds no counts")
        return self._verdicts.parts(self._bins)

    # ---- keeping it

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return dict(vars(self.templates))

    def _description(self) -> dict[str, Any]:
        return {"phases": list(self.phases), "axis": self.axis.to_json(), "settings": asdict(self.settings)}

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that its answers depend on."""
        return model_sha256(self.kind, self._arrays(), self._description())

    def save(self, path: str | Path) -> None:
        """Write it to one file (safetensors with JSON in the header); `spectra.load_classifier` reads it."""
        write_model(path, self.kind, self.version, self._arrays(), self._description())

    @classmethod
    def load(cls, path: str | Path) -> PhaseClassifier:
        """Read what `save` wrote; ModelFileError naming the file and what is wrong with it."""
        kind, version, arrays, description = read_model(path)
        if kind != cls.kind:
            raise ModelFileError(f"{path}: holds a classifier of kind {kind!r}, not {cls.kind!r}")
        if version > cls.version:
            raise ModelFileError(f"{path}: format {version} is newer than this program ({cls.version})")
        try:
            return cls(
                tuple(description["phases"]),
                EnergyAxis.from_json(description["axis"]),
                Templates(**arrays),
                ClassifierSettings(**description["settings"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: field {error} is missing or wrong") from error
