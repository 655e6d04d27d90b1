"""Element maps of a measured dacite from a tenth of its pixels, judged by a second measurement of the same field.

The map with fewer counts (``p45/…12bit….bcf``, about 122 counts a pixel) is measured in a part of its pixels; the
other one (``p45_dacite.npz``, about 615) is the judge. Each phase's template is its mean spectrum in the map that is
measured, over the pixels of the segmentation in the npz; labels of measured pixels, choice of pixels and
reconstruction use the measured counts only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...analysis.elements.maps import ElementMaps, SparseSpectra, map_elements
from ...analysis.quantification.geometry import Conditions
from ...errors import DataError
from ...sampling.factory import make_sampler
from ...sampling.learned.model import shipped_model
from ...spectra.axis import EnergyAxis
from ...spectra.io.maps import SpectrumMap, read_map
from ...spectra.physics.composition import atomic_number
from ...spectra.physics.detector import Detector
from ..figures import Figure, at_least, at_most, measured

__all__ = ["dacite_figures", "measure_dacite", "sparse_of"]

SOURCE = "p45/P45_12bit_packed_8bit.bcf"
JUDGE = "p45_dacite.npz"
ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "K", "Ca", "Ti", "Fe")
LINES_KEV = {"Na": 1.041, "Mg": 1.2536, "Al": 1.4867, "Si": 1.7398, "K": 3.313, "Ca": 3.691, "Fe": 6.403}
HALF_WINDOW_KEV = 0.07
TOP_KEV = 10.5
BEAM_KEV, TAKEOFF_DEG, RESOLUTION_EV = 15.0, 35.0, 130.0
Z90 = 1.644854
BIN = 4
"""Channels of 10 eV that are put together for the labels."""


def sparse_of(
    counts: NDArray[Any], axis: EnergyAxis, templates: NDArray[np.float64], fraction: float, seed: int
) -> tuple[SparseSpectra, NDArray[np.uint8]]:
    """Measure a part of a map's pixels, chosen by the learned sampler.

    Parameters
    ----------
    counts : (rows, columns, n_channels) array
    axis : EnergyAxis
    templates : (L, n_channels) float64
        Mean spectrum of each phase.
    fraction : float
    seed : int

    Returns
    -------
    sparse : SparseSpectra
    labels : (rows, columns) uint8
        Likeliest label of every pixel, as a full raster would have it.
    """
    rows, columns, n = counts.shape
    whole = n // BIN * BIN

    def binned(array: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(
            array[..., :whole].reshape(*array.shape[:-1], -1, BIN).sum(axis=-1), dtype=np.float64
        )

    shapes = binned(templates) + 1e-4
    shapes /= shapes.sum(axis=1, keepdims=True)
    labels = np.argmax(binned(counts).reshape(rows * columns, -1) @ np.log(shapes).T, axis=1) + 1
    present = tuple(range(1, len(templates) + 1))
    sampler = make_sampler("learned", (rows, columns), labels=present, model=shipped_model(), seed=seed)
    pixels: list[int] = []
    while len(pixels) < round(fraction * rows * columns):
        pixel = sampler.suggest()[0].pixel
        sampler.ingest(pixel, int(labels[pixel]))
        pixels.append(pixel)
    chosen = np.array(pixels, np.int64)
    sparse = SparseSpectra(
        counts.reshape(rows * columns, n)[chosen],
        axis,
        chosen,
        np.ones(len(chosen)),
        np.full(len(chosen), np.nan),
        labels[chosen],
        sampler.reconstruct(),
        tuple(f"phase {label}" for label in present),
    )
    return sparse, labels.reshape(rows, columns).astype(np.uint8)


def measure_dacite(
    data: Path, *, fraction: float = 0.1, seed: int = 0, progress: Callable[[str, float], None]
) -> dict[str, Any] | None:
    """Map the elements from a part of the pixels, without and with the BSE image as a guide.

    Returns
    -------
    dict or None
        ``rows``: for each element the correlation with the judge of the full raster, of the phase means, and of the
        maps; ``coverage``: part of the judge's pixels in the 90 % intervals. None without the files.
    """
    if not ((data / SOURCE).is_file() and (data / JUDGE).is_file()):
        return None
    source, judge = read_map(data / SOURCE), read_map(data / JUDGE)
    if judge.labels is None:
        raise DataError(f"{judge.path}: holds no segmentation")
    keep = int(np.searchsorted(source.axis.energies(), TOP_KEV))
    axis = EnergyAxis(source.axis.offset_kev, source.axis.width_kev, keep)
    counts = np.ascontiguousarray(source.counts[:, :, :keep])
    flat = judge.labels.ravel()
    templates = np.array([
        counts.reshape(-1, keep)[flat == label].mean(axis=0) for label in range(1, int(flat.max()) + 1)
    ])  # fmt: skip
    progress("dacite: sampling", 0.0)
    sparse, _ = sparse_of(counts, axis, templates, fraction, seed)
    conditions = Conditions(BEAM_KEV, TAKEOFF_DEG, detector=Detector(resolution_ev=RESOLUTION_EV))
    options: dict[str, Any] = {"elements": ELEMENTS, "ignored": ("C",)}
    progress("dacite: element maps", 0.3)
    plain = map_elements(sparse, conditions, **options)
    progress("dacite: with the BSE image", 0.6)
    guided = map_elements(sparse, conditions, image=_bse(data / SOURCE), **options)
    progress("dacite: the judge", 0.9)
    truth, truth_variance = _judged(judge, conditions, options)
    rows = []
    for symbol, energy in LINES_KEV.items():
        seen = _window(judge, energy).ravel()

        def correlation(values: NDArray[np.float64], seen: NDArray[np.float64] = seen) -> float:
            return float(np.corrcoef(values.ravel(), seen)[0, 1])

        net, variance = truth[symbol], truth_variance[symbol]
        rows.append(
            {
                "element": symbol,
                "full_raster": correlation(_window(source, energy)),
                "phase_means": correlation(_means(plain, symbol)),
                "maps": correlation(plain.intensity[plain.index(symbol)]),
                "maps_with_bse": correlation(guided.intensity[guided.index(symbol)]),
                "coverage": _covered(plain, symbol, net, variance),
                "coverage_with_bse": _covered(guided, symbol, net, variance),
            }
        )
    return {
        "fraction": fraction,
        "agreement_of_labels": float((sparse.labels == judge.labels).mean()),
        "rows": rows,
    }


def _bse(path: Path) -> NDArray[np.float64]:
    """Return the BSE image that stands in the same file."""
    from importlib import import_module

    for signal in import_module("rsciio.bruker").file_reader(str(path)):
        if signal["data"].ndim == 2 and signal["metadata"]["General"].get("title") == "BSE":
            return np.asarray(np.log(np.maximum(signal["data"].astype(np.float64), 1.0)))
    raise DataError(f"{path}: holds no BSE image")


def _window(found: SpectrumMap, energy_kev: float) -> NDArray[np.float64]:
    near = np.abs(found.axis.energies() - energy_kev) < HALF_WINDOW_KEV
    return np.asarray(found.counts[:, :, near].sum(axis=-1), dtype=np.float64)


def _means(maps: ElementMaps, symbol: str) -> NDArray[np.float64]:
    out = np.zeros(maps.labels.shape)
    for label, level in maps.levels.items():
        out[maps.labels == label] = level[maps.index(symbol)]
    return out


def _judged(
    judge: SpectrumMap, conditions: Conditions, options: dict[str, Any]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Net counts and their variance in each pixel of the judge."""
    assert judge.labels is not None
    n = judge.labels.size
    everything = SparseSpectra(
        judge.spectra,
        judge.axis,
        np.arange(n),
        np.ones(n),
        np.full(n, np.nan),
        judge.labels.ravel().astype(np.int64),
        judge.labels,
        tuple(f"phase {k}" for k in range(1, int(judge.labels.max()) + 1)),
    )
    maps = map_elements(everything, conditions, **options)
    totals = judge.spectra.sum(axis=1, dtype=np.float64)
    net = {symbol: np.full(n, np.nan) for symbol in maps.elements}
    variance = {symbol: np.full(n, np.nan) for symbol in maps.elements}
    for label, extraction in maps.extractions.items():
        inside = np.flatnonzero(everything.votes == label)
        found = extraction.counts(judge.spectra[inside])
        spread = extraction.variance(totals[inside])
        for symbol, line in zip(maps.elements, maps.lines, strict=True):
            for j, family in enumerate(extraction.families):
                if line == f"{symbol} {family[1]}" and family[0] == atomic_number(symbol):
                    net[symbol][inside], variance[symbol][inside] = found[:, j], spread[:, j]
    return net, variance


def _covered(
    maps: ElementMaps, symbol: str, net: NDArray[np.float64], variance: NDArray[np.float64]
) -> float:
    """Part of the inferred pixels whose second measurement lies in the 90 % interval, its own noise included."""
    e = maps.index(symbol)
    mean, sd = maps.intensity[e].ravel(), maps.intensity_sd[e].ravel()
    open_pixels = ~maps.measured.ravel() & np.isfinite(net) & np.isfinite(mean)
    scale = net[open_pixels].sum() / mean[open_pixels].sum()
    half = Z90 * np.sqrt((scale * sd[open_pixels]) ** 2 + variance[open_pixels])
    return float((np.abs(net[open_pixels] - scale * mean[open_pixels]) <= half).mean())


def dacite_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue."""
    out: list[Figure] = []
    for row in found["rows"]:
        symbol = row["element"]
        for key, title in (("maps", "maps"), ("maps_with_bse", "maps guided by BSE")):
            name = f"dacite, {symbol}, {title}: correlation with the second measurement"
            if symbol in ("Si", "Al", "Na", "Mg"):
                out.append(at_least(name, row[key], round(row["phase_means"], 3)))
            elif symbol in ("Ca", "Fe"):
                out.append(at_least(name, row[key], round(row["full_raster"], 3)))
            else:
                out.append(measured(name, row[key]))
    for key, title in (("coverage", "maps"), ("coverage_with_bse", "maps guided by BSE")):
        mean = 100 * float(np.mean([row[key] for row in found["rows"]]))
        name = f"dacite, {title}: second measurements inside the 90 % intervals"
        out += [at_least(name, mean, 85.0, "%"), at_most(name, mean, 95.0, "%")]
    return out
