"""What may differ between a real spectrum and the template of its phase, as directions with priors.

A template from a composition rests on a model of the sample and of the detector; one from measured spectra on a
few of them. Directions of change are given to each phase: energy scale (gain, offset), line width, the strength of
each line family (K, L, M of an element), strength and slope of the continuum, low-energy efficiency, pile-up, a
low-energy background (incomplete charge collection), and the lines of carbon and oxygen that contamination and native
oxide add. `marginal` fits them within bounds and integrates them out.

Priors are standard deviations, wide where only a composition is known (`COMPUTED`), narrow or learnt where spectra
were measured (`MEASURED`). The widths of `COMPUTED` were chosen so that the standards of several instruments (NIST's,
two of Bruker, EDAX) lie within about two of them; they are no measurement of any one detector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from ..axis import EnergyAxis
from ..physics.composition import Composition
from ..physics.detector import Detector
from ..physics.spectrum import family_photons
from .kernel import binned
from .templates import shift_shape

__all__ = [
    "COMPUTED",
    "MEASURED",
    "Direction",
    "Family",
    "Nuisance",
    "NuisancePriors",
    "build_nuisance",
    "join_nuisances",
    "library_families",
    "responded",
    "typical_response",
]

Wide = tuple[float, float, float]
"""Standard deviation and bounds of an amplitude under another composition."""
CARBON, OXYGEN = 6, 8
CONTAMINANTS = (CARBON, OXYGEN)
BROADENING_KEV2 = 2e-4
"""Variance that one unit of the width direction adds to every line: a FWHM of 126 eV at Mn Kα becomes 130 eV."""
LOW_TAIL_KEV = 0.3
SHOULDER_KEV = 0.12
LOST_CARBON_KEV = 0.025
"""How far the carbon line of real detectors may lie too low; two profiles make every place between."""
SOFT_KEV = 0.35
PARTIAL = (0.2, 0.4, 0.6, 0.8, 1.0)
NOTICED_KEV = 0.4
"""Pulses of so few keV escape the pile-up inspector in half of all cases or so."""
EFFICIENCY_KEV = 0.35


@dataclass(frozen=True)
class NuisancePriors:
    """Prior standard deviations.

    Parameters
    ----------
    gain, offset_kev : float
        Of the energy scale: relative, and in keV.
    line : float
        Relative, of K lines above 1 keV; softer lines, L and M families have multiples of it (`line_sd`).
    continuum, slope, low : float
        Relative: of the continuum, of its slope per factor e in energy, of what it is under `EFFICIENCY_KEV`.
    carbon, soft_carbon, oxygen, tail, pile_up : float
        Part of the counts; `soft_carbon` is the carbon line at the energy where detectors that lose charge show it.
    width : float
        In units of `BROADENING_KEV2`.
    shoulder : float
        Part of the counts of every line that lies below it (incomplete charge collection).
    soft_shift : float
        Shift of lines under about 1 keV, in keV at 0.5 keV: charge lost near the entrance.
    """

    gain: float
    offset_kev: float
    line: float
    continuum: float
    slope: float
    low: float
    carbon: float
    oxygen: float
    tail: float
    pile_up: float
    width: float
    shoulder: float
    soft_shift: float
    soft_carbon: float


COMPUTED = NuisancePriors(2e-3, 4e-3, 0.08, 0.35, 0.15, 0.8, 0.06, 0.015, 0.01, 0.03, 1.0, 0.02, 0.006, 0.06)
MEASURED = NuisancePriors(
    3e-4, 1e-3, 0.01, 0.01, 0.01, 0.03, 0.005, 0.002, 1e-3, 1e-3, 0.05, 2e-3, 5e-4, 0.005
)
TYPICAL = {"shoulder": 1.0, "soft_shift": 1.0}
"""Of a detector that nobody has calibrated: what NIST's standards and those of two Bruker detectors show alike.

One without charge losses is one standard deviation off."""
RESPONSE = ("shoulder", "soft_shift")
"""Nuisances that change where every photon is counted: in lines, continuum and contamination alike."""
_SOFT = {"K": ((0.35, 4.0), (1.0, 2.5)), "L": ((0.35, 5.0), (1.0, 3.0), (99.0, 2.0)), "M": ((99.0, 3.0),)}
MOST_LOST = 0.6
"""Part of a line family's strength that an error of the template can take: an element does not vanish."""
WIDER = 4.0
LEAST_WIDER = 0.5
"""Another composition: line strengths that differ by so many standard deviations, and by this part at least."""


@dataclass(frozen=True)
class Family:
    """Lines of one shell of one element in a template: parts of the counts in bins, (n_bins,).

    `share`: its part of all line counts of the pure element.
    """

    z: int
    shell: str
    counts: NDArray[np.float64]
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Direction:
    """One way in which a shape may change.

    Parameters
    ----------
    name : str
        Field of `NuisancePriors`; ``line`` for a line family.
    change : (n_bins,) float64
        What one standard deviation adds to the shape.
    low, high : float
        Bounds of its amplitude, in standard deviations.
    wide : tuple of float
        Standard deviation and bounds under another composition.
    """

    name: str
    change: NDArray[np.float64]
    low: float
    high: float
    wide: Wide


@dataclass(frozen=True, eq=False)
class Nuisance:
    """Directions of all phases, padded with zeros to the same number K.

    Parameters
    ----------
    directions : (L, K, n_bins) float64
        What one standard deviation adds to the shape, before it is scaled to a sum of 1 again.
    low, high : (L, K) float64
        Bounds of the amplitudes, in standard deviations.
    wider : (L, K) float64
        Standard deviation under "another composition", in those of the phase itself; 1 for all but line families.
    wide_low, wide_high : (L, K) float64
        Bounds under "another composition".
    """

    directions: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    wider: NDArray[np.float64]
    wide_low: NDArray[np.float64]
    wide_high: NDArray[np.float64]


def line_sd(shell: str, energy_kev: float, line: float) -> float:
    """Relative standard deviation of a family's strength, from that of hard K lines."""
    for limit, factor in _SOFT[shell]:
        if energy_kev < limit:
            return factor * line
    return line


@lru_cache(maxsize=4)
def _library(
    key: tuple[float, float, int],
    starts: bytes,
    beam_energy_kev: float,
    takeoff_deg: float,
    detector: Detector,
) -> tuple[Family, ...]:
    from .library import LIBRARY_Z

    axis = EnergyAxis(*key)
    edges = np.frombuffer(starts, dtype=np.int32)
    response = detector.response(axis)
    out = []
    for z in LIBRARY_Z:
        found = family_photons(Composition((z,), (1.0,)), response.shape[1], beam_energy_kev, takeoff_deg)
        rows = {shell: binned(response @ photons, edges) for (_, shell), photons in found.items()}
        whole = sum(float(row.sum()) for row in rows.values())
        for shell, row in rows.items():
            if row.sum() > 0.0:
                out.append(Family(z, shell, row / row.sum(), float(row.sum()) / whole))
    return tuple(out)


def library_families(
    axis: EnergyAxis,
    starts: NDArray[np.int32],
    beam_energy_kev: float,
    takeoff_deg: float,
    detector: Detector,
) -> tuple[Family, ...]:
    """Line families of every solid element on its own, each of sum 1 in bins."""
    key = (axis.offset_kev, axis.width_kev, axis.n_channels)
    return _library(key, starts.tobytes(), beam_energy_kev, takeoff_deg, detector)


def _contaminant(library: tuple[Family, ...], z: int) -> NDArray[np.float64] | None:
    return next((f.counts for f in library if f.z == z and f.shell == "K"), None)


def _pile_up(shape: NDArray[np.float64], starts: NDArray[np.int32], axis: EnergyAxis) -> NDArray[np.float64]:
    """Change by two pulses at once: (n_bins,) of sum about 0.

    Half of the pairs appear at their sum; the others, in which a soft pulse came late and was not noticed, at the
    first energy plus a part of the second.
    """
    widths = np.diff(starts)
    channels = np.zeros(axis.n_channels)
    channels[starts[0] : starts[-1]] = np.repeat(shape / widths, widths)
    size = next_fast_len(2 * axis.n_channels)
    shift = round(axis.offset_kev / axis.width_kev)  # energies add; channel numbers add plus the offset's
    edges = axis.edges()
    late = channels * np.exp(-np.maximum(axis.energies(), 0.0) / NOTICED_KEV)
    pairs = irfft(rfft(channels, size) ** 2, size)
    second = np.zeros(axis.n_channels)
    for part in PARTIAL:
        second += np.diff(np.interp(edges / part, edges, np.concatenate([[0.0], np.cumsum(late)]))) / len(
            PARTIAL
        )
    partial = irfft(rfft(channels, size) * rfft(second / max(float(second.sum()), 1e-12), size), size)
    source = np.arange(axis.n_channels) - shift
    inside = (source >= 0) & (source < size)
    summed = np.zeros(axis.n_channels)
    summed[inside] = np.maximum(0.5 * (pairs + partial)[source[inside]], 0.0)
    return binned(summed, starts) - shape


def scale_directions(
    shape: NDArray[np.float64], starts: NDArray[np.int32], axis: EnergyAxis, priors: NuisancePriors
) -> list[NDArray[np.float64]]:
    """Changes (n_bins,) of a shape under one standard deviation of gain, of offset, and of the line widths."""

    def moved(gain: float, offset: float) -> NDArray[np.float64]:
        return shift_shape(shape, starts, axis, gain, offset)

    side = float(np.sqrt(3.0 * BROADENING_KEV2))  # weights 1/6, 2/3, 1/6 at −h, 0, h have a variance of h²/3
    return [
        0.5 * (moved(priors.gain, 0.0) - moved(-priors.gain, 0.0)),
        0.5 * (moved(0.0, priors.offset_kev) - moved(0.0, -priors.offset_kev)),
        priors.width * (moved(0.0, side) + moved(0.0, -side) - 2.0 * shape) / 6.0,
    ]


def _shoulder(shape: NDArray[np.float64], starts: NDArray[np.int32], axis: EnergyAxis) -> NDArray[np.float64]:
    """Shape (n_bins,) of counts that lost a part of their charge: exponential tails below, of `SHOULDER_KEV`."""
    edges = axis.offset_kev + axis.width_kev * (starts.astype(np.float64) - 0.5)
    middle = 0.5 * (edges[1:] + edges[:-1])
    survives = np.exp(np.minimum(edges[:, None] - middle[None, :], 0.0) / SHOULDER_KEV)
    out = np.diff(survives, axis=0) @ shape
    return np.asarray(out * (shape.sum() / max(float(out.sum()), 1e-12)))


def _soft_shift(
    shape: NDArray[np.float64], starts: NDArray[np.int32], axis: EnergyAxis, shift_kev: float
) -> NDArray[np.float64]:
    """Change of a shape whose energies E are E − `shift_kev` exp((0.5 keV − E) / `SOFT_KEV`)."""
    edges = axis.offset_kev + axis.width_kev * (starts.astype(np.float64) - 0.5)
    cumulative = np.concatenate([[0.0], np.cumsum(shape)])
    moved = edges - shift_kev * np.exp((0.5 - np.maximum(edges, 0.2)) / SOFT_KEV)
    return np.asarray(np.diff(np.interp(edges, moved, cumulative)) - shape)


def responded(
    shape: NDArray[np.float64], starts: NDArray[np.int32], axis: EnergyAxis, mean: Mapping[str, float]
) -> NDArray[np.float64]:
    """Shape (n_bins,), or part of one, as a detector with these amplitudes of `RESPONSE` shows it."""
    lost = mean.get("shoulder", 0.0) * COMPUTED.shoulder * (_shoulder(shape, starts, axis) - shape)
    moved = _soft_shift(shape, starts, axis, mean.get("soft_shift", 0.0) * COMPUTED.soft_shift)
    return np.asarray(np.maximum(shape + lost + moved, 1e-3 * shape))


def typical_response(
    shape: NDArray[np.float64], starts: NDArray[np.int32], axis: EnergyAxis
) -> NDArray[np.float64]:
    """Shape (n_bins,) of sum 1 with the charge losses of `TYPICAL`."""
    out = responded(shape, starts, axis, TYPICAL)
    return np.asarray(out / out.sum())


def phase_directions(
    shape: NDArray[np.float64],
    families: list[Family],
    family_sd: list[float],
    library: tuple[Family, ...],
    starts: NDArray[np.int32],
    axis: EnergyAxis,
    priors: NuisancePriors,
    present: Mapping[str, float] | None = None,
) -> list[Direction]:
    """Directions of one phase.

    Parameters
    ----------
    shape : (n_bins,) float64
    families, family_sd : list
        Line families in the shape, and the relative standard deviation of each.
    library : tuple of Family
    starts : (n_bins + 1,) int32
    axis : EnergyAxis
    priors : NuisancePriors
    present : mapping, optional
        Standard deviations of a one-sided nuisance that the shape holds already, and that may be taken away.
    """
    held = present if present is not None else {}
    energies = axis.offset_kev + axis.width_kev * (0.5 * (starts[:-1] + starts[1:] - 1))
    energies = np.maximum(energies, 0.05)
    out: list[Direction] = []

    def put(
        name: str, change: NDArray[np.float64], low: float = -4.0, high: float = 4.0, wide: Wide | None = None
    ) -> None:
        # centred: else less of everything would double what the other amplitudes do, at half their price
        change = change - change.sum() * shape
        if np.abs(change).sum() > 1e-5:
            out.append(Direction(name, change, low, high, wide if wide is not None else (1.0, low, high)))

    gain, offset, width = scale_directions(shape, starts, axis, priors)
    put("gain", gain)
    put("offset", offset)
    put("width", width, max(-4.0, -1.0 / priors.width), 5.0)
    lines = np.zeros(len(shape))
    for family, sd in zip(families, family_sd, strict=True):
        lines += family.counts
        none_left, wider = -0.95 / sd, max(WIDER, LEAST_WIDER / sd)
        wide = (wider, none_left, 4.0 * wider)
        put("line", sd * family.counts, max(-4.0, -MOST_LOST / sd), 4.0, wide)
    rest = np.maximum(shape - lines, 0.0)
    put("continuum", priors.continuum * rest)
    put("slope", priors.slope * rest * np.log(energies / 2.0))
    put("low", priors.low * rest * np.exp(-energies / EFFICIENCY_KEV), max(-4.0, -0.9 / priors.low))
    least = -held.get("pile_up", 0.0) - 0.0017 / priors.pile_up
    put("pile_up", priors.pile_up * _pile_up(shape, starts, axis), max(-4.0, least), 6.0)
    shoulder = priors.shoulder * (_shoulder(shape, starts, axis) - shape)
    put("shoulder", shoulder, max(-4.0, -held.get("shoulder", 0.0)), 6.0)
    soft = [_soft_shift(shape, starts, axis, sign * priors.soft_shift) for sign in (1.0, -1.0)]
    put("soft_shift", 0.5 * (soft[0] - soft[1]))
    tail = np.exp(-energies / LOW_TAIL_KEV) * np.diff(starts)
    put("tail", priors.tail * tail / tail.sum(), max(-4.0, -held.get("tail", 0.0)), 6.0)
    carbon, oxygen = (_contaminant(library, z) for z in (CARBON, OXYGEN))
    lower = None if carbon is None else shift_shape(carbon, starts, axis, 0.0, -LOST_CARBON_KEV)
    for name, contaminant in (("carbon", carbon), ("soft_carbon", lower), ("oxygen", oxygen)):
        if contaminant is not None:
            put(name, getattr(priors, name) * contaminant, max(-4.0, -held.get(name, 0.0)), 6.0)
    return out


def build_nuisance(phases: list[list[Direction]], n_bins: int) -> Nuisance:
    """Put the phases' directions into arrays."""
    most = max(len(directions) for directions in phases)
    out = np.zeros((len(phases), most, n_bins))
    bounds = np.zeros((len(phases), most, 5))
    bounds[:, :, 2] = 1.0
    for i, directions in enumerate(phases):
        for k, direction in enumerate(directions):
            out[i, k] = direction.change
            bounds[i, k] = (direction.low, direction.high, *direction.wide)
    return Nuisance(out, *(np.ascontiguousarray(bounds[:, :, j]) for j in range(5)))


def join_nuisances(first: Nuisance, second: Nuisance) -> Nuisance:
    """Put the phases of two together, in their order; the smaller number of directions is padded."""
    most = max(first.low.shape[1], second.low.shape[1])

    def padded(array: NDArray[np.float64], value: float) -> NDArray[np.float64]:
        width = [(0, 0), (0, most - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
        return np.pad(array, width, constant_values=value)

    return Nuisance(
        *(
            np.concatenate([padded(a, float(name == "wider")), padded(b, float(name == "wider"))])
            for (name, a), b in zip(vars(first).items(), vars(second).values(), strict=True)
        )
    )
