"""Element maps of a simulated graded phase: a few pixels against a full raster of twenty times the dose.

A round crystal in a glass is zoned from albite (NaAlSi₃O₈) at its rim to anorthite (CaAl₂Si₂O₈) at its core. Spectra
are Poisson counts of the physics model at each pixel's own composition. The raster measures every pixel as long as
the sparse map measures one in twenty, and has each pixel's own counts only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from ...analysis.elements.maps import ElementMaps, SparseSpectra, map_elements
from ...analysis.quantification.geometry import Conditions
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import Composition
from ...spectra.physics.detector import Detector
from ...spectra.physics.spectrum import expected_counts
from ..figures import Figure, at_least, at_most

__all__ = ["ZONINGS", "GradedSpecimen", "graded_figures", "measure_graded"]

FRACTION = 0.05
COUNTS = 500.0
NODES = 12
CRYSTAL, GLASS = 2, 1
AXIS = EnergyAxis(-0.05, 0.02, 520)
CONDITIONS = Conditions(15.0, 35.0, detector=Detector(pile_up=0.0))
ELEMENTS = ("O", "Na", "Al", "Si", "Ca")
Z90 = 1.644854
TOP = 0.85
"""Most anorthite that the crystal has."""
Coordinates = NDArray[np.float64]


def _round(y: Coordinates, x: Coordinates) -> tuple[NDArray[np.bool_], Coordinates]:
    radius = np.hypot(y - 0.48, x - 0.55) / 0.36
    return radius < 1.0, 1.0 - radius**2


def _slanted(y: Coordinates, x: Coordinates) -> tuple[NDArray[np.bool_], Coordinates]:
    along, across = 0.8 * (x - 0.5) + 0.6 * (y - 0.5), 0.8 * (y - 0.5) - 0.6 * (x - 0.5)
    return np.hypot(along / 0.45, across / 0.26) < 1.0, 0.5 + along / 0.9


def _banded(y: Coordinates, x: Coordinates) -> tuple[NDArray[np.bool_], Coordinates]:
    first, second = np.hypot(y - 0.36, x - 0.34) / 0.28, np.hypot((y - 0.72) / 0.2, (x - 0.7) / 0.25)
    radius = np.minimum(first, second)
    return radius < 1.0, 0.5 - 0.5 * np.cos(3.0 * np.pi * radius)


ZONINGS: Mapping[str, Callable[[Coordinates, Coordinates], tuple[NDArray[np.bool_], Coordinates]]] = {
    "round": _round,
    "slanted": _slanted,
    "banded": _banded,
}
"""Where the crystal is, and how far its composition is from the albite's end to the other one, 0 … 1."""


class GradedSpecimen:
    """The specimen: phase, composition and expected spectrum of every pixel.

    Parameters
    ----------
    size : int
        Pixels of a side.
    zoning : {"round", "slanted", "banded"}
        One of `ZONINGS`: a round crystal, zoned from rim to core; an oblong one, zoned along its length; two crystals
        with bands.
    """

    def __init__(self, size: int, zoning: str = "round") -> None:
        y, x = np.mgrid[0:size, 0:size] / size
        inside, part = ZONINGS[zoning](y, x)
        self.labels = np.where(inside, CRYSTAL, GLASS).astype(np.uint8)
        self.anorthite = np.clip(TOP * part, 0.0, 1.0)
        albite, anorthite = (
            dict(zip(c.symbols, c.mass_fraction, strict=True))
            for c in map(Composition.parse, ("NaAlSi3O8", "CaAl2Si2O8"))
        )

        def mixed(part: float) -> dict[str, float]:
            both = {*albite, *anorthite}
            made = {e: (1 - part) * albite.get(e, 0.0) + part * anorthite.get(e, 0.0) for e in both}
            return {e: f for e, f in made.items() if f > 0}

        self._mixed = mixed
        nodes = np.linspace(0.0, TOP, NODES)
        table = np.array([self._expected(mixed(float(part))) for part in nodes])
        place = np.clip(self.anorthite.ravel() / nodes[1], 0, NODES - 1.000001)
        low = place.astype(int)
        part = (place - low)[:, None]
        graded = (1 - part) * table[low] + part * table[np.minimum(low + 1, NODES - 1)]
        glass = self._expected("SiO2")
        self.expected = np.where((self.labels == CRYSTAL).ravel()[:, None], graded, glass)

    @staticmethod
    def _expected(composition: str | dict[str, float]) -> NDArray[np.float64]:
        return expected_counts(
            composition,
            AXIS,
            beam_energy_kev=CONDITIONS.beam_energy_kev,
            takeoff_deg=CONDITIONS.takeoff_deg,
            detector=CONDITIONS.detector,
            total_counts=COUNTS,
        )

    def templates(self, parts: Sequence[float]) -> NDArray[np.float64]:
        """Expected spectra (1 + n, n_channels): of the glass, and of the crystal with so much anorthite each."""
        return np.array([self._expected("SiO2"), *(self._expected(self._mixed(part)) for part in parts)])

    def mass_fraction(self, symbol: str) -> NDArray[np.float64]:
        """Mass fraction of an element in the crystal's pixels: (rows, columns), NaN in the glass."""
        parts = np.linspace(0.0, 1.0, 2)
        ends = [self._mixed(float(p)).get(symbol, 0.0) for p in parts]
        values = ends[0] + self.anorthite * (ends[1] - ends[0])
        return np.where(self.labels == CRYSTAL, values, np.nan)


def measure_graded(
    size: int = 128, *, seed: int = 0, progress: Callable[[str, float], None]
) -> list[dict[str, Any]]:
    """Map the specimen from 5 % of its pixels and from all.

    Returns
    -------
    list of dict
        A row for each of Na, Al, Si and Ca: root-mean-square error of the mass fraction in the crystal of the sparse
        map, of its phase mean, and of the raster; share of the crystal whose true value lies in the 90 % intervals.
    """
    progress("graded: specimen", 0.0)
    specimen = GradedSpecimen(size)
    rng = np.random.default_rng([seed, 0x6A4D])
    counts = rng.poisson(specimen.expected).astype(np.int32)
    n = size * size
    wanted = round(FRACTION * n)
    where = (
        qmc.Sobol(2, rng=np.random.default_rng(seed)).random(1 << (2 * wanted).bit_length()) * size
    ).astype(int)
    pixels = np.array(list(dict.fromkeys((where[:, 0] * size + where[:, 1]).tolist()))[:wanted], np.int64)
    flat = specimen.labels.ravel()

    def mapped(chosen: NDArray[np.int64]) -> ElementMaps:
        sparse = SparseSpectra(
            counts[chosen],
            AXIS,
            chosen,
            np.ones(len(chosen)),
            np.full(len(chosen), np.nan),
            flat[chosen].astype(np.int64),
            specimen.labels,
            ("glass", "plagioclase"),
        )
        return map_elements(sparse, CONDITIONS, elements=ELEMENTS, ignored=())

    progress("graded: sparse map", 0.2)
    maps = mapped(pixels)
    progress("graded: raster", 0.6)
    raster = mapped(np.arange(n))
    inside = (specimen.labels == CRYSTAL).ravel()
    own = raster.extractions[CRYSTAL].counts(counts[inside])
    rows = []
    for symbol in ("Na", "Al", "Si", "Ca"):
        truth = specimen.mass_fraction(symbol).ravel()[inside]
        e, f = maps.index(symbol), raster.index(symbol)
        found = maps.mass_fraction[e].ravel()[inside]
        # both from the same calibration: what is compared is the noise and the interpolation
        scale = truth.mean() / found.mean()
        family = next(
            j for j, k in enumerate(raster.extractions[CRYSTAL].families) if raster.lines[f] == f"{symbol} {k[1]}"
            and k[0] == Composition.parse(symbol).z[0]
        )  # fmt: skip
        single = own[:, family] / own[:, family].mean() * truth.mean()
        intensity = maps.intensity[e].ravel()[inside]
        random_sd = maps.intensity_sd[e].ravel()[inside] / intensity.mean() * truth.mean()
        rows.append(
            {
                "element": symbol,
                "sparse": _rms(found * scale - truth),
                "phase_mean": _rms(truth - truth.mean()),
                "raster": _rms(single - truth),
                "coverage": float((np.abs(found * scale - truth) <= Z90 * random_sd).mean()),
                "length_px": maps.variations[CRYSTAL, symbol].length,
            }
        )
    return rows


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt((values**2).mean()))


def graded_figures(rows: list[dict[str, Any]]) -> list[Figure]:
    """Return the figures of the issue: errors over those of the raster, and coverage."""
    out: list[Figure] = []
    for row in rows:
        name = f"graded phase, {row['element']}: error of 5 % of the pixels over the full raster's at 20 × the dose"
        out.append(at_most(name, row["sparse"] / row["raster"], 1.5))
    mean = 100 * float(np.mean([row["coverage"] for row in rows]))
    out += [
        at_least("graded phase: true values inside the 90 % intervals", mean, 85.0, "%"),
        at_most("graded phase: true values inside the 90 % intervals", mean, 95.0, "%"),
    ]
    return out
