"""Element maps of a measured dacite from a tenth of its pixels, judged by a second measurement of the same field.

The map with fewer counts (``p45/…12bit….bcf``, about 122 counts a pixel) is measured in a part of its pixels; the
other one (``p45_dacite.npz``, about 615) is the judge. Each phase's template is its mean spectrum in the map that is
measured, over the pixels of the segmentation in the npz; labels of measured pixels, choice of pixels and
reconstruction use the measured counts only. Pixels are chosen twice: for the map of the phases, and for the elements
whose maps are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agent_settings import AgentSettings
from ...analysis.elements.maps import ElementMaps, SparseSpectra, map_elements
from ...analysis.quantification.geometry import Conditions
from ...errors import DataError
from ...grid import ScanGrid
from ...spectra.axis import EnergyAxis
from ...spectra.io.maps import SpectrumMap, read_map
from ...spectra.physics.composition import atomic_number
from ...spectra.physics.detector import Detector
from ...spectra.physics.windows import element_windows
from ..figures import Figure, at_least, at_most, measured
from .element_sampling import driven

__all__ = ["WAYS", "dacite_figures", "measure_dacite", "sparse_of"]

SOURCE = "p45/P45_12bit_packed_8bit.bcf"
JUDGE = "p45_dacite.npz"
ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "K", "Ca", "Ti", "Fe")
LINES_KEV = {"Na": 1.041, "Mg": 1.2536, "Al": 1.4867, "Si": 1.7398, "K": 3.313, "Ca": 3.691, "Fe": 6.403}
HALF_WINDOW_KEV = 0.07
TOP_KEV = 10.5
BEAM_KEV, TAKEOFF_DEG, RESOLUTION_EV = 15.0, 35.0, 130.0
Z90 = 1.644854
WAYS: Mapping[str, str] = {
    "": "pixels for the phases",
    "_with_bse": "pixels for the phases, guided by BSE",
    "_chosen": "pixels for the elements",
    "_chosen_with_bse": "pixels for the elements, guided by BSE",
}
"""Endings of the keys of a row: for what the pixels were chosen, and whether the image guides the maps."""
BIN = 4
"""Channels of 10 eV that are put together for the labels."""


def sparse_of(
    counts: NDArray[Any],
    axis: EnergyAxis,
    templates: NDArray[np.float64],
    fraction: float,
    seed: int,
    elements: Sequence[str] = (),
) -> tuple[SparseSpectra, NDArray[np.uint8]]:
    """Measure a part of a map's pixels, chosen by the learned sampler or for the maps of some elements.

    Parameters
    ----------
    counts : (rows, columns, n_channels) array
    axis : EnergyAxis
    templates : (L, n_channels) float64
        Mean spectrum of each phase.
    fraction : float
    seed : int
    elements : sequence of str
        For whose maps the pixels are chosen; none: for the map of the phases.

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
    names = tuple(f"phase {label}" for label in range(1, len(templates) + 1))
    windows = {e: list(of) for e, of in element_windows(elements, axis, BEAM_KEV).items()} if elements else {}
    settings = AgentSettings(
        ScanGrid((rows, columns)), len(names), names, fraction, seed,
        more={"elements": windows} if windows else {},
    )  # fmt: skip
    agent, pixels = driven(settings, counts.reshape(rows * columns, n), lambda pixel: int(labels[pixel]))
    sparse = SparseSpectra(
        counts.reshape(rows * columns, n)[pixels],
        axis,
        pixels,
        np.ones(len(pixels)),
        np.full(len(pixels), np.nan),
        labels[pixels],
        agent.sampler.reconstruct(),
        names,
    )
    return sparse, labels.reshape(rows, columns).astype(np.uint8)


def measure_dacite(
    data: Path, *, fraction: float = 0.1, seed: int = 0, progress: Callable[[str, float], None]
) -> dict[str, Any] | None:
    """Map the elements from a part of the pixels, without and with the BSE image as a guide; see the module.

    Returns
    -------
    dict or None
        ``rows``: for each element the correlation with the judge of the full raster, of the phase means, and of the
        maps from pixels chosen for the phases (``maps``, with the image ``maps_with_bse``) and for the elements
        (``maps_chosen``, ``maps_chosen_with_bse``); ``coverage…``: part of the judge's pixels in the 90 % intervals
        of each. None without the files.
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
    conditions = Conditions(BEAM_KEV, TAKEOFF_DEG, detector=Detector(resolution_ev=RESOLUTION_EV))
    options: dict[str, Any] = {"elements": ELEMENTS, "ignored": ("C",)}
    image = _bse(data / SOURCE)
    maps: dict[str, ElementMaps] = {}
    agreement = {}
    for k, (name, chosen_for) in enumerate((("", ()), ("_chosen", tuple(LINES_KEV)))):
        progress("dacite: sampling" + (" for the elements" if chosen_for else ""), 0.45 * k)
        sparse, _ = sparse_of(counts, axis, templates, fraction, seed, chosen_for)
        agreement[name] = float((sparse.labels == judge.labels).mean())
        progress("dacite: element maps", 0.45 * k + 0.2)
        maps[name] = map_elements(sparse, conditions, **options)
        progress("dacite: with the BSE image", 0.45 * k + 0.3)
        maps[name + "_with_bse"] = map_elements(sparse, conditions, image=image, **options)
    progress("dacite: the judge", 0.9)
    truth, truth_variance = _judged(judge, conditions, options)
    rows = []
    for symbol, energy in LINES_KEV.items():
        seen = _window(judge, energy).ravel()

        def correlation(values: NDArray[np.float64], seen: NDArray[np.float64] = seen) -> float:
            return float(np.corrcoef(values.ravel(), seen)[0, 1])

        row: dict[str, Any] = {
            "element": symbol,
            "full_raster": correlation(_window(source, energy)),
            "phase_means": correlation(_means(maps[""], symbol)),
        }
        for name, one in maps.items():
            row["maps" + name] = correlation(one.intensity[one.index(symbol)])
            row["coverage" + name] = _covered(one, symbol, truth[symbol], truth_variance[symbol])
        rows.append(row)
    return {
        "fraction": fraction,
        "agreement_of_labels": agreement[""],
        "agreement_of_labels_chosen": agreement["_chosen"],
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
        for key, title in WAYS.items():
            name = f"dacite, {symbol}, {title}: correlation with the second measurement"
            if key.startswith("_chosen"):
                out.append(measured(name, row["maps" + key]))  # the goals are those of the map of the phases
            elif symbol in ("Si", "Al", "Na", "Mg"):
                out.append(at_least(name, row["maps" + key], round(row["phase_means"], 3)))
            elif symbol in ("Ca", "Fe"):
                out.append(at_least(name, row["maps" + key], round(row["full_raster"], 3)))
            else:
                out.append(measured(name, row["maps" + key]))
    for key, title in WAYS.items():
        mean = 100 * float(np.mean([row["coverage" + key] for row in found["rows"]]))
        name = f"dacite, {title}: second measurements inside the 90 % intervals"
        if key.startswith("_chosen"):
            out.append(measured(name, mean, "%"))
        else:
            out += [at_least(name, mean, 85.0, "%"), at_most(name, mean, 95.0, "%")]
    return out
