"""One EDS reading, whatever made it: spectrum, times, and what the classifier says, under the keys of an Event.

The ophyd detector, the soft one and the vendor adapter all hold their last reading as an `EDSReading`, so that
the spectrum that is recorded is the very array that was classified.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, InstrumentError
from ..protocols import Classification, Classifier, HasMixture, Mixture, RateClassifier, StopRule
from .saturation import check_saturation

__all__ = [
    "BEAM_FIELDS",
    "PRESETS",
    "DetectorFacts",
    "EDSReading",
    "check_classifier",
    "check_presets",
    "data_key",
    "describe_eds",
    "judge",
    "look",
    "n_hypotheses",
    "n_parts",
    "parts",
    "weigh",
]

BEAM_FIELDS: dict[str, tuple[str, int]] = {
    "x": ("µm", 3),
    "y": ("µm", 3),
    "pixel_dose": ("nC", 4),
    "dose": ("nC", 3),
}
"""What a beam reads, with its unit and decimals."""

PRESETS = ("live_time", "real_time", "counts", "window", "classifier", "stop_rule", "abundances")
"""What the ``configure`` of a detector takes."""


@dataclass(frozen=True)
class DetectorFacts:
    """What no PV has of a detector and its spectra cannot be interpreted without; None where it is not known.

    Parameters
    ----------
    elevation_angle_deg : float, optional
        Between specimen and detector.
    energy_resolution_ev : float, optional
        At Mn Kα, FWHM.

    Raises
    ------
    ConfigError
        If one cannot be.
    """

    elevation_angle_deg: float | None = None
    energy_resolution_ev: float | None = None

    def __post_init__(self) -> None:
        angle, resolution = self.elevation_angle_deg, self.energy_resolution_ev
        if angle is not None and not 0 < angle <= 90:
            raise ConfigError(f"an elevation angle is above 0 and at most 90°, not {angle}")
        if resolution is not None and not 0 < resolution < 1000:
            raise ConfigError(f"a resolution at Mn Kα is above 0 and under 1000 eV, not {resolution}")

    def known(self) -> dict[str, tuple[float, str]]:
        """Value and unit of what is known, under the field's words for it."""
        values = {
            "elevation_angle": (self.elevation_angle_deg, "deg"),
            "energy_resolution": (self.energy_resolution_ev, "eV"),
        }
        return {key: (float(value), unit) for key, (value, unit) in values.items() if value is not None}

    def read(self, name: str) -> dict[str, dict[str, Any]]:
        """Read them, for the configuration of the detector `name`."""
        now = time.time()
        return {f"{name}_{key}": {"value": v, "timestamp": now} for key, (v, _) in self.known().items()}

    def describe(self, name: str) -> dict[str, dict[str, Any]]:
        """Describe the values of `read`."""
        return {
            f"{name}_{key}": data_key(f"PY:{name}.{key}", "number", "<f8", units=unit)
            for key, (_, unit) in self.known().items()
        }


@dataclass(frozen=True)
class EDSReading:
    """A spectrum with its times and its classification; InstrumentError where the detector was saturated."""

    counts: NDArray[np.int32]
    live_s: float
    real_s: float
    dead_percent: float
    judgement: Classification | None
    timestamp: float = field(default_factory=time.time)
    log_likelihood: NDArray[np.float64] | None = None
    """(L + 1,): see `weigh`."""
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        check_saturation(self.counts, self.live_s, self.real_s)

    def as_reading(self, name: str) -> dict[str, dict[str, Any]]:
        """Reading for an Event, keys ``{name}_spectrum`` and so on; see `describe_eds`."""
        values: dict[str, Any] = {
            "spectrum": self.counts,
            "live_time": self.live_s,
            "real_time": self.real_s,
            "dead_time": self.dead_percent,
            "counts": int(self.counts.sum()),
        }
        if self.judgement is not None:
            label, probability, verdict = self.judgement
            values.update(label=int(label), probability=float(probability), verdict=str(verdict))
        if self.log_likelihood is not None:
            values["log_likelihood"] = self.log_likelihood
        if self.mixture is not None:
            values.update(
                majority=int(self.mixture.majority),
                majority_probability=float(self.mixture.probability),
                abundances=self.mixture.abundances,
                abundance_sd=self.mixture.abundance_sd,
                unbounded=self.mixture.unbounded,
                unbounded_sd=self.mixture.unbounded_sd,
            )
        return {f"{name}_{key}": {"value": v, "timestamp": self.timestamp} for key, v in values.items()}


def data_key(
    source: str,
    dtype: str,
    numpy_dtype: str,
    *,
    shape: tuple[int, ...] = (),
    units: str = "",
    precision: int | None = None,
) -> dict[str, Any]:
    """One entry of ``describe()``."""
    key: dict[str, Any] = {"source": source, "dtype": dtype, "dtype_numpy": numpy_dtype, "shape": list(shape)}
    if units:
        key["units"] = units
    if precision is not None:
        key["precision"] = precision
    return key


def describe_eds(
    name: str, n_channels: int, source: str, *, classified: bool, hypotheses: int = 0, n_parts: int = 0
) -> dict[str, dict[str, Any]]:
    """Data keys of an `EDSReading` by a detector called `name` with `n_channels` channels.

    `hypotheses` is the length of its log-likelihoods (`n_hypotheses`), 0 where it has none; `n_parts` is the number
    of phases whose abundances are read, 0 where they are not.
    """

    def at(field_name: str) -> str:
        return f"{source}#{field_name}"

    keys = {
        "spectrum": data_key(at("spectrum"), "array", "<i4", shape=(n_channels,), units="counts"),
        "live_time": data_key(at("live_time"), "number", "<f8", units="s", precision=3),
        "real_time": data_key(at("real_time"), "number", "<f8", units="s", precision=3),
        "dead_time": data_key(at("dead_time"), "number", "<f8", units="%", precision=1),
        "counts": data_key(at("counts"), "integer", "<i8", units="counts"),
    }
    if classified:
        keys["label"] = data_key(at("label"), "integer", "<i8")
        keys["probability"] = data_key(at("probability"), "number", "<f8", precision=4)
        keys["verdict"] = data_key(at("verdict"), "string", "<U10")
    if hypotheses:
        keys["log_likelihood"] = data_key(at("log_likelihood"), "array", "<f8", shape=(hypotheses,))
    if n_parts:
        keys["majority"] = data_key(at("majority"), "integer", "<i8")
        keys["majority_probability"] = data_key(at("majority_probability"), "number", "<f8", precision=4)
        for key in ("abundances", "abundance_sd", "unbounded", "unbounded_sd"):
            keys[key] = data_key(at(key), "array", "<f8", shape=(n_parts,))
    return {f"{name}_{key}": value for key, value in keys.items()}


def judge(
    classifier: Classifier | None, counts: NDArray[np.int32], live_s: float | None = None
) -> Classification | None:
    """Classify a spectrum, by the rate of its counts as well where the classifier knows which to expect."""
    if classifier is None:
        return None
    if live_s is not None and getattr(classifier, "uses_live_time", False):
        return cast(RateClassifier, classifier).classify(counts, live_s)
    return classifier.classify(counts)


def weigh(classifier: Classifier | None, counts: NDArray[np.int32]) -> NDArray[np.float64] | None:
    """Log-likelihood of a spectrum under each phase and under none of them, (L + 1,); None of other classifiers."""
    weighs = getattr(
        classifier, "log_likelihoods", None
    )  # isinstance would look at every property, hashes too
    return None if weighs is None else cast("NDArray[np.float64]", weighs(counts))


def n_hypotheses(classifier: Classifier | None) -> int:
    """Return the length of what `weigh` returns, 0 for None."""
    if classifier is None or not hasattr(classifier, "log_likelihoods"):
        return 0
    return len(classifier.phases) + 1


def parts(classifier: Classifier | None, counts: NDArray[np.int32]) -> Mixture | None:
    """Abundances of the phases in a spectrum; None where the classifier gives none."""
    return classifier.mixture(counts) if isinstance(classifier, HasMixture) else None


def n_parts(classifier: Classifier | None, wanted: bool) -> int:
    """How many abundances a reading holds."""
    return len(classifier.phases) if wanted and isinstance(classifier, HasMixture) else 0


def look(rule: StopRule, counts: NDArray[np.int32], live_s: float, preset: int) -> Classification | None:
    """Let a stop rule look at a spectrum that was acquired up to a preset number of counts.

    If it was stopped short of the preset, its time was over: then there is no other look.
    """
    over = int(counts.sum()) < preset
    return rule.update(counts, max(live_s, rule.cap_s) if over else live_s)


def check_presets(name: str, values: Mapping[str, Any], known: Sequence[str] = PRESETS) -> None:
    """Refuse what a detector's ``configure`` does not take.

    Raises
    ------
    ConfigError
        Naming the detector and the preset.
    """
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"{name}: no such preset: {', '.join(unknown)}; there are {', '.join(known)}")
    if (
        values.get("abundances")
        and "classifier" in values
        and not isinstance(values["classifier"], HasMixture)
    ):
        raise ConfigError(f"{name}: abundances need a classifier that gives them, such as train: likelihood")
    for key in ("live_time", "real_time", "counts"):
        value = values.get(key, 0)
        if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= float(value) < math.inf):
            raise ConfigError(f"{name}: {key} is 0 (no limit) or more, not {value!r}")


def check_classifier(
    name: str, n_channels: int, offset_kev: float, width_kev: float, classifier: Classifier | None
) -> None:
    """Refuse a detector that does not fit its classifier, before any electron is spent.

    Parameters
    ----------
    name : str
        The detector, for the message.
    n_channels, offset_kev, width_kev : int, float, float
        Its channels and calibration: the middle of channel i is at ``offset_kev + i * width_kev``.
    classifier : Classifier, optional
        If it has an ``axis``, the calibrations are compared too: no channel may lie more than half a channel off.

    Raises
    ------
    InstrumentError
        With both values.
    """
    if not (width_kev > 0 and math.isfinite(offset_kev)):
        raise InstrumentError(
            f"{name}: energy calibration of {offset_kev} keV + i × {width_kev} keV cannot be"
        )
    if classifier is None:
        return
    if classifier.n_channels != n_channels:
        raise InstrumentError(
            f"{name}: spectra have {n_channels} channels, the classifier takes {classifier.n_channels}"
        )
    axis = getattr(classifier, "axis", None)
    if axis is None:
        return
    ends = [(offset_kev + i * width_kev, axis.offset_kev + i * axis.width_kev) for i in (0, n_channels - 1)]
    if any(abs(ours - theirs) > axis.width_kev / 2 for ours, theirs in ends):
        raise InstrumentError(
            f"{name}: energies of {offset_kev:.5g} keV + i × {width_kev:.5g} keV, "
            f"the classifier's are {axis.offset_kev:.5g} keV + i × {axis.width_kev:.5g} keV"
        )
