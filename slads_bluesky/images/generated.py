"""Generated microstructures of many kinds, to train a sampler that has to work on any of them.

Every image is drawn from random parameters: lamellar and degenerate eutectics, powders of polygonal and
rounded particles, grains, layers, level sets of Gaussian random fields, collages, specks, and rough images like
thresholded photographs. Nothing here is shared with the objects that the benchmarks measure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .labels import compact_labels

__all__ = ["GENERATOR_VERSION", "KINDS", "log_uniform", "training_image"]

GENERATOR_VERSION = 3
"""Goes up whenever the same seed gives other images; recorded in the model file."""

Field = NDArray[np.float32]
Labels = NDArray[np.uint8]


@lru_cache(maxsize=8)
def _axes(side: int) -> tuple[Field, Field, Field, Field]:
    """Pixel coordinates (y, x) and spatial frequencies (ky, kx), in pixels and cycles per pixel."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    ky = np.fft.fftfreq(side).astype(np.float32)[:, None]
    kx = np.fft.rfftfreq(side).astype(np.float32)[None, :]
    return y, x, ky, kx


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform between those of two."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _filtered(rng: np.random.Generator, side: int, amplitude: Field) -> Field:
    """White noise times an amplitude spectrum (side, side // 2 + 1), to zero mean and unit variance."""
    noise = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
    out = np.fft.irfft2(noise * amplitude, s=(side, side)).astype(np.float32)
    return np.asarray((out - out.mean()) / (out.std() + 1e-9), np.float32)


def _wave_number(rng: np.random.Generator, side: int, anisotropy: float) -> Field:
    """|k| in a frame that is turned at random and stretched by up to `anisotropy`."""
    _, _, ky, kx = _axes(side)
    angle, stretch = rng.uniform(0, np.pi), np.sqrt(log_uniform(rng, 1.0, anisotropy))
    u = (kx * np.cos(angle) + ky * np.sin(angle)) * stretch
    v = (ky * np.cos(angle) - kx * np.sin(angle)) / stretch
    return np.asarray(np.hypot(u, v), np.float32)


def _smooth(rng: np.random.Generator, side: int, length: float, anisotropy: float = 1.0) -> Field:
    """A Gaussian random field blurred over `length` pixels."""
    k = _wave_number(rng, side, anisotropy)
    return _filtered(rng, side, np.exp(-0.5 * (2 * np.pi * k * length) ** 2) + np.float32(1e-7))


def _ring(rng: np.random.Generator, side: int, period: float, width: float, anisotropy: float) -> Field:
    """A field with one period, as spinodal decomposition leaves it."""
    k = _wave_number(rng, side, anisotropy)
    return _filtered(rng, side, np.exp(-0.5 * ((k * period - 1) / width) ** 2))


def _power_law(rng: np.random.Generator, side: int, exponent: float, anisotropy: float) -> Field:
    """A field of amplitude |k|^-exponent: the spectrum of clouds, terrain and photographs."""
    k = np.maximum(_wave_number(rng, side, anisotropy), np.float32(0.5 / side))
    return _filtered(rng, side, k ** np.float32(-exponent))


def _warped(rng: np.random.Generator, side: int, strength: float, length: float) -> tuple[Field, Field]:
    """Pixel coordinates displaced by a smooth field of `strength` pixels."""
    y, x, _, _ = _axes(side)
    return (
        y + np.float32(strength) * _smooth(rng, side, length),
        x + np.float32(strength) * _smooth(rng, side, length),
    )


def _cells(rng: np.random.Generator, y: Field, x: Field, n: int, weight: float) -> NDArray[np.intp]:
    """Index of the Voronoi (power) cell that each point (y, x) lies in."""
    side = y.shape[0]
    seeds = rng.uniform(-0.1 * side, 1.1 * side, (n, 2)).astype(np.float32)
    offset = (weight * rng.random(n) * side * side / n).astype(np.float32)
    stretch = np.float32(log_uniform(rng, 0.5, 2.0))
    best = np.full(y.shape, np.inf, np.float32)
    cell = np.zeros(y.shape, np.intp)
    for i in range(n):
        d = (y - seeds[i, 0]) ** 2 * stretch + (x - seeds[i, 1]) ** 2 / stretch - offset[i]
        closer = d < best
        best[closer] = d[closer]
        cell[closer] = i
    return cell


def _levels(rng: np.random.Generator, field: Field, n: int) -> Labels:
    """Cut a field at `n` - 1 random quantiles into labels 1 … n."""
    shares = rng.dirichlet(np.full(n, 4.0))
    cuts = np.quantile(field, np.cumsum(shares)[:-1])
    return np.asarray(np.searchsorted(cuts, field) + 1, np.uint8)


def _phases(rng: np.random.Generator) -> int:
    return int(rng.choice([2, 3, 4, 5, 6], p=[0.3, 0.25, 0.3, 0.1, 0.05]))


def _eutectic(rng: np.random.Generator, side: int) -> Labels:
    """Lamellae in colonies, bent, pinched and broken; sometimes with primary globules."""
    period = log_uniform(rng, 9.0, 90.0)
    y, x = _warped(rng, side, rng.uniform(0, 0.8) * period, rng.uniform(1.0, 4.0) * period)
    colonies = int(rng.integers(1, 3 + side // 24))
    cell = np.zeros((side, side), np.intp)
    if colonies > 1:
        cell = _cells(rng, y, x, colonies, rng.uniform(0, 1))
    spread = rng.choice([0.15, 0.6, np.pi])
    angle = (rng.uniform(0, np.pi) + rng.uniform(-spread, spread, colonies))[cell]
    stretch = np.exp(rng.normal(0, 0.15, colonies))[cell]
    phase = rng.uniform(0, 2 * np.pi, colonies)[cell]
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) * stretch / period + phase)
    roughness = rng.uniform(0.0, 0.9)
    wave = wave + roughness * _smooth(rng, side, rng.uniform(0.12, 0.5) * period, 3.0)
    wave = wave + rng.uniform(0, 0.5) * _smooth(rng, side, rng.uniform(1, 3) * period)
    if rng.random() < 0.35:
        wave = (1 - roughness) * wave + _ring(rng, side, period, rng.uniform(0.1, 0.35), 6.0)
    labels = np.asarray(1 + (wave > np.quantile(wave, rng.uniform(0.3, 0.7))), np.uint8)
    if rng.random() < 0.35:
        blobs = _smooth(rng, side, rng.uniform(0.5, 1.5) * period, 2.0)
        labels[blobs > rng.uniform(0.8, 2.0)] = rng.integers(1, 4)
    return labels


def _spinodal(rng: np.random.Generator, side: int) -> Labels:
    """Two phases, seldom three, grown through each other with one period."""
    n = 2 if rng.random() < 0.8 else 3
    return _levels(
        rng, _ring(rng, side, log_uniform(rng, 12, 90), rng.uniform(0.08, 0.45), rng.choice([1.5, 5.0])), n
    )


def _particle(rng: np.random.Generator, dy: Field, dx: Field, angular: bool) -> Field:
    """A signed 'radius' of one particle of unit size: below 1 inside; convex polygon or wavy ellipse."""
    stretch = np.float32(np.exp(rng.normal(0, 0.25)))
    turn = rng.uniform(0, np.pi)
    u = (dx * np.cos(turn) + dy * np.sin(turn)) * stretch
    v = (dy * np.cos(turn) - dx * np.sin(turn)) / stretch
    if angular:
        n = int(rng.integers(3, 10))
        normals = 2 * np.pi * (np.arange(n) + rng.uniform(-0.35, 0.35, n)) / n
        reach = rng.uniform(0.65, 1.1, n)
        sides = [(u * np.cos(a) + v * np.sin(a)) / r for a, r in zip(normals, reach, strict=True)]
        return np.asarray(np.max(sides, axis=0), np.float32)
    around = np.arctan2(v, u)
    waves = rng.normal(0, 0.12, 5) / np.arange(1, 6) ** 0.5
    radius = 1 + sum(a * np.cos((k + 2) * around + rng.uniform(0, 6.3)) for k, a in enumerate(waves))
    return np.asarray(np.hypot(u, v) / np.maximum(radius, 0.3), np.float32)


def _paint(
    rng: np.random.Generator, labels: Labels, n_labels: int, size: float, cover: float, ground: int = 0
) -> None:
    """Paint particles of `size` pixels over `labels` until about `cover` of the area is painted, none of `ground`."""
    side = labels.shape[0]
    shares = rng.dirichlet(np.full(n_labels, 3.0))
    if ground and n_labels > 1:
        shares[ground - 1] = 0.0
        shares /= shares.sum()
    spread, angular = rng.uniform(0.1, 0.6), rng.random()
    if rng.random() < 0.35:
        rough = _smooth(rng, side, rng.uniform(0.7, 3.0)) * np.float32(rng.uniform(0, 1.5))
    else:
        rough = _smooth(rng, side, size * rng.uniform(0.08, 0.3)) * np.float32(size * rng.uniform(0.02, 0.3))
    by_size = (
        rng.random() < 0.5
    )  # the roughness of a particle goes with its own radius, or is the same for all
    painted, limit = 0.0, int(3 * side * side / size**2) + 3
    radii = np.sort(size * np.exp(rng.normal(0, spread, limit)))
    if rng.random() < 0.7:
        radii = radii[::-1]
    for radius in radii:
        cy, cx = rng.uniform(-radius, side + radius, 2)
        reach = 2.2 * radius + 3
        y0, y1 = max(0, int(cy - reach)), min(side, int(cy + reach) + 1)
        x0, x1 = max(0, int(cx - reach)), min(side, int(cx + reach) + 1)
        if y0 >= y1 or x0 >= x1:
            continue
        dy = ((np.arange(y0, y1, dtype=np.float32) - np.float32(cy)) / np.float32(radius))[:, None]
        dx = ((np.arange(x0, x1, dtype=np.float32) - np.float32(cx)) / np.float32(radius))[None, :]
        dy, dx = np.broadcast_arrays(dy, dx)
        scale = size if by_size else radius
        inside = _particle(rng, dy, dx, bool(rng.random() < angular)) < 1 + rough[y0:y1, x0:x1] / scale
        labels[y0:y1, x0:x1][inside] = 1 + rng.choice(n_labels, p=shares)
        painted += float(inside.sum())
        if painted > -np.log(max(1e-3, 1 - cover)) * side * side:
            break


def _powder(rng: np.random.Generator, side: int) -> Labels:
    """Particles of several phases, one over another, in one or two size classes."""
    n = max(2, _phases(rng))
    ground = 1 if rng.random() < 0.6 else n
    labels = np.full((side, side), ground, np.uint8)
    size = log_uniform(rng, 6.0, 0.3 * side)
    bare = ground if rng.random() < 0.5 else 0
    _paint(rng, labels, n, size, rng.uniform(0.3, 0.99), bare)
    if rng.random() < 0.4:
        _paint(rng, labels, n, max(2.0, size * rng.uniform(0.15, 0.5)), rng.uniform(0.02, 0.3), bare)
    return labels


def _grains(rng: np.random.Generator, side: int) -> Labels:
    """Voronoi grains with straight, curved or ragged boundaries; neighbours may share a phase."""
    n = int(log_uniform(rng, 6, 150))
    d = side / np.sqrt(n)
    y, x = _warped(rng, side, rng.uniform(0, 0.3) * d, rng.uniform(0.1, 0.6) * d)
    phases = _phases(rng)
    shares = rng.dirichlet(np.full(phases, 4.0))
    cell = _cells(rng, y, x, n, rng.uniform(0, 1.5))
    return (rng.choice(phases, n, p=shares)[cell] + 1).astype(np.uint8)


def _layers(rng: np.random.Generator, side: int) -> Labels:
    """Parallel layers of random thickness, bent."""
    y, x = _warped(rng, side, rng.uniform(0, 6), rng.uniform(5, 40))
    angle = rng.uniform(0, np.pi)
    depth = x * np.cos(angle) + y * np.sin(angle)
    thickness = log_uniform(rng, 4, 30)
    n = int(3 * side / thickness) + 4
    edges = np.cumsum(thickness * np.exp(rng.normal(0, rng.uniform(0.1, 0.9), n))) - 1.2 * side
    phases = _phases(rng)
    return np.asarray(rng.integers(1, phases + 1, n + 1)[np.searchsorted(edges, depth)], np.uint8)


def _blurred(rng: np.random.Generator, side: int) -> Labels:
    """Level sets of a blurred field, nested; or the largest of several fields, so that phases meet freely."""
    length, stretch, phases = log_uniform(rng, 2, 18), 5.0, _phases(rng)
    if rng.random() < 0.5:
        return _levels(rng, _smooth(rng, side, length, stretch), phases)
    fields = [_smooth(rng, side, length, stretch) + rng.uniform(0, 0.5) for _ in range(phases)]
    return np.asarray(np.argmax(fields, axis=0) + 1, np.uint8)


def _rough(rng: np.random.Generator, side: int) -> Labels:
    """Level sets of a power-law field: ragged at every scale."""
    return _levels(rng, _power_law(rng, side, rng.uniform(1.1, 2.6), 3.0), min(4, _phases(rng)))


def _photograph(rng: np.random.Generator, side: int) -> Labels:
    """Shaded objects before a textured ground, with noise, cut into grey levels."""
    image = rng.uniform(0.2, 1.0) * _power_law(rng, side, rng.uniform(1.3, 2.4), 3.0)
    objects = np.ones((side, side), np.uint8)
    _paint(rng, objects, 5, log_uniform(rng, 6, 0.35 * side), rng.uniform(0.1, 0.8))
    shade = rng.normal(0, 1.2, 7)[objects].astype(np.float32)
    image = image + shade + rng.uniform(0, 0.8) * _smooth(rng, side, 0.3 * side)
    texture = rng.uniform(0, 0.5, 7)[objects].astype(np.float32)
    image = image + texture * _smooth(rng, side, rng.uniform(0.6, 2.5), 4.0)
    image = image + rng.choice([0.0, 0.05, 0.15]) * rng.standard_normal(image.shape)
    return _levels(rng, np.asarray(image, np.float32), min(4, _phases(rng)))


KINDS: dict[str, tuple[float, Callable[[np.random.Generator, int], Labels]]] = {
    "eutectic": (0.13, _eutectic),
    "powder": (0.28, _powder),
    "spinodal": (0.22, _spinodal),
    "grains": (0.07, _grains),
    "layers": (0.03, _layers),
    "blurred": (0.08, _blurred),
    "rough": (0.06, _rough),
    "photograph": (0.13, _photograph),
}
"""Share and maker of each kind of image."""


def _one(rng: np.random.Generator, side: int, kind: str | None = None) -> Labels:
    if kind is not None:
        return KINDS[kind][1](rng, side)
    makers = list(KINDS.values())
    shares = np.array([share for share, _ in makers])
    return makers[int(rng.choice(len(makers), p=shares / shares.sum()))][1](rng, side)


def _compact(labels: Labels, rng: np.random.Generator, most: int) -> Labels:
    """Labels 1 … L in random order, L ≤ `most`."""
    values, compact = compact_labels(labels)
    return np.asarray((rng.permutation(len(values)) % most + 1).astype(np.uint8)[compact], np.uint8)


def training_image(
    rng: np.random.Generator, side: int = 128, most: int = 6, kind: str | None = None
) -> Labels:
    """Return one generated label image, (side, side) uint8, with labels 1 … L and 2 ≤ L ≤ `most`.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness: the same state gives the same image.
    side : int
        Rows and columns.
    most : int
        Largest number of labels, at least 2.
    kind : str, optional
        One of `KINDS`; any of them by default, each by its share.
    """
    while True:
        labels = _one(rng, side, kind)
        if rng.random() < 0.10:
            mask = _smooth(rng, side, rng.uniform(0.08, 0.3) * side) > rng.uniform(-1, 1)
            other = _one(rng, side)
            labels = np.where(mask, labels, other + (6 if rng.random() < 0.3 else 0)).astype(np.uint8)
        if rng.random() < 0.08:
            _paint(rng, labels, int(labels.max()), log_uniform(rng, 1.2, 6), rng.uniform(0.005, 0.06))
        if rng.random() < 0.06:
            stray = rng.random(labels.shape) < log_uniform(rng, 3e-4, 1e-2)
            labels[stray] = rng.integers(1, int(labels.max()) + 1, int(stray.sum()))
        labels = _compact(labels, rng, most)
        share = np.bincount(labels.ravel(), minlength=3)[1:].max() / labels.size
        rough = float(
            np.mean(labels[1:, :-1] != labels[:-1, :-1]) + np.mean(labels[:-1, 1:] != labels[:-1, :-1])
        )
        if share < 0.995 and rough < 0.4:
            return labels
