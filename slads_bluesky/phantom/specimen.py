"""A simulated specimen: a label image, and for each pixel the spectrum that a detector would record there.

Nothing of size N × N × channels is ever held: a pixel's spectrum is computed when it is asked for, from a
counter-based generator keyed by specimen and pixel.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..images.distortion import boundary_fraction
from ..spectra.axis import EnergyAxis
from ..spectra.physics.backscatter import backscatter_coefficient
from .acquisition import Acquisition
from .brief import BriefSpectrum, pulse_channels, pulses
from .interaction import mixed_abundances
from .recipes import FULL_DWELL_S, Recipe

__all__ = ["Phantom"]


@dataclass(frozen=True, eq=False)
class Phantom:
    """A simulated specimen: a pure function of its name (kind and size) and seed."""

    name: str
    seed: int
    truth: NDArray[np.uint8]
    """(rows, columns): the phase of each pixel, 1 … L."""
    labels: NDArray[np.uint8]
    """(rows, columns): `truth`, but 0 where the spectrum is ill."""
    recipe: Recipe
    templates: NDArray[np.int32]
    """(L, M, channels): the recorded spectra of each phase, counts at the full dwell."""
    choice: NDArray[np.uint8]
    """(rows, columns): which of the M spectra each pixel has."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.truth.shape[0], self.truth.shape[1]

    @property
    def axis(self) -> EnergyAxis:
        """Energies of the channels."""
        return self.recipe.axis

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases; label l is ``phases[l - 1]``."""
        return tuple(self.recipe.compositions)

    @property
    def backscatter(self) -> tuple[float, ...]:
        """Backscatter coefficient of each phase: its grey in a backscatter image."""
        return tuple(backscatter_coefficient(found) for found in self.recipe.compositions.values())

    @property
    def full_dwell_s(self) -> float:
        """Live time of the spectra as recorded, s."""
        return FULL_DWELL_S

    @property
    def boundary_fraction(self) -> float:
        """How hard the object is to sample; see `microstructures.boundary_fraction`."""
        return boundary_fraction(self.truth)

    @property
    def abundances(self) -> NDArray[np.float32]:
        """(L, rows, columns): part of each phase at each pixel; here 1 for its own."""
        return mixed_abundances(self.truth, 0.0, len(self.phases))

    @property
    def majority(self) -> NDArray[np.uint8]:
        """(rows, columns): the phase with the largest part at each pixel; here `truth`."""
        return self.truth

    @property
    def pitch_um(self) -> float:
        """Distance of neighbouring pixels, µm."""
        return 1.0

    def _generator(self, pixel: int, visit: int, stream: int) -> np.random.Generator:
        key = [(zlib.crc32(self.name.encode()) << 32) | (self.seed & 0xFFFFFFFF), self.truth.size]
        # the lowest counter word advances as numbers are drawn, so it starts at zero for every stream
        return np.random.Generator(np.random.Philox(key=key, counter=[0, stream, visit, pixel]))

    def _check(self, pixel: int) -> None:
        if not 0 <= pixel < self.truth.size:
            raise IndexError(f"pixel {pixel} lies outside {self.name} of {self.shape[0]} × {self.shape[1]}")

    def spectrum(self, pixel: int, visit: int = 0) -> NDArray[np.int32]:
        """Record a pixel at the full dwell.

        Parameters
        ----------
        pixel : int
            Flat index, 0 … rows × columns - 1.
        visit : int
            How often it was measured before: the noise of each visit is independent.

        Returns
        -------
        (channels,) int32 array
            Counts.

        Raises
        ------
        IndexError
            If the pixel lies outside the object.
        """
        self._check(pixel)
        label = int(self.labels.flat[pixel])
        rng = self._generator(pixel, visit, 0)
        if label == 0:
            return rng.poisson(self.recipe.ill_rate, self.axis.n_channels).astype(np.int32)
        noise = rng.poisson(self.recipe.noise_rate, self.axis.n_channels).astype(np.int32)
        counts: NDArray[np.int32] = self.templates[label - 1, self.choice.flat[pixel]] + noise
        return counts

    def acquisition(self, pixel: int, visit: int = 0) -> Acquisition:
        """Return the same record as it grows: at `full_dwell_s` it equals `spectrum`."""
        self._check(pixel)
        return Acquisition(
            full_dwell_s=self.full_dwell_s,
            record=lambda repeat: self.spectrum(pixel, visit + (repeat << 16)),
            generator=lambda repeat, node: self._generator(pixel, visit + (repeat << 16), 1 + node),
        )

    @functools.cached_property
    def _cumulative(self) -> NDArray[np.float64]:
        """(L, M, channels): running sums of the expected counts at the full dwell, noise included."""
        return np.cumsum(self.templates + self.recipe.noise_rate, axis=2, dtype=np.float64)

    def brief(
        self, pixel: int, visit: int, real_s: float, busy_s: float = 0.0, rate: float = 1.0
    ) -> BriefSpectrum:
        """Record a pixel for a short real time, pulse by pulse; not the beginning of what `spectrum` records.

        Parameters
        ----------
        pixel, visit : int
            As in `spectrum`.
        real_s : float
            Real time, s.
        busy_s : float
            Time that the detector is busy with each pulse, s.
        rate : float
            Count rate in units of the record's own, such as the beam current over the nominal one.

        Raises
        ------
        IndexError
            If the pixel lies outside the object.
        """
        self._check(pixel)
        rng = self._generator(pixel, visit, 1 << 40)
        label = int(self.labels.flat[pixel])
        if label == 0:
            cumulative = self.recipe.ill_rate * np.arange(1.0, self.axis.n_channels + 1.0)
        else:
            cumulative = self._cumulative[label - 1, self.choice.flat[pixel]]
        n = pulses(rate * cumulative[-1] / self.full_dwell_s, real_s, busy_s, rng)
        return BriefSpectrum(pulse_channels(cumulative, n, rng), real_s - n * busy_s)
