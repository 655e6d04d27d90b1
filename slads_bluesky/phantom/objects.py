"""Simulated objects by their names, or of a label image of one's own.

After the paper's 3.1.2: pixels chosen at random are ill (label 0); every other pixel gets one of M = 12 spectra of
its phase plus independent Poisson noise; an ill pixel gets a spectrum of pure noise. A phase's M spectra come from
the physics model instead of a microscope.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..images.labels import check_label_image, fill_from_nearest
from .imperfect import make_imperfect
from .imperfections import Imperfections
from .microstructures import make_labels
from .recipes import RECIPES, phase_spectra
from .specimen import Phantom

__all__ = ["OBJECT_NAMES", "make_object", "object_from_labels", "training_spectra"]

OBJECT_NAMES = ("pbsn-128", "pbsn-1024", "powder-256", "powder-1024")
"""The paper's four objects; any other size (``pbsn-64``) is made the same way."""


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
