"""Label images of simulated specimens: a two-phase eutectic, a four-phase powder and a rock of eight phases.

How hard an image is to sample sparsely is set by its boundary fraction b, the part of its pixels that has a
4-neighbour of another label. The paper does not give b, so the length scale of each image is searched until its
b lies where the paper's must have been (two-phase 128²: about 0.12; powder 256²: about 0.085).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ..errors import ConfigError
from ..images.distortion import boundary_fraction
from ..images.segmentation import drop_small_patches

__all__ = ["KINDS", "Kind", "Role", "make_labels", "target_boundary_fraction"]

Kind = Literal["pbsn", "powder", "rock"]
Role = Literal["test", "train"]
KINDS: tuple[Kind, ...] = ("pbsn", "powder", "rock")

_TARGETS: dict[str, dict[int, float]] = {
    "pbsn": {128: 0.120, 1024: 0.061},
    "powder": {256: 0.085, 1024: 0.078},
    "rock": {128: 0.17, 1024: 0.14},
}
"""Boundary fractions at the paper's sizes; between and beyond them a power law of the size."""

RARE = {3: 0.008, 4: 0.006}
"""Labels of the rare phases of a rock, and their parts of the area."""
_PHASES = {"pbsn": 2, "powder": 4, "rock": 8}
_MIN_GRAIN = 6
"""Smallest connected patch in pixels: the paper's segmented images are denoised (3.1.1)."""


def target_boundary_fraction(kind: Kind, size: int) -> float:
    """Boundary fraction that `make_labels` aims at for an image of `size` × `size` pixels."""
    (n1, b1), (n2, b2) = _TARGETS[kind].items()
    slope = math.log(b2 / b1) / math.log(n2 / n1)
    return min(0.25, b1 * float((size / n1) ** slope))


def make_labels(
    kind: Kind, size: int, seed: int = 0, role: Role = "test", *, wanted: float | None = None
) -> NDArray[np.uint8]:
    """Draw a label image.

    Parameters
    ----------
    kind : {"pbsn", "powder", "rock"}
        Two-phase eutectic (labels 1, 2), four-phase powder (labels 1 … 4), or a rock: the grains of a powder in eight
        phases, two of them rare.
    size : int
        Rows and columns, 32 … 4096.
    seed : int
        Non-negative. Equal arguments give equal images.
    role : {"test", "train"}
        The two roles never share an image, whatever the seeds.
    wanted : float, optional
        Boundary fraction to aim at, 0.01 … 0.25, instead of the paper's: the same microstructure, finer or coarser.

    Returns
    -------
    (size, size) uint8 array
        Labels, each phase present, within 2 % of the wanted boundary fraction where the size allows it.

    Raises
    ------
    ConfigError
        If the kind, size, seed, role or boundary fraction is not one of these.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of object '{kind}'; known: {', '.join(KINDS)}")
    if not 32 <= size <= 4096:
        raise ConfigError(f"object size must be 32 to 4096, not {size}")
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, not {seed}")
    if role not in ("test", "train"):
        raise ConfigError(f"role must be 'test' or 'train', not '{role}'")
    if wanted is None:
        wanted = target_boundary_fraction(kind, size)
    if not 0.01 <= wanted <= 0.25:
        raise ConfigError(f"boundary fraction must be 0.01 to 0.25, not {wanted}")
    entropy = [zlib.crc32(kind.encode()), size, seed, zlib.crc32(role.encode())]
    sequence = np.random.SeedSequence(entropy)
    draw = {"pbsn": _eutectic, "powder": _powder, "rock": _rock}[kind]
    while True:  # a draw that lacks a phase is drawn again from the next child: still a function of the seed
        child = sequence.spawn(1)[0]
        labels = _with_boundary_fraction(
            lambda scale, child=child: draw(size, scale, np.random.default_rng(child)),  # type: ignore[misc]
            wanted,
            4.2 if kind == "pbsn" else 2.2,
        )
        if np.unique(labels).size == _PHASES[kind]:
            return labels


def _with_boundary_fraction(
    draw: Callable[[float], NDArray[np.uint8]], target: float, guess: float
) -> NDArray[np.uint8]:
    """Search the length scale (pixels) at which `draw` gives the target b; b falls roughly as 1/scale."""
    scale = guess / target
    best, best_error = None, math.inf
    for _ in range(12):
        labels = draw(scale)
        b = boundary_fraction(labels)
        error = abs(b / target - 1)
        if error < best_error:
            best, best_error = labels, error
        if error < 0.02 or b == 0:
            break
        scale *= float(np.clip(b / target, 0.6, 1.6))
    assert best is not None
    return best


def _random_field(size: int, spectrum: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian random field of unit variance with the given amplitude spectrum, (size, size // 2 + 1)."""
    noise = fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    noise *= spectrum
    field: NDArray[np.float32] = fft.irfft2(noise, s=(size, size))
    field -= field.mean()
    field /= field.std() or 1.0  # constant where the image is small beside its length scale
    return field


def _frequencies(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cycles per pixel along y (size, 1) and along x (1, size // 2 + 1)."""
    fy = np.fft.fftfreq(size).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(size).astype(np.float32)[None, :]
    return fy, fx


def _eutectic(size: int, wavelength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Two interpenetrating phases: a field of one dominant wavelength, cut at the wanted phase fraction."""
    angle, stretch = rng.uniform(0, math.pi), rng.uniform(1.0, 1.35)
    fraction, width = rng.uniform(0.38, 0.55), rng.uniform(0.18, 0.30)
    fy, fx = _frequencies(size)
    along = math.cos(angle) * fx + math.sin(angle) * fy
    across = -math.sin(angle) * fx + math.cos(angle) * fy
    radius = np.hypot(along * stretch, across / stretch)
    with np.errstate(divide="ignore"):
        ring = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * width**2)) / np.maximum(radius, 1e-6)
    field = _random_field(size, ring.astype(np.float32), rng)
    labels = np.where(field < np.quantile(field, fraction), 1, 2).astype(np.uint8)
    return drop_small_patches(labels, _MIN_GRAIN)


def _powder(size: int, diameter: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Rough particles of three materials (1, 2, 3), log-normal in size, lying over each other on the fourth."""
    labels = np.full((size, size), 4, np.uint8)
    fy, fx = _frequencies(size)
    rough = np.exp(-((np.hypot(fy, fx) * diameter * 0.35) ** 2))
    roughness = 0.16 * _random_field(size, rough.astype(np.float32), rng)
    wanted = rng.uniform(0.50, 0.62)
    shares = rng.dirichlet([8.0, 8.0, 8.0])
    for _ in range(int(40 * (size / diameter) ** 2) + 40):
        radius = 0.5 * diameter * float(np.exp(rng.normal(0.0, 0.45)))
        aspect, angle = rng.uniform(0.6, 1.0), rng.uniform(0, math.pi)
        y0, x0 = rng.uniform(-radius, size + radius, 2)
        label = 1 + int(rng.choice(3, p=shares))
        reach = math.ceil(1.7 * radius)
        top, left = max(0, int(y0) - reach), max(0, int(x0) - reach)
        bottom, right = min(size, int(y0) + reach + 1), min(size, int(x0) + reach + 1)
        if top >= bottom or left >= right:
            continue
        y = np.arange(top, bottom, dtype=np.float32)[:, None] - y0
        x = np.arange(left, right, dtype=np.float32)[None, :] - x0
        u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
        # a super-ellipse of exponent 3: particles are blocky rather than round
        r = (np.abs(u) ** 3 + np.abs(v / aspect) ** 3) ** (1 / 3) / radius
        window = np.s_[top:bottom, left:right]
        labels[window][r < 1 + roughness[window]] = label
        if (labels != 4).mean() >= wanted:
            break
    return drop_small_patches(labels, _MIN_GRAIN)


def _rock(size: int, diameter: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grains of a powder over the matrix (1), each of one of seven phases; those of `RARE` get their part."""
    powder = _powder(size, diameter, rng)
    grains: list[NDArray[np.intp]] = []
    for value in (1, 2, 3):
        numbered, n = ndimage.label(powder == value)
        grains += [np.flatnonzero(numbered == i) for i in range(1, n + 1)]
    rock = np.ones(powder.shape, np.uint8)
    area = dict.fromkeys(range(2, 9), 0)
    common = [phase for phase in area if phase not in RARE]
    for i in rng.permutation(len(grains)).tolist():
        part = grains[i].size / rock.size
        short = [
            phase
            for phase, wanted in RARE.items()
            if area[phase] < 0.8 * wanted * rock.size and area[phase] / rock.size + part < 1.2 * wanted
        ]
        phase = short[0] if short else min(common, key=lambda phase: area[phase])
        rock.flat[grains[i]] = phase
        area[phase] += grains[i].size
    return rock
