"""A spectrum's composition: fit, standards or none, matrix correction, uncertainties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xraylib
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import Composition, atomic_number, symbol_of
from .doses import settled_doses
from .geometry import Conditions
from .identify import identify_elements
from .matrix import GENERATION_SD, intensities_at, model_systematics, relative_generation, systematic_of
from .oxides import OXYGEN, oxygen_per_mass, valences_of
from .result import ElementResult, Quantification
from .spectral_fit import SpectralFit, fit_spectrum
from .standards import Standard

__all__ = ["quantify"]

REFITS = 2
ITERATIONS = 60
TOLERANCE = 1e-6
LEAST_FRACTION = 1e-5
"""Mass fraction that an element has at least in the model, so that it has lines there."""
IGNORED_FRACTION = 1e-3
CORRELATED = 0.5
EDGE_KEV = 0.1
POOR_MISFIT = 3.0
SAME_BEAM = 0.02
"""Most that the beam energies of spectrum and standard may differ by, as a part of them."""
TOTAL_SD = 0.01
"""How sure it is that the elements asked for are all there is, where that is taken."""
BELIEVABLE = 3.0
"""Standard deviations by which the analytical total may differ from 1 for that to be taken."""
Family = tuple[int, str]


@dataclass(eq=False)
class _Chosen:
    """The family that stands for each element, its sensitivity, and where that comes from."""

    families: tuple[Family, ...]
    sensitivity: NDArray[np.float64]
    relative_sd: NDArray[np.float64]
    standards: list[Standard | None]


def quantify(
    counts: NDArray[np.floating] | NDArray[np.integer],
    axis: EnergyAxis,
    conditions: Conditions | None = None,
    *,
    elements: Sequence[str] | None = None,
    ignored: Sequence[str] | None = None,
    standards: Sequence[Standard] = (),
    oxygen: str = "measured",
    valences: Mapping[str, float] | None = None,
    lines: Mapping[str, str] | None = None,
    normalise: bool = False,
    complete: bool | None = None,
) -> Quantification:
    """Quantify one spectrum, or the sum of several.

    Parameters
    ----------
    counts : (n_channels,) array
    axis : EnergyAxis
    conditions : Conditions, optional
        Beam, geometry, dose and detector; default: those of the simulated detector at 15 kV.
    elements : sequence of str, optional
        Symbols; default: those whose lines are found (`identify_elements`).
    ignored : sequence of str, optional
        Elements whose lines are fitted but do not count, such as a coating's; default: carbon, if no elements are
        given.
    standards : sequence of Standard
        Without one, quantification is standardless and normalised.
    oxygen : {"measured", "stoichiometry"}
        Oxygen from its line, or from the other elements' valences.
    valences : mapping, optional
        Valences that differ from the usual ones: ``{"Fe": 3}``.
    lines : mapping, optional
        Line family to use: ``{"Ba": "L"}``.
    normalise : bool
        Whether the mass fractions are scaled to a sum of 1 where standards give an analytical total, too; the total
        is then that before.
    complete : bool, optional
        Whether the elements are all there is, so that their sum is 1 ± 0.01: evidence beside the dose of what the
        scale is. Default: only where a beam current is nominal.

    Returns
    -------
    Quantification

    Raises
    ------
    ConfigError, DataError
        Naming the element, line or value that cannot be.

    Examples
    --------
    >>> import numpy as np
    >>> from slads_bluesky.spectra.axis import EnergyAxis
    >>> from slads_bluesky.spectra.physics.spectrum import expected_counts
    >>> axis = EnergyAxis.phenom()
    >>> counts = np.random.default_rng(0).poisson(expected_counts("CaO", axis, total_counts=200_000))
    >>> found = quantify(counts, axis, elements=["O", "Ca"])
    >>> found.method, abs(found["Ca"].mass_fraction - 0.715) < 0.03
    ('standardless', True)
    """
    conditions = conditions if conditions is not None else Conditions()
    if oxygen not in ("measured", "stoichiometry"):
        raise ConfigError(f"oxygen must be 'measured' or 'stoichiometry', not {oxygen!r}")
    if elements is None:
        found = identify_elements(counts, axis, conditions)
        ignored = ["C"] if ignored is None and "C" in found and len(found) > 1 else ignored
        elements = [symbol for symbol in found if symbol not in (ignored or ())]
    asked = sorted({atomic_number(symbol) for symbol in elements})
    aside = sorted({atomic_number(symbol) for symbol in ignored or ()} - set(asked))
    by_valence = oxygen == "stoichiometry"
    measured = tuple(z for z in asked if not (by_valence and z == OXYGEN))
    if not measured:
        raise ConfigError("no element to quantify is given or found")
    oxide = valences_of(measured, valences) if by_valence else {}
    wanted_lines = {atomic_number(symbol): shell for symbol, shell in (lines or {}).items()}
    every = tuple(sorted({*measured, *aside, *([OXYGEN] if by_valence else [])}))
    shapes = {family: shape for s in standards for family, shape in s.fit.shapes.items()}
    for standard in standards:
        if abs(standard.conditions.beam_energy_kev / conditions.beam_energy_kev - 1.0) > SAME_BEAM:
            raise ConfigError(
                f"standard {standard.name}: measured at {standard.conditions.beam_energy_kev:g} keV, "
                f"the spectrum at {conditions.beam_energy_kev:g} keV"
            )
    standards = settled_doses(standards)
    fractions = _start(measured, oxide)
    fit: SpectralFit | None = None
    chosen: _Chosen | None = None
    for turn in range(REFITS + 1):
        material = _material(every, fractions, aside)
        fit = fit_spectrum(
            counts,
            axis,
            material,
            conditions,
            start=fit,
            rounds=4 if fit is None else 2,
            shapes=shapes,
            limits=turn == REFITS,
        )
        chosen = _choose(fit, measured, wanted_lines, standards, conditions)
        fractions = _solve(fit, material, chosen, measured, oxide, conditions)
    assert fit is not None
    assert chosen is not None
    return _result(fit, chosen, measured, fractions, oxide, conditions, normalise, complete)


def _start(measured: tuple[int, ...], oxide: Mapping[int, float]) -> dict[int, float]:
    out = {z: 1.0 / len(measured) for z in measured}
    if oxide:
        out[OXYGEN] = sum(oxygen_per_mass(z, oxide[z]) * out[z] for z in measured)
    return out


def _material(every: tuple[int, ...], fractions: Mapping[int, float], aside: Sequence[int]) -> Composition:
    values = {
        z: IGNORED_FRACTION
        if z in aside and z not in fractions
        else max(fractions.get(z, 0.0), LEAST_FRACTION)
        for z in every
    }
    total = sum(values.values())
    return Composition(every, tuple(values[z] / total for z in every))


def _choose(
    fit: SpectralFit,
    measured: tuple[int, ...],
    lines: Mapping[int, str],
    standards: Sequence[Standard],
    conditions: Conditions,
) -> _Chosen:
    """Choose for each element the family that is known best."""
    families: list[Family] = []
    sensitivity, relative, used = [], [], []
    variance = np.maximum(np.diag(fit.covariance), 1e-300)
    for z in measured:
        # an element has one amplitude: a line that stands out by chance is no better than one that is absent
        of = [i for i, family in enumerate(fit.families) if family[0] == z]
        common = float((fit.amplitude[of] / variance[of]).sum() / (1.0 / variance[of]).sum()) if of else 0.0
        best: tuple[float, Family, float, float, Standard | None] | None = None
        for i in of:
            family = fit.families[i]
            if lines.get(z, family[1]) != family[1]:
                continue
            if fit.main_kev[i] < conditions.lowest_kev((z,)) + EDGE_KEV and z not in lines:
                continue  # half of the line lies under the first channel of the fit
            overvoltage = conditions.beam_energy_kev / fit.edge_kev[i]
            size = max(common, 1e-3 * float(np.abs(fit.amplitude).max()), 1e-30)
            spread = float(np.sqrt(variance[i])) / size
            model = GENERATION_SD[family[1]] + (0.1 if overvoltage < 1.4 else 0.0)
            found: tuple[float, float] | None = None
            source: Standard | None = None
            for standard in standards:
                one = standard.sensitivity(family)
                if one is not None and (found is None or one[1] < found[1]):
                    found, source = one, standard
            score = math.hypot(spread, 0.3 * model if found is not None else model)
            if best is None or score < best[0]:
                s, sd = found if found is not None else (math.nan, 0.0)
                best = (score, family, s, sd, source)
        if best is None:
            shell = f" {lines[z]}" if z in lines else ""
            raise DataError(
                f"{symbol_of(z)}: no{shell} line between {conditions.lowest_kev((z,)):g} and "
                f"{conditions.beam_energy_kev:g} keV to quantify it by"
            )
        families.append(best[1])
        sensitivity.append(best[2])
        relative.append(best[3])
        used.append(best[4])
    values = np.array(sensitivity)
    known = np.isfinite(values)
    generation = np.array([relative_generation(family) for family in families])
    common = float(np.exp(np.log(values[known] / generation[known]).mean())) if known.any() else 1.0
    return _Chosen(tuple(families), np.where(known, values, common * generation), np.array(relative), used)


def _solve(
    fit: SpectralFit,
    material: Composition,
    chosen: _Chosen,
    measured: tuple[int, ...],
    oxide: Mapping[int, float],
    conditions: Conditions,
) -> dict[int, float]:
    """Mass fractions by fixed-point iteration of the matrix correction; normalised without an absolute scale."""
    at = dict(zip(material.z, material.mass_fraction, strict=True))
    index = [fit.families.index(family) for family in chosen.families]
    first = np.array([at[z] for z in measured])
    everything = np.array(material.mass_fraction)
    base = intensities_at(everything, material.z, conditions, chosen.families)
    # counts per unit sensitivity and dose that a unit of mass fraction would have to explain
    signal = fit.amplitude[index] * first * base / chosen.sensitivity
    absolute = conditions.dose_nc is not None and any(s is not None for s in chosen.standards)
    if absolute and conditions.dose_nc is not None:
        signal = signal / conditions.dose_nc
    values = everything.copy()
    position = [material.z.index(z) for z in measured]
    fractions: dict[int, float] = {}
    for _ in range(ITERATIONS):
        per_mass = intensities_at(values, material.z, conditions, chosen.families)
        raw = signal / per_mass
        fractions = dict(zip(measured, map(float, raw), strict=True))
        if oxide:
            fractions[OXYGEN] = sum(
                oxygen_per_mass(z, oxide[z]) * max(fractions[z], 0.0) for z in measured
            ) + max(fractions.get(OXYGEN, 0.0), 0.0)
        scale = 1.0 if absolute else sum(max(f, 0.0) for f in fractions.values())
        fractions = {z: f / scale for z, f in fractions.items()}
        after = values.copy()
        for place, z in zip(position, measured, strict=True):
            after[place] = max(fractions[z], LEAST_FRACTION)
        if oxide:
            after[material.z.index(OXYGEN)] = max(fractions[OXYGEN], LEAST_FRACTION)
        after /= after.sum()
        change = float(np.abs(after - values).max())
        values = after
        if change < TOLERANCE:
            break
    return fractions


def _result(
    fit: SpectralFit,
    chosen: _Chosen,
    measured: tuple[int, ...],
    fractions: Mapping[int, float],
    oxide: Mapping[int, float],
    conditions: Conditions,
    normalise: bool,
    complete: bool | None,
) -> Quantification:
    symbols = tuple(sorted(fractions))
    size = np.array([max(fractions[z], LEAST_FRACTION) for z in symbols])
    total_mass = float(size.sum())
    material = Composition(symbols, tuple(float(s / total_mass) for s in size))
    absolute = conditions.dose_nc is not None and any(s is not None for s in chosen.standards)
    index = [fit.families.index(family) for family in chosen.families]
    here = model_systematics(material, conditions, chosen.families)
    there = {
        id(s): model_systematics(s.composition, s.conditions, s.fit.families) for s in chosen.standards if s
    }
    n = len(measured)
    amplitude = np.where(np.abs(fit.amplitude[index]) > 0, fit.amplitude[index], 1e-30)
    share = np.array([max(abs(fractions[z]), LEAST_FRACTION) for z in measured])
    per_amplitude = np.array([fractions[z] for z in measured]) / amplitude
    per_amplitude = np.where(per_amplitude > 0, per_amplitude, share / np.abs(amplitude))
    fitted = fit.covariance[np.ix_(index, index)] * np.outer(per_amplitude, per_amplitude)
    matrix_sd = np.array([
        systematic_of(
            family,
            float(fit.main_kev[i]),
            here,
            there[id(standard)] if standard is not None else None,
            conditions,
        )
        for family, i, standard in zip(chosen.families, index, chosen.standards, strict=True)
    ])  # fmt: skip
    matrix_sd = np.hypot(matrix_sd, chosen.relative_sd)
    if absolute:  # each standard's dose on its own, the spectrum's own dose in all elements alike
        theirs = [s.conditions.dose_sd if s is not None else 0.0 for s in chosen.standards]
        matrix_sd = np.hypot(matrix_sd, theirs)
    raw = fitted + np.diag((matrix_sd * share) ** 2)
    scale_sd = _scale_sd(chosen, conditions) if absolute else 0.0
    if absolute:
        raw += np.outer(share, share) * (conditions.dose_sd**2 + scale_sd**2)
    # oxygen by stoichiometry, then the normalisation: both linear in the other elements
    full = np.zeros((len(symbols), n))
    for j, z in enumerate(measured):
        full[symbols.index(z), j] = 1.0
        if oxide:
            full[symbols.index(OXYGEN), j] += oxygen_per_mass(z, oxide[z])
    values = np.array([fractions[z] for z in symbols])
    total, total_sd = None, None
    if absolute:
        total = float(values.sum())
        whole = full.sum(axis=0)
        total_sd = math.sqrt(max(float(whole @ raw @ whole), 0.0))
    divisor = 1.0
    if not absolute or normalise:
        divisor = float(np.maximum(values, 0.0).sum())
        values = values / divisor
        full = (full - np.outer(values, full.sum(axis=0))) / divisor
    covariance = full @ raw @ full.T
    wanted = scale_sd > 0.0 if complete is None else complete
    assumed = wanted and not normalise and _whole(total, total_sd)
    if assumed:
        before = float(values.sum())
        values, covariance = _summing_to_one(values, covariance)
        divisor = before / float(values.sum())
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    moles = np.array(
        [max(v, 0.0) / float(xraylib.AtomicWeight(z)) for z, v in zip(symbols, values, strict=True)]
    )
    results = []
    for k, z in enumerate(symbols):
        if z not in measured:
            results.append(
                ElementResult(
                    symbol_of(z),
                    "stoichiometry",
                    "stoichiometry",
                    "",
                    float(values[k]),
                    float(sd[k]),
                    float(moles[k] / moles.sum()),
                    math.nan,
                    0.0,
                    math.nan,
                    0.0,
                    0.0,
                    0.0,
                )
            )
            continue
        j = measured.index(z)
        i = index[j]
        standard = chosen.standards[j]
        relative = math.sqrt(max(float(fitted[j, j]), 0.0)) / share[j]
        counting = float(fit.counting_sd[i]) * per_amplitude[j] / share[j]
        others = [
            f"{symbol_of(fit.families[m][0])} {fit.families[m][1]}"
            for m in np.flatnonzero(np.abs(fit.overlap[i]) > CORRELATED)
            if m != i
        ]
        limit = 3.29 * float(fit.blank_sd[i]) * per_amplitude[j] / divisor
        results.append(
            ElementResult(
                symbol_of(z),
                chosen.families[j][1],
                "standard" if standard is not None else "standardless",
                standard.name if standard is not None else "",
                max(float(values[k]), 0.0),
                float(sd[k]),
                float(moles[k] / moles.sum()),
                limit,
                float(fit.counts[i]),
                _k_ratio(fit, i, chosen, j, share[j], material, conditions),
                counting,
                math.sqrt(max(relative**2 - counting**2, 0.0)),
                float(matrix_sd[j]),
                tuple(others),
            )
        )
    with_standard = [s is not None for s in chosen.standards]
    method = "standards-based" if all(with_standard) else "mixed" if any(with_standard) else "standardless"
    return Quantification(
        tuple(results),
        covariance,
        method,
        total,
        total_sd,
        fit,
        _warnings(fit, results, total, total_sd, assumed=assumed),
        assumed,
    )


def _scale_sd(chosen: _Chosen, conditions: Conditions) -> float:
    """Relative standard deviation of the spectrum's scale of beam currents against the standards'."""
    theirs = [s.conditions.dose_scale_sd for s in chosen.standards if s is not None]
    return math.hypot(conditions.dose_scale_sd, max(theirs, default=0.0))


def _whole(total: float | None, total_sd: float | None) -> bool:
    """Whether the mass fractions may be all there is, as far as the dose says."""
    return (
        total is not None
        and total_sd is not None
        and abs(total - 1.0) < BELIEVABLE * math.hypot(total_sd, TOTAL_SD)
    )


def _summing_to_one(
    values: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mass fractions and their covariance, given that they sum to 1 ± `TOTAL_SD`.

    The dose's part of the covariance takes up most of the difference; the rest goes to what is known worst.
    """
    of_sum = covariance.sum(axis=1)
    gain = of_sum / (float(of_sum.sum()) + TOTAL_SD**2)
    return values + gain * (1.0 - float(values.sum())), covariance - np.outer(gain, of_sum)


def _k_ratio(
    fit: SpectralFit,
    i: int,
    chosen: _Chosen,
    j: int,
    fraction: float,
    material: Composition,
    conditions: Conditions,
) -> float:
    """Intensity over the standard's per dose, or over the pure element's by the model."""
    standard = chosen.standards[j]
    if standard is not None and conditions.dose_nc is not None and standard.conditions.dose_nc is not None:
        there = standard.fit.counts[standard.fit.families.index(chosen.families[j])]
        return float(fit.counts[i] / conditions.dose_nc / (there / standard.conditions.dose_nc))
    one = (chosen.families[j],)
    here = intensities_at(np.array(material.mass_fraction), material.z, conditions, one)[0]
    pure = intensities_at(np.ones(1), (chosen.families[j][0],), conditions, one)[0]
    return float(fraction * here / pure)


def _warnings(
    fit: SpectralFit,
    results: Sequence[ElementResult],
    total: float | None,
    total_sd: float | None,
    *,
    assumed: bool,
) -> tuple[str, ...]:
    out = []
    for e in results:
        if e.overlaps and e.mass_fraction_sd > 0.1 * max(e.mass_fraction, 1e-9):
            out.append(f"{e.symbol} {e.line} overlaps with {', '.join(e.overlaps)}")
        if not e.detected:
            out.append(f"{e.symbol} is below its detection limit of {100 * e.detection_limit:.2g} % by mass")
    if fit.misfit > POOR_MISFIT:
        out.append(
            f"the model fits poorly: misfit {fit.misfit:.1f} with an error of 1 % in each channel; "
            "an element may be missing, or the detector differ from its description"
        )
    if assumed and total is not None:
        out.append(
            f"the sum of the mass fractions is taken as 100 ± {100 * TOTAL_SD:g} %; by the dose it is "
            f"{100 * total:.1f} ± {100 * (total_sd or 0.0):.1f} %"
        )
    elif total is not None and total_sd is not None and abs(total - 1.0) > 3.0 * max(total_sd, 0.01):
        out.append(f"the analytical total is {100 * total:.1f} %: dose, tilt, coating or a missing element")
    return tuple(out)
