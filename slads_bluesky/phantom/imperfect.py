"""A simulated specimen whose boundaries are as an interaction volume makes them, with what else is not ideal.

A pixel's expected spectrum is Σ α_l E_l, the abundances α of its interaction volume times the expected spectra of the
phases (absorption included as for pure ones), times the count rate of its place. What is recorded is Poisson about
it, and about the carbon that the beam deposits meanwhile.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..spectra.axis import EnergyAxis
from ..spectra.physics.composition import Composition
from ..spectra.physics.spectrum import expected_counts
from .acquisition import Acquisition
from .brief import BriefSpectrum, pulse_channels, pulses
from .imperfections import Imperfections
from .interaction import mixed_abundances, specimen_sigma_um
from .recipes import RECIPES, Recipe, dose_nc
from .specimen import Phantom

__all__ = ["ImperfectPhantom", "make_imperfect", "sigma_px"]

CONTAMINATION_NC = 10.0
"""Dose at which `Imperfections.contamination` is stated, nC: the paper's dwell at 1 nA."""
CARBON_STREAM = 1 << 48
"""Streams of random numbers of the carbon's records lie beyond this one."""


class _Contaminated:
    """A record with the carbon that grows on the spot meanwhile: its layer grows with the dose."""

    def __init__(self, own: Acquisition, carbon: Acquisition, full_dwell_s: float, before_s: float) -> None:
        self._own, self._carbon = own, carbon
        self._full_s, self._before_s = full_dwell_s, before_s

    def counts_at(self, live_time_s: float) -> NDArray[np.int32]:
        """Counts recorded so far; see `Acquisition.counts_at`."""
        since = self._before_s + live_time_s
        whole = self._carbon.counts_at(since**2 / self._full_s)
        return (
            self._own.counts_at(live_time_s)
            + whole
            - self._carbon.counts_at(self._before_s**2 / self._full_s)
        )


@dataclass(frozen=True, eq=False)
class ImperfectPhantom(Phantom):
    """A simulated specimen with `Imperfections`; a pure function of its name, its seed and these."""

    imperfections: Imperfections
    interaction_px: float
    """Standard deviation of the interaction volume, pixels."""
    expected: NDArray[np.float64]
    """(2, L, M, channels): expected counts at the full dwell, at the left and at the right edge of the field."""
    carbon: NDArray[np.float64]
    """(channels,): expected carbon counts of a full dwell on a fresh spot."""
    rate: NDArray[np.float32]
    """(rows, columns): count rate relative to the mean."""
    mixture: NDArray[np.float32]
    """(L, rows, columns): abundances."""

    @property
    def abundances(self) -> NDArray[np.float32]:
        """(L, rows, columns): part of each phase in the interaction volume at each pixel."""
        return self.mixture

    @property
    def pitch_um(self) -> float:
        """Distance of neighbouring pixels, µm."""
        return self.imperfections.pitch_um or 1.0

    @property
    def beam_drift_um_per_s(self) -> tuple[float, float]:
        """How fast the beam drifts along x and y while acquiring, µm/s."""
        return self.imperfections.beam_drift_px_per_h * self.pitch_um / 3600.0, 0.0

    def expected_at(self, pixel: int, clock_s: float = 0.0) -> NDArray[np.float64]:
        """Expected counts of a pixel at the full dwell, carbon left out.

        Parameters
        ----------
        pixel : int
            Flat index.
        clock_s : float
            Time that was spent acquiring before, s: the energy scale drifts with it.

        Returns
        -------
        (channels,) float64
        """
        self._check(pixel)
        row, column = divmod(pixel, self.shape[1])
        right = column / max(self.shape[1] - 1, 1)
        choice = int(self.choice[row, column])
        parts = self.mixture[:, row, column].astype(np.float64)
        present = np.flatnonzero(parts > 1e-6)
        ends = np.einsum("l,elc->ec", parts[present], self.expected[:, present, choice])
        pure = (1.0 - right) * ends[0] + right * ends[1]
        drifted = _drifted(pure, self.axis, self.imperfections, clock_s)
        return float(self.rate[row, column]) * drifted + self.recipe.noise_rate

    def spectrum(self, pixel: int, visit: int = 0, clock_s: float = 0.0) -> NDArray[np.int32]:
        """Record a pixel at the full dwell, carbon left out; see `Phantom.spectrum`."""
        self._check(pixel)
        if self.labels.flat[pixel] == 0:
            return super().spectrum(pixel, visit)
        rng = self._generator(pixel, visit, 0)
        return rng.poisson(self.expected_at(pixel, clock_s)).astype(np.int32)

    def acquisition(self, pixel: int, visit: int = 0) -> Acquisition:
        """Return a record that grows, as begun on a fresh instrument; see `acquisition_at`."""
        return self.acquisition_at(pixel, visit, 0.0)  # type: ignore[return-value]

    def acquisition_at(self, pixel: int, visit: int, clock_s: float) -> Acquisition | _Contaminated:
        """Return a record that grows, begun after `clock_s` seconds of acquiring.

        Raises
        ------
        IndexError
            If the pixel lies outside the object.
        """
        self._check(pixel)
        own = Acquisition(
            full_dwell_s=self.full_dwell_s,
            record=lambda repeat: self.spectrum(pixel, visit + (repeat << 16), clock_s),
            generator=lambda repeat, node: self._generator(pixel, visit + (repeat << 16), 1 + node),
        )
        if not self.imperfections.contamination or self.labels.flat[pixel] == 0:
            return own
        carbon = float(self.rate.flat[pixel]) * self.carbon
        grown = Acquisition(
            full_dwell_s=self.full_dwell_s,
            record=lambda repeat: (
                self._generator(pixel, repeat, CARBON_STREAM).poisson(carbon).astype(np.int32)
            ),
            generator=lambda repeat, node: self._generator(pixel, repeat, CARBON_STREAM + 1 + node),
        )
        return _Contaminated(own, grown, self.full_dwell_s, visit * self.full_dwell_s)

    def brief(
        self, pixel: int, visit: int, real_s: float, busy_s: float = 0.0, rate: float = 1.0
    ) -> BriefSpectrum:
        """Record a pixel for a short real time; no carbon grows and no scale drifts in it. See `Phantom.brief`."""
        self._check(pixel)
        if self.labels.flat[pixel] == 0:
            return super().brief(pixel, visit, real_s, busy_s, rate)
        rng = self._generator(pixel, visit, 1 << 40)
        cumulative = np.cumsum(self.expected_at(pixel))
        n = pulses(rate * cumulative[-1] / self.full_dwell_s, real_s, busy_s, rng)
        return BriefSpectrum(pulse_channels(cumulative, n, rng), real_s - n * busy_s)

    @functools.cached_property
    def majority(self) -> NDArray[np.uint8]:
        """(rows, columns): the phase with the largest part; where two are as large, the sharp one."""
        best = self.mixture.argmax(axis=0).astype(np.uint8) + 1
        own = np.take_along_axis(self.mixture, self.truth[None].astype(np.intp) - 1, axis=0)[0]
        return np.where(own >= self.mixture.max(axis=0) - 1e-6, self.truth, best).astype(np.uint8)


def sigma_px(recipe: Recipe, imperfections: Imperfections) -> float:
    """Standard deviation of the interaction volume of a kind of object, pixels."""
    if imperfections.blur_px is not None:
        return float(imperfections.blur_px)
    if imperfections.pitch_um is None:
        return 0.0
    sigma_um = specimen_sigma_um(recipe.compositions, recipe.densities_g_cm3, recipe.beam_kev)
    return sigma_um / imperfections.pitch_um


def make_imperfect(phantom: Phantom, imperfections: Imperfections) -> Phantom:
    """Give a sharp specimen imperfections; the same specimen if there are none.

    Parameters
    ----------
    phantom : Phantom
    imperfections : Imperfections

    Returns
    -------
    Phantom
        With the same sharp phase map and the same ill pixels; pure spectra have the same law, not the same counts.
    """
    if not imperfections.any:
        return phantom
    kind = next(kind for kind, recipe in RECIPES.items() if phantom.recipe is recipe)
    entropy = [zlib.crc32(b"imperfections"), zlib.crc32(phantom.name.encode()), phantom.seed]
    rng = np.random.default_rng(entropy)
    recipe = replace(
        phantom.recipe, composition_spread=imperfections.scatter or phantom.recipe.composition_spread
    )
    sigma = sigma_px(phantom.recipe, imperfections)
    expected = _expected(kind, recipe, imperfections.gradient, rng)
    return ImperfectPhantom(
        phantom.name,
        phantom.seed,
        phantom.truth,
        phantom.labels,
        phantom.recipe,
        phantom.templates,
        phantom.choice,
        imperfections,
        sigma,
        expected,
        _carbon(recipe, imperfections.contamination),
        _patches(phantom.shape, imperfections, rng),
        mixed_abundances(phantom.truth, sigma, len(phantom.phases)),
    )


def _expected(kind: str, recipe: Recipe, gradient: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, L, M, channels): expected counts at both edges of the field."""
    out = np.empty((2, len(recipe.compositions), recipe.spectra_per_phase, recipe.axis.n_channels))
    graded = not gradient
    for phase, value in enumerate(recipe.compositions.values()):
        composition = Composition.parse(value)
        here = not graded and len(composition.symbols) > 1
        graded = graded or here
        for i in range(recipe.spectra_per_phase):
            spread = rng.normal(1.0, recipe.composition_spread, len(composition.symbols))
            dose = dose_nc(kind) * rng.normal(1.0, recipe.dose_spread)
            for end, sign in enumerate((-0.5, 0.5)):
                fractions = np.asarray(composition.mass_fraction) * np.clip(spread, 0.1, None)
                if here:
                    fractions[0] *= 1.0 + sign * gradient
                spot = dict(zip(composition.symbols, fractions / fractions.sum(), strict=True))
                if end and not here:
                    out[1, phase, i] = out[0, phase, i]
                    continue
                out[end, phase, i] = expected_counts(
                    spot, recipe.axis, beam_energy_kev=recipe.beam_kev, dose_nc=dose
                )
    return out


def _carbon(recipe: Recipe, part: float) -> NDArray[np.float64]:
    """Expected carbon counts of a full dwell."""
    if not part:
        return np.zeros(recipe.axis.n_channels)
    shape = expected_counts({"C": 1.0}, recipe.axis, beam_energy_kev=recipe.beam_kev)
    line = np.where(np.abs(recipe.axis.energies() - 0.277) < 0.1, shape, 0.0)
    return np.asarray(part * recipe.mean_counts * line / line.sum())


def _patches(
    shape: tuple[int, int], imperfections: Imperfections, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Relative count rate: a smooth field, spread evenly from 1 − topography to 1 + topography."""
    if not imperfections.topography:
        return np.ones(shape, np.float32)
    size = imperfections.patch * max(shape)
    field = gaussian_filter(rng.standard_normal(shape), size / 3.0, mode="reflect")
    rank = field.ravel().argsort().argsort().reshape(shape) / max(field.size - 1, 1)
    return np.asarray(1.0 + imperfections.topography * (2.0 * rank - 1.0), np.float32)


def _drifted(
    counts: NDArray[np.float64], axis: EnergyAxis, imperfections: Imperfections, clock_s: float
) -> NDArray[np.float64]:
    """Move expected counts (channels,) as the energy scale has drifted by then."""
    hours = clock_s / 3600.0
    gain, offset = imperfections.gain_per_h * hours, imperfections.offset_ev_per_h * 1e-3 * hours
    if gain == 0.0 and offset == 0.0:
        return counts
    edges = axis.offset_kev + axis.width_kev * (np.arange(axis.n_channels + 1) - 0.5)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    moved = edges * (1.0 + gain) + offset
    return np.asarray(np.maximum(np.diff(np.interp(edges, moved, cumulative)), 0.0))
