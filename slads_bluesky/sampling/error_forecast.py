"""The forecast of how much of a map is still wrong: a number and an interval, from similar calibration runs.

The pixel error, the probability that the map is wrong at a pixel (`slads.pixel_error`), summed over the unmeasured
pixels of the map, is a first guess S of the number W of wrong pixels. How far off such a guess is depends on the
specimen: on one unlike those of the training, features that no sample hit stay unseen. So training keeps, from
calibration runs on images of many kinds, the state of the run and how W compared with S; the forecast is made from
the nearest neighbours of a state, at most two of a run:

* what was found at the pixels chosen lately, against their pixel error: each measurement is a test of the
  prediction made for it;
* the same at all chosen pixels whose neighbours agreed, where only the unforeseen can be found;
* how much of S lies where the neighbours agree, S against the number measured, and the part of the map where
  the neighbours agree.

log((W + 2) / (S + 2)) is taken as normal with the weighted mean and spread of those states, widened by their
effective number, by the chance of small counts, and by `FLOOR`, under which no two specimens are alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Forecast", "Record", "covariates", "forecast"]

N_COVARIATES = 5
NEAREST = 24
PER_RUN = 2
BANDWIDTH = 0.7
FLOOR = 0.15


class Record(NamedTuple):
    """What was found at the pixels chosen so far, in their order, those of the initial mask left out."""

    pixel_error: NDArray[np.float32]
    """(n,): probability, before it was measured, that the map was wrong there."""
    agreed: NDArray[np.bool_]
    """(n,): whether all neighbours agreed."""
    missed: NDArray[np.bool_]
    """(n,): whether the map was wrong there."""


class Forecast(NamedTuple):
    """A distribution of the number of wrong pixels W: log((W + 2) / (guess + 2)) normal."""

    guess: float
    mean: float
    spread: float

    def quantile(self, probability: float) -> float:
        """Return the number of wrong pixels below which W lies with `probability`; 0 at least."""
        from scipy.special import ndtri

        exponent = self.mean + self.spread * float(ndtri(probability))
        return max(0.0, (self.guess + 2.0) * float(np.exp(min(50.0, exponent))) - 2.0)


def covariates(
    record: Record, n_measured: int, total: float, agreed: float, n_total: int, n_agreed: int
) -> NDArray[np.float64]:
    """Return the state of a run, (5,).

    Parameters
    ----------
    record : Record
        What was found so far.
    n_measured : int
        Pixels measured, the initial mask and unclassified ones included.
    total, agreed, n_total, n_agreed
        As `slads.pixel_error.map_pixel_error` returns them.
    """
    n = record.pixel_error.size
    late = slice(max(0, n - max(64, n // 10)), n)
    missed, error, among = record.missed, record.pixel_error, record.agreed
    return np.array(
        [
            np.log((missed[late].sum() + 2.0) / (error[late].sum(dtype=np.float64) + 2.0)),
            np.log((missed[among].sum() + 2.0) / (error[among].sum(dtype=np.float64) + 2.0)),
            np.log((agreed + 2.0) / (total + 2.0)),
            np.log((total + 2.0) / max(1, n_measured)),
            np.log(n_agreed / max(1, n_total) + 0.001),
        ]
    )


def forecast(
    state: NDArray[np.float64], guess: float, calibration_runs: NDArray[np.float64], floor: float = FLOOR
) -> Forecast:
    """Forecast the number of wrong pixels of a state from its nearest neighbours in the calibration runs.

    Parameters
    ----------
    state : (5,) float64 array
        `covariates`.
    guess : float
        Risk summed over the map, in pixels.
    calibration_runs : (m, 7) float64 array
        States of calibration runs: 5 covariates, log((W + 2) / (S + 2)), number of the run.
    floor : float
        Least spread of log((W + 2) / (S + 2)).
    """
    known, found = calibration_runs[:, :N_COVARIATES], calibration_runs[:, N_COVARIATES]
    runs = calibration_runs[:, -1]
    distance = np.sqrt((((known - state) / (known.std(axis=0) + 1e-9)) ** 2).sum(axis=1))
    taken: dict[float, int] = {}
    chosen: list[int] = []
    for i in np.argsort(distance, kind="stable"):
        run = float(runs[i])
        if taken.get(run, 0) < PER_RUN:
            taken[run] = taken.get(run, 0) + 1
            chosen.append(int(i))
            if len(chosen) == NEAREST:
                break
    near, values = distance[chosen], found[chosen]
    width = BANDWIDTH * near[min(7, near.size - 1)] + 1e-6
    weights = np.exp(-0.5 * (near / width) ** 2)
    weights /= weights.sum()
    mean = float(weights @ values)
    effective = float(1.0 / (weights @ weights))
    variance = float(weights @ (values - mean) ** 2) * (1.0 + 1.0 / effective)
    variance *= effective / max(1.0, effective - 1.0)
    expected = max(0.0, (guess + 2.0) * float(np.exp(mean)) - 2.0)
    spread = float(np.sqrt(variance + floor**2 + 1.0 / (expected + 2.0)))
    return Forecast(guess, mean, spread)
