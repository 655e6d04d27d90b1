"""The seams of the system: what each part may expect of the others, by structure alone.

Nothing here is imported from the control stack or from the science; any object with these attributes fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .grid import ScanGrid

__all__ = [
    "UNCLASSIFIED",
    "UNMEASURED",
    "AgeingSpecimen",
    "Agent",
    "Beam",
    "Classification",
    "Classifier",
    "Detector",
    "Endmembers",
    "EventKeys",
    "Evidence",
    "HasLogLikelihoods",
    "HasMixture",
    "HasPosterior",
    "Mixture",
    "RateClassifier",
    "Sampler",
    "Specimen",
    "StopRule",
    "Suggestion",
    "TakesMixtures",
    "Verdict",
]

UNCLASSIFIED = 0
"""Label of a spectrum without a vote: too few counts, or no known phase; measured and recorded all the same."""

UNMEASURED = -1
"""What a map of measured labels (int16) holds where nothing was measured yet."""

Verdict = Literal["ok", "low_counts", "mixed", "unknown", "ill"]

Endmembers = Literal["always", "evident"]
"""Whether pure phases are corrected by whatever their samples say, or by what is evident."""


class Classification(NamedTuple):
    """What a classifier says of one spectrum."""

    label: int
    """Phase, 1 … L, or `UNCLASSIFIED`."""
    probability: float
    """Posterior probability of that label, 0 … 1."""
    verdict: Verdict


class Evidence(NamedTuple):
    """What one look at a spectrum yields: all that a sequential test needs."""

    total: float
    """Sum of the counts."""
    best: int
    """Index of the phase that fits best, from 0."""
    probability: float
    """Posterior of that phase."""
    flagged: bool
    """Whether its fit is worse than the false-alarm rate allows."""
    posterior: NDArray[np.float64]
    """(L + 1,): posterior of each phase and, last, of none of them."""


class Mixture(NamedTuple):
    """Which phase has the largest part of one spectrum, and how large the parts are."""

    majority: int
    """Phase with the largest part, 1 … L."""
    probability: float
    """Posterior probability that it has."""
    abundances: NDArray[np.float64]
    """(L,): expected part of each phase in the interaction volume; sums to 1."""
    abundance_sd: NDArray[np.float64]
    """(L,): standard deviation of each part."""
    pure: float
    """Posterior probability that the spectrum is of one phase only."""
    far_wrong: float
    """Probability that the part of `majority` is under 0.4: near one half the label hardly matters."""
    unbounded: NDArray[np.float64]
    """(L,): parts by the counts alone, without a prior; they sum to 1 and may be negative or over 1. Spectra are
    averaged by these, not by the expected parts."""
    unbounded_sd: NDArray[np.float64]
    """(L,): their standard deviations."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A pixel to measure next."""

    pixel: int
    """Flat index (C order) into the grid."""
    erd: float
    """Expected reduction in distortion, in pixels of the map; NaN for pixels of the initial mask."""
    counts: int = 0
    """Counts that its spectrum should have, for a detector whose dwell adapts; 0: until its phase is certain."""
    visit: int = 0
    """How often it was visited before."""
    prior: tuple[float, ...] = ()
    """Probability of each phase by all that is known of the map; empty where no sampler of evidence chose it."""


@dataclass(frozen=True, slots=True)
class EventKeys:
    """Data keys under which an Event of the stream ``primary`` holds what an agent needs."""

    pixel: str = "scan_pixel"
    erd: str = "scan_erd"
    label: str = "eds_label"
    probability: str = "eds_probability"
    verdict: str = "eds_verdict"
    spectrum: str = "eds_spectrum"
    counts: str = "eds_counts"
    live_time: str = "eds_live_time"
    real_time: str = "eds_real_time"
    dose: str = "beam_pixel_dose"
    log_likelihood: str = "eds_log_likelihood"
    visit: str = "scan_visit"
    majority: str = "eds_majority"
    abundances: str = "eds_abundances"
    abundance_sd: str = "eds_abundance_sd"
    unbounded: str = "eds_unbounded"
    unbounded_sd: str = "eds_unbounded_sd"
    image: str = "bse_image"
    """Of the stream ``image``: a grey-level frame of the field, on the grid of the map."""


@runtime_checkable
class Sampler(Protocol):
    """Decides where to measure next, from labels alone."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def n_measured(self) -> int:
        """Different pixels ingested so far, ill ones included."""

    @property
    def measured(self) -> NDArray[np.int16]:
        """(rows, columns): label of each measured pixel, 0 where ill, -1 where unmeasured; a copy."""

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Up to `n` pixels, none measured or masked; changes nothing; empty when none are left."""

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label; the same pixel and label twice change nothing, another label replaces."""

    def should_stop(self) -> bool:
        """Whether the stop rule holds; always True when no pixel is left."""

    def reconstruct(self) -> NDArray[np.uint8]:
        """(rows, columns): a label 1 … L for every pixel; measured pixels keep theirs, ill ones do not vote."""

    def distortion_estimate(self) -> float:
        """Estimate of the total distortion (Eq. 14 of the paper) of `reconstruct()`, NaN before there is one."""


@runtime_checkable
class TakesMixtures(Protocol):
    """A sampler whose samples may be mixtures."""

    def ingest_mixture(
        self,
        pixel: int,
        label: int,
        abundances: NDArray[np.float64],
        abundance_sd: NDArray[np.float64],
        *,
        unbounded: bool = False,
    ) -> None:
        """Take a measured label with the part of each phase, (L,), and their standard deviations.

        `unbounded` says that they are those of `Mixture.unbounded`.
        """

    def boundary_maps(self) -> dict[str, NDArray[Any]]:
        """Sharp labels, the probability that each is wrong (rows, columns), and area fractions (L, rows, columns).

        Under ``sharp``, ``sharp_uncertainty`` and ``area_fractions``.
        """


@runtime_checkable
class Classifier(Protocol):
    """Says which phase a spectrum is of."""

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases; label l is ``phases[l - 1]``."""

    @property
    def n_channels(self) -> int:
        """Length of the spectra that it takes."""

    @property
    def sha256(self) -> str:
        """Hash of everything that its answers depend on."""

    def classify(self, counts: NDArray[Any]) -> Classification:
        """Label, probability and verdict of one spectrum, (n_channels,) counts."""

    def classify_batch(
        self, counts: NDArray[Any]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.str_]]:
        """Labels, probabilities and verdicts of spectra (n, n_channels), in their order."""


@runtime_checkable
class RateClassifier(Classifier, Protocol):
    """A classifier that can look at the count rate as well: at half the dose a spectrum still has its shape."""

    @property
    def uses_live_time(self) -> bool:
        """Whether it does, that is, whether it knows which rates to expect."""

    def classify(self, counts: NDArray[Any], live_time_s: float | None = None) -> Classification:
        """As `Classifier.classify`; with the live time in s, the rate is checked too."""


@runtime_checkable
class HasPosterior(Classifier, Protocol):
    """A classifier whose posterior can stop an acquisition (`spectra.dwell`)."""

    def posterior(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Posterior of each phase and, last, of none of them: (L + 1,) for one spectrum (n_channels,)."""

    def evidence(self, counts: NDArray[Any]) -> Evidence:
        """Posterior of one spectrum (n_channels,) and what it rests on."""

    def draw_posteriors(
        self, phase: int, counts: int, n: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Posteriors (n, L + 1) of `n` spectra of `counts` counts drawn from the phase of that index."""


@runtime_checkable
class HasLogLikelihoods(Classifier, Protocol):
    """A classifier that says how well each phase explains a spectrum: what an Event records as evidence."""

    def log_likelihoods(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Log-likelihood of one spectrum under each phase and, last, under none of them: (L + 1,), the greatest 0."""


@runtime_checkable
class HasMixture(Protocol):
    """A classifier that gives abundances: mixtures of phases are hypotheses of its posterior."""

    def mixture(self, counts: NDArray[Any]) -> Mixture:
        """Largest part and abundances of one spectrum (n_channels,)."""


@runtime_checkable
class Agent(Protocol):
    """What the adaptive plan talks to; the words are those of bluesky-adaptive."""

    @property
    def grid(self) -> ScanGrid:
        """Where the pixels lie."""

    @property
    def keys(self) -> EventKeys:
        """Where in an Event it looks."""

    @property
    def n_measured(self) -> int:
        """Pixels ingested so far."""

    def suggest(self, n: int = 1) -> Sequence[Suggestion]:
        """Up to `n` pixels to measure next; pure, and cached until the next `ingest`."""

    def ingest(self, event: Mapping[str, Any]) -> None:
        """Take an Event document as it was emitted; the same pixel with the same label changes nothing."""

    def should_stop(self) -> bool:
        """Whether the map is done: the wanted fraction, the stop rule, or no pixel left."""

    @property
    def stop_reason(self) -> str:
        """Why `should_stop` holds, in a few words; empty while it does not."""

    def configuration(self) -> dict[str, Any]:
        """All that a replay needs, JSON only, for the start document."""

    def map_data(self) -> dict[str, Any]:
        """What the stream ``map`` records: reconstruction, measured labels, n, fraction, distortion estimate."""


@runtime_checkable
class Beam(Protocol):
    """A beam that a plan can drive: ``set((x, y))`` in µm moves it blanked; readable, with a blanker.

    What more a beam may have, and a plan uses where it is there: ``check_value((x, y))``, ``current`` (a Readable,
    nA), ``position_tolerance_um``.
    """

    @property
    def name(self) -> str:
        """Prefix of its data keys; ``{name}_x`` and ``{name}_y`` are its position in µm."""

    @property
    def blanker(self) -> Any:
        """A movable: ``set(True)`` blanks, ``set(False)`` unblanks."""

    def set(self, value: Any) -> Any:
        """Move to (x, y) µm, blanked, and return a status."""

    def read(self) -> Any:
        """Read the position and the dose."""

    def describe(self) -> Any:
        """Describe the values of `read`."""


@runtime_checkable
class Detector(Protocol):
    """A detector whose ``trigger`` acquires (and classifies) and whose ``read`` gives what was acquired."""

    @property
    def name(self) -> str:
        """Prefix of its data keys."""

    def configure(self, values: Mapping[str, Any]) -> tuple[Any, Any]:
        """Set ``live_time``, ``real_time``, ``counts``, ``window``, ``classifier``, ``stop_rule`` or ``abundances``.

        Times are in s, the window is the first and the last channel whose counts count; with ``abundances``, readings
        hold the parts of the phases (`HasMixture`). What is set between
        ``stage`` and ``unstage`` is put back by ``unstage``.
        """

    def trigger(self) -> Any:
        """Acquire, and return a status that is done when everything that `read` gives is in hand."""

    def read(self) -> Any:
        """Read the last spectrum with its classification."""

    def describe(self) -> Any:
        """Describe the values of `read`."""


class StopRule(Protocol):
    """Decides, look by look, whether a spectrum has grown enough; `slads_bluesky.spectra.SequentialTest` is one."""

    cap_s: float
    """Live time after which there is no other look, s."""

    def reset(self) -> None:
        """Start another spectrum."""

    def update(self, counts: NDArray[Any], live_time_s: float) -> Classification | None:
        """Return the decision, or None: continue acquiring."""

    def next_counts(self) -> int:
        """How many more counts to acquire until the next look."""


class Specimen(Protocol):
    """What is under the simulated beam; `slads_bluesky.phantom.Phantom` is one."""

    @property
    def name(self) -> str:
        """Name of the simulated object."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def axis(self) -> Any:
        """Energy axis: ``offset_kev``, ``width_kev``, ``n_channels``."""

    @property
    def full_dwell_s(self) -> float:
        """Live time of a whole record, s."""

    def acquisition(self, pixel: int, visit: int = 0) -> Any:
        """Return a record that grows: ``counts_at(live_time_s)`` is (n_channels,) int32 and monotone."""


@runtime_checkable
class AgeingSpecimen(Protocol):
    """A specimen whose spectra change while it is mapped: its energy scale drifts."""

    def acquisition_at(self, pixel: int, visit: int, clock_s: float) -> Any:
        """Return what `Specimen.acquisition` does, begun after `clock_s` seconds of acquiring."""
