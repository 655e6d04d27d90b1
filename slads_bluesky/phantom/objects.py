"""Simulated objects: a label image, and for each pixel the spectrum that a detector would record there.

After the paper's 3.1.2: pixels chosen at random are ill (label 0); every other pixel gets one of M = 12 spectra of
its phase plus independent Poisson noise; an ill pixel gets a spectrum of pure noise. A phase's M spectra come from
the physics model instead of a microscope. Nothing of size N × N × channels is ever held: a pixel's spectrum is
computed when it is asked for, from a counter-based generator keyed by object and pixel.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..images.distortion import boundary_fraction
from ..images.labels import check_label_image, fill_from_nearest
from ..spectra.axis import EnergyAxis
from ..spectra.physics.backscatter import backscatter_coefficient
from .acquisition import Acquisition
from .brief import BriefSpectrum, pulse_channels, pulses
from .imperfections import Imperfections
from .interaction import mixed_abundances
from .microstructures import make_labels
from .recipes import FULL_DWELL_S, RECIPES, Recipe, phase_spectra

__all__ = ["OBJECT_NAMES", "Phantom", "make_object", "object_from_labels", "training_spectra"]

OBJECT_NAMES = ("pbsn-128", "pbsn-1024", "powder-256", "powder-1024")
"""The paper's four objects; any other size (``pbsn-64``) is made the same way."""


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


def make_object(
    name: str, seed: int = 0, imperfections: Imperfections | Mapping[str, float] | None = None
) -> Phantom:
    """Make the simulated object of that name.

    Parameters
    ----------
    name : str
        ``kind-size``: one of `OBJECT_NAMES`, or another size from 32 to 4096.
    seed : int
        Objects of other seeds have another microstructure, other ill pixels and other spectra.
    imperfections : Imperfections or mapping, optional
        What it has besides; a mapping as `Imperfections.to_json` gives it.

    Returns
    -------
    Phantom

    Raises
    ------
    ConfigError
        If there is no such object, or no such imperfection.

    Examples
    --------
    The truth in three ways: the sharp phase map, the abundances, and the phase with the largest part:

    >>> from slads_bluesky.phantom import Imperfections
    >>> specimen = make_object("pbsn-32", imperfections=Imperfections(blur_px=1.0))
    >>> specimen.truth.shape, specimen.abundances.shape, int((specimen.majority != specimen.truth).sum()) < 10
    ((32, 32), (2, 32, 32), True)
    """
    match = re.fullmatch(r"([a-z]+)-(\d{1,5})", name)
    if match is None or match[1] not in RECIPES:
        raise ConfigError(
            f"unknown object '{name}'; known: {', '.join(OBJECT_NAMES)}, "
            f"and any other size of {' or '.join(RECIPES)}, such as pbsn-64"
        )
    kind = match[1]
    truth = make_labels(kind, int(match[2]), seed)  # type: ignore[arg-type]
    made = _furnish(name, seed, truth, kind)
    if imperfections is None:
        return made
    from .imperfect import make_imperfect

    if not isinstance(imperfections, Imperfections):
        imperfections = Imperfections.from_json(imperfections)
    return make_imperfect(made, imperfections)


def object_from_labels(labels: NDArray[np.uint8], name: str = "labels", seed: int = 0) -> Phantom:
    """Make an object of a label image of your own.

    Parameters
    ----------
    labels : (rows, columns) uint8 array
        Labels 1 … 4. With labels 1 and 2 only, the phases are Pb-Sn and Sn, else CaO, LaO, Si and C. Pixels of
        label 0 are ill besides those that the recipe strews; their truth is that of the nearest other pixel.
    name, seed : str, int
        The object is a function of labels, name and seed.

    Returns
    -------
    Phantom

    Raises
    ------
    DataError
        If the image is not a label image (`images.labels.check_label_image`), or has labels above 4.
    """
    labels = check_label_image(labels, name)
    if labels.max() > 4:
        raise DataError(f"{name}: label {labels.max()} has no simulated composition; labels 1 … 4 do")
    truth = fill_from_nearest(labels, labels == 0)
    made = _furnish(name, seed, truth, "pbsn" if truth.max() <= 2 else "powder")
    made.labels[labels == 0] = 0
    return made


def training_spectra(name: str, seed: int = 0, n: int = 24) -> dict[str, NDArray[np.int32]]:
    """Draw spectra to train classifiers on: recorded as those of an object, but never the object's own.

    Parameters
    ----------
    name : str
        An object's name; only its kind matters.
    seed : int
        Other seeds give other spectra.
    n : int
        Spectra a phase (the paper takes 24).

    Returns
    -------
    dict of str to (n, channels) int32 array
        Phase name to counts at the full dwell, without the λ = 2 noise that the paper adds afterwards.
    """
    kind = name.split("-")[0]
    if kind not in RECIPES:
        raise ConfigError(f"unknown object '{name}'; known: {', '.join(OBJECT_NAMES)}")
    rng = np.random.default_rng([zlib.crc32(b"training spectra"), zlib.crc32(kind.encode()), seed])
    spectra = phase_spectra(kind, n, rng)
    return dict(zip(RECIPES[kind].compositions, spectra, strict=True))


def _furnish(name: str, seed: int, truth: NDArray[np.uint8], kind: str) -> Phantom:
    recipe = RECIPES[kind]
    rng = np.random.default_rng([zlib.crc32(b"object spectra"), zlib.crc32(name.encode()), seed])
    labels = truth.copy()
    labels[rng.random(truth.shape, dtype=np.float32) < recipe.ill_fraction] = 0
    choice = rng.integers(0, recipe.spectra_per_phase, truth.shape, dtype=np.uint8)
    templates = phase_spectra(kind, recipe.spectra_per_phase, rng)
    return Phantom(name, seed, truth, labels, recipe, templates, choice)
