"""How large the doses of standards were where their beam currents are nominal, from their spectra themselves.

A current that was set, not measured, drifts, and another setting has another scale. Two things of a standard's
spectrum are proportional to its dose and known from physics up to a factor that all standards share: its continuum,
whose model errs slowly with the mean atomic number, and its lines, whose cross-sections and yields are known to a
few per cent. The doses are those of the largest posterior probability of a linear Gaussian model of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .matrix import GENERATION_SD, relative_generation
from .standards import Standard

__all__ = ["settled_doses"]

DRIFT_SD = 0.03
"""Relative standard deviation of the dose of one spectrum, where the current is nominal."""
SETTING_SD = 0.1
"""And of the ratio of two settings of the current."""
CONTINUUM_SD = 0.02
"""Relative error of the model's continuum from material to material; NIST's standards, whose currents were measured,
scatter by 0.02."""
SLOPE_SD, BEND_SD, MIDDLE_Z = 0.03, 0.01, 15.0
"""Its change with ten units of mean atomic number, and with their square, from a mean atomic number on."""
LINE_SD = 0.01
"""Relative error of the matrix correction of one line."""
LEAST_KEV, LEAST_LINE_COUNTS = 1.0, 2e4
"""Lines below are left out: the detector's window makes more of a difference there."""
FREE = 10.0


@dataclass(frozen=True, eq=False)
class _Equations:
    """Rows of a linear model: coefficients, values and standard deviations."""

    rows: list[NDArray[np.float64]]
    values: list[float]
    sd: list[float]

    def add(self, row: NDArray[np.float64], value: float, sd: float) -> None:
        self.rows.append(row)
        self.values.append(value)
        self.sd.append(sd)


def settled_doses(standards: Sequence[Standard]) -> list[Standard]:
    """Return the standards with the doses that their spectra agree on; those with measured currents as they are.

    Only ratios of the doses are settled: their mean logarithm stays, and what it leaves open is `dose_scale_sd`.

    Parameters
    ----------
    standards : sequence of Standard

    Returns
    -------
    list of Standard
        `Conditions.dose_nc` and `Conditions.dose_sd` of the nominal ones are the posterior's.
    """
    nominal = np.array([s.conditions.dose_scale_sd > 0.0 for s in standards], bool)
    if not nominal.any() or len(standards) < 2:
        return list(standards)
    n = len(standards)
    families = sorted({family for s in standards for family, _ in _lines(s)})
    # order of the unknowns: level of continuum and lines, slope and bend, doses, factors of the families
    size = 4 + n + len(families)
    prior = (
        np.diag([FREE, FREE, SLOPE_SD, BEND_SD, *np.zeros(n), *(GENERATION_SD[f[1]] for f in families)]) ** 2
    )
    prior[4 : 4 + n, 4 : 4 + n] = _prior_of_doses(standards, nominal)
    equations = _Equations([], [], [])
    for k, standard in enumerate(standards):
        row = np.zeros(size)
        row[4 + k] = 1.0
        z = (standard.mean_z - MIDDLE_Z) / 10.0
        dose = standard.conditions.dose_nc
        if dose is not None and np.isfinite(standard.continuum):
            of = row.copy()
            of[[0, 2, 3]] = 1.0, z, z * z
            equations.add(of, float(np.log(standard.continuum / dose)), CONTINUUM_SD)
        for family, value in _lines(standard):
            of = row.copy()
            of[1] = of[4 + n + families.index(family)] = 1.0
            equations.add(of, float(np.log(value)), LINE_SD)
    if not equations.rows:
        return list(standards)
    x, y, sd = np.array(equations.rows), np.array(equations.values), np.array(equations.sd)
    middle = float(y.mean())  # the free levels are around it
    gain = np.linalg.solve(x @ prior @ x.T + np.diag(sd**2), x @ prior).T
    mean = gain @ (y - middle)
    covariance = prior - gain @ x @ prior
    others = np.eye(n) - 1.0 / n
    change = others @ mean[4 : 4 + n]
    left = np.sqrt(np.maximum(np.diag(others @ covariance[4 : 4 + n, 4 : 4 + n] @ others.T), 0.0))
    out = []
    for k, standard in enumerate(standards):
        dose = standard.conditions.dose_nc
        if nominal[k] and dose is not None:
            of_dose = float(dose * np.exp(change[k]))
            standard = replace(
                standard, conditions=replace(standard.conditions, dose_nc=of_dose, dose_sd=float(left[k]))
            )
        out.append(standard)
    return out


def _prior_of_doses(standards: Sequence[Standard], nominal: NDArray[np.bool_]) -> NDArray[np.float64]:
    own = [DRIFT_SD if known else s.conditions.dose_sd for s, known in zip(standards, nominal, strict=True)]
    out = np.diag(np.square(own))
    for i, one in enumerate(standards):
        for j, two in enumerate(standards):
            same = one.conditions.current_na == two.conditions.current_na
            if nominal[i] and nominal[j] and same:
                out[i, j] += SETTING_SD**2
    return np.asarray(out)


def _lines(standard: Standard) -> list[tuple[tuple[int, str], float]]:
    """Families of a standard that speak of its dose, and the amplitude of each per nC over what is expected."""
    fit, dose = standard.fit, standard.conditions.dose_nc
    if dose is None:
        return []
    return [
        (family, float(fit.amplitude[i]) / dose / relative_generation(family))
        for i, family in enumerate(fit.families)
        if family[1] == "K" and fit.main_kev[i] >= LEAST_KEV and fit.counts[i] >= LEAST_LINE_COUNTS
    ]
