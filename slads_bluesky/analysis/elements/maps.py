"""Element maps of a map that was measured in few pixels: expected intensity and mass fraction everywhere.

In a measured pixel the evidence is its own counts and those of its neighbours; elsewhere the neighbours of the same
phase. Where the data show no variation inside a phase, the phase's mean is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...errors import ConfigError, DataError, RecordError
from ...progress import Progress, no_progress
from ...randomfield import Variation, VariationFinder, interpolate
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import atomic_number
from ..quantification.geometry import Conditions
from ..quantification.identify import identify_elements
from ..quantification.oxides import OXYGEN, oxygen_per_mass, valences_of
from ..quantification.quantify import quantify
from ..quantification.result import Quantification
from ..run_data import RunData
from .intensities import Extraction, extraction_of

__all__ = ["ElementMaps", "SparseSpectra", "element_maps", "map_elements"]

LEAST_PHASE_COUNTS = 1000
BOUNDARY_NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class SparseSpectra:
    """Spectra of some pixels of a map, and the phase of every pixel.

    Parameters
    ----------
    spectra : (N, n_channels) integer or float array
    axis : EnergyAxis
    pixels : (N,) int64
        Flat index of each.
    live_time_s : (N,) float64
        NaN counts as 1 s.
    dose_nc : (N,) float64
        NaN where unknown.
    votes : (N,) int64
        Label of each spectrum, 0 where it is not surely of one phase.
    labels : (rows, columns) uint8
        Phase of every pixel, 1 … L.
    phases : tuple of str
    """

    spectra: NDArray[Any]
    axis: EnergyAxis
    pixels: NDArray[np.int64]
    live_time_s: NDArray[np.float64]
    dose_nc: NDArray[np.float64]
    votes: NDArray[np.int64]
    labels: NDArray[np.uint8]
    phases: tuple[str, ...]

    def in_order(self) -> SparseSpectra:
        """Return the same, ordered by pixel: neighbours at equal distances are then always the same ones."""
        order = np.argsort(self.pixels, kind="stable")
        return replace(
            self,
            spectra=self.spectra[order],
            pixels=self.pixels[order],
            live_time_s=self.live_time_s[order],
            dose_nc=self.dose_nc[order],
            votes=self.votes[order],
        )

    @classmethod
    def of_run(cls, data: RunData) -> SparseSpectra:
        """Those of a recorded map; RecordError if it has no spectra, energy calibration or reconstruction."""
        spectra = data.calibrated_spectra()
        labels = data.reconstruction
        if labels is None:
            raise RecordError(f"run {data.uid[:8]} has no reconstructed map")
        axis = EnergyAxis(data.energy_offset_kev, data.energy_width_kev, spectra.shape[1])
        return cls(
            spectra, axis, data.pixels, data.live_time_s, data.dose_nc, data.votes, labels, data.phases
        )


@dataclass(frozen=True, eq=False)
class ElementMaps:
    """Maps of E elements.

    Parameters
    ----------
    elements : tuple of str
        Symbols.
    lines : tuple of str
        Line family of each, such as ``"Fe K"``; ``"stoichiometry"`` for oxygen that was computed.
    intensity, intensity_sd : (E, rows, columns) float64
        Expected net counts per second of live time, and standard deviation; NaN for oxygen that was computed.
    mass_fraction, mass_fraction_sd : (E, rows, columns) float64
        The standard deviation holds the phase's systematic part.
    measured : (rows, columns) bool
        Pixels that were measured; all others are inferred.
    labels : (rows, columns) uint8
    phases : tuple of str
    compositions : mapping
        By label: quantification of the phase's sum.
    variations : mapping
        By label and symbol: what was found of the variation of the intensity.
    levels : mapping
        By label: (E,) mean intensity of the spectra whose sum was quantified.
    extractions : mapping
        By label: the estimator of its pixels' intensities.
    spectra : mapping
        By label: (n_channels,) mean measured counts per second of live time.
    axis : EnergyAxis
    """

    elements: tuple[str, ...]
    lines: tuple[str, ...]
    intensity: NDArray[np.float64]
    intensity_sd: NDArray[np.float64]
    mass_fraction: NDArray[np.float64]
    mass_fraction_sd: NDArray[np.float64]
    measured: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    phases: tuple[str, ...]
    compositions: Mapping[int, Quantification]
    variations: Mapping[tuple[int, str], Variation]
    levels: Mapping[int, NDArray[np.float64]]
    extractions: Mapping[int, Extraction]
    spectra: Mapping[int, NDArray[np.float64]]
    axis: EnergyAxis

    def index(self, symbol: str) -> int:
        """Place of an element; ConfigError if there is no map of it."""
        if symbol not in self.elements:
            raise ConfigError(f"there is no map of {symbol!r}; there are {', '.join(self.elements)}")
        return self.elements.index(symbol)

    def name_of(self, label: int) -> str:
        """Name of a phase."""
        return self.phases[label - 1] if 0 < label <= len(self.phases) else f"phase {label}"


def element_maps(
    data: RunData,
    conditions: Conditions,
    *,
    elements: Sequence[str] | None = None,
    image: NDArray[np.generic] | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> ElementMaps:
    """Compute element maps of a recorded map; see `map_elements`."""
    return map_elements(
        SparseSpectra.of_run(data), conditions, elements=elements, image=image, progress=progress, **options
    )


def map_elements(
    sparse: SparseSpectra,
    conditions: Conditions,
    *,
    elements: Sequence[str] | None = None,
    image: NDArray[np.generic] | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> ElementMaps:
    """Compute element maps from few measured pixels.

    Parameters
    ----------
    sparse : SparseSpectra
    conditions : Conditions
    elements : sequence of str, optional
        Symbols; default: those whose lines are found in the sum of any phase.
    image : (rows, columns) array, optional
        A guide of the same field that is known everywhere, such as a backscattered-electron image: pixels that look
        alike in it are taken to be alike, as far as the measured pixels bear it out.
    progress : callable
        Called as ``progress(stage, fraction)``.
    **options
        Of `quantify`: ``standards``, ``oxygen``, ``valences``, ``ignored``, ``lines``.

    Returns
    -------
    ElementMaps

    Raises
    ------
    ConfigError, DataError
        Naming what cannot be.
    """
    sparse = sparse.in_order()
    shape = sparse.labels.shape
    guide = _guide(image, shape)
    sums = _phase_sums(sparse)
    if not sums:
        raise DataError(f"no phase has {LEAST_PHASE_COUNTS} counts to quantify")
    wanted, aside = _elements(sparse, sums, conditions, elements, options)
    compositions: dict[int, Quantification] = {}
    extractions: dict[int, Extraction] = {}
    for k, (label, counts) in enumerate(sums.items()):
        progress("compositions of the phases", 0.5 * k / len(sums))
        which = sparse.votes == label
        dose = float(np.nansum(sparse.dose_nc[which]))
        own = replace(conditions, dose_nc=dose if dose > 0 else None)
        compositions[label] = quantify(
            counts, sparse.axis, own, **{**options, "elements": wanted, "ignored": aside}
        )
        extractions[label] = extraction_of(compositions[label], own)
    symbols = tuple(e.symbol for e in next(iter(compositions.values())).elements)
    families = _families(compositions, symbols)
    n = len(symbols)
    intensity, variance = np.full((n, *shape), np.nan), np.full((n, *shape), np.nan)
    mass, mass_sd = np.full((n, *shape), np.nan), np.full((n, *shape), np.nan)
    live = np.where(np.isfinite(sparse.live_time_s) & (sparse.live_time_s > 0), sparse.live_time_s, 1.0)
    totals = sparse.spectra.sum(axis=1, dtype=np.float64)
    grid = np.stack(np.divmod(np.arange(sparse.labels.size), shape[1]), axis=1).astype(np.float64)
    points = grid if guide is None else np.column_stack([grid, guide.ravel()])
    variations: dict[tuple[int, str], Variation] = {}
    means: dict[int, NDArray[np.float64]] = {}
    for k, (label, found) in enumerate(compositions.items()):
        progress("variation inside the phases", 0.5 + 0.5 * k / len(compositions))
        inside = np.flatnonzero(sparse.labels.ravel() == label)
        of_phase = np.flatnonzero(sparse.votes == label)
        extraction = extractions[label]
        net = extraction.counts(sparse.spectra[of_phase]) / live[of_phase, None]
        noise = extraction.variance(totals[of_phase]) / live[of_phase, None] ** 2
        spread = noise / np.maximum(totals[of_phase, None], 1.0) * live[of_phase, None]
        # the noise of a pixel by the phase's mean rate: a pixel's own count says less of its own variance
        rate = float(totals[of_phase].sum() / live[of_phase].sum())
        noise = spread * rate
        at = points[sparse.pixels[of_phase]]
        finder = VariationFinder(at)
        level = np.zeros(n)
        for e, symbol in enumerate(symbols):
            family = families[symbol]
            if family is None or family not in extraction.families:
                continue
            j = extraction.families.index(family)
            variation = finder.find(net[:, j], noise[:, j])
            variations[label, symbol] = variation
            mean, var = interpolate(at, net[:, j], noise[:, j], variation, points[inside])
            intensity[e].ravel()[inside] = mean
            variance[e].ravel()[inside] = var
            # of the spectra whose sum gave the composition, not of the field
            level[e] = float(net[:, j] @ live[of_phase] / live[of_phase].sum())
        means[label] = level
        _mass_fractions(found, symbols, level, inside, intensity, variance, mass, mass_sd, options)
    _blur_boundaries(sparse, means, symbols, variance)
    measured = np.zeros(shape, bool)
    measured.ravel()[sparse.pixels] = True
    lines = tuple(
        f"{symbol} {families[symbol][1]}" if families[symbol] is not None else "stoichiometry"  # type: ignore[index]
        for symbol in symbols
    )
    return ElementMaps(
        symbols,
        lines,
        np.maximum(intensity, 0.0),
        np.sqrt(variance),
        mass,
        mass_sd,
        measured,
        sparse.labels,
        sparse.phases,
        compositions,
        variations,
        means,
        extractions,
        {label: counts / live[sparse.votes == label].sum() for label, counts in sums.items()},
        sparse.axis,
    )


def _guide(image: NDArray[np.generic] | None, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return the guide image in its standard deviations."""
    if image is None:
        return None
    values = np.asarray(image, dtype=np.float64)
    if values.shape != shape:
        raise ConfigError(f"guide image: shape {values.shape}, the map has {shape}")
    if not np.isfinite(values).all():
        raise ConfigError("guide image: holds values that are not finite")
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 0 else None


def _phase_sums(sparse: SparseSpectra) -> dict[int, NDArray[np.float64]]:
    out = {}
    for label in np.unique(sparse.votes[sparse.votes > 0]):
        counts = sparse.spectra[sparse.votes == label].sum(axis=0, dtype=np.float64)
        if counts.sum() >= LEAST_PHASE_COUNTS:
            out[int(label)] = counts
    return out


def _elements(
    sparse: SparseSpectra,
    sums: Mapping[int, NDArray[np.float64]],
    conditions: Conditions,
    given: Sequence[str] | None,
    options: Mapping[str, Any],
) -> tuple[list[str], list[str]]:
    """Elements to map, and those whose lines are fitted but do not count."""
    aside = list(options.get("ignored") or ())
    if given is not None:
        return list(given), aside
    found: set[str] = set()
    for counts in sums.values():
        try:
            found.update(identify_elements(counts, sparse.axis, conditions))
        except DataError:
            continue
    if "C" in found and len(found) > 1 and not aside:
        aside = ["C"]
    wanted = sorted(found - set(aside), key=atomic_number)
    if not wanted:
        raise DataError("no line of any element stands out in the phases; name the elements")
    return wanted, aside


def _families(
    compositions: Mapping[int, Quantification], symbols: Sequence[str]
) -> dict[str, tuple[int, str] | None]:
    """One line family an element for the whole map: that of the phase which has most counts of it."""
    out: dict[str, tuple[int, str] | None] = {}
    for symbol in symbols:
        rows = [q[symbol] for q in compositions.values()]
        best = max(rows, key=lambda row: row.counts * row.detected)
        out[symbol] = None if best.line == "stoichiometry" else (atomic_number(symbol), best.line)
    return out


def _mass_fractions(
    found: Quantification,
    symbols: Sequence[str],
    level: NDArray[np.float64],
    inside: NDArray[np.intp],
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    mass: NDArray[np.float64],
    mass_sd: NDArray[np.float64],
    options: Mapping[str, Any],
) -> None:
    """Mass fractions in the pixels of a phase: its composition × the local intensities over their means."""
    composition = np.array([found[symbol].mass_fraction for symbol in symbols])
    systematic = np.array([found[symbol].mass_fraction_sd for symbol in symbols])
    local = intensity.reshape(len(symbols), -1)[:, inside]
    spread = np.sqrt(variance.reshape(len(symbols), -1)[:, inside])
    ok = (level > 0) & (composition > 0)
    ratio = np.where(ok[:, None], np.maximum(local, 0.0) / np.where(ok, level, 1.0)[:, None], 1.0)
    relative = np.where(ok[:, None], spread / np.where(ok, level, 1.0)[:, None], 0.0)
    raw = composition[:, None] * ratio
    random = composition[:, None] * relative
    by_valence = [found[symbol].line == "stoichiometry" for symbol in symbols]
    if any(by_valence):
        numbers = [atomic_number(symbol) for symbol in symbols]
        cations = tuple(z for z in numbers if z != OXYGEN)
        valences = valences_of(cations, options.get("valences"))
        weights = np.array([oxygen_per_mass(z, valences[z]) if z in valences else 0.0 for z in numbers])
        o = by_valence.index(True)
        raw[o] = weights @ raw
        random[o] = np.sqrt((weights**2) @ random**2)
    if found.analytical_total is None or options.get("normalise"):
        total = np.maximum(raw.sum(axis=0), 1e-12)
        raw, random = raw / total, random / total
        random = np.sqrt(((1.0 - raw) * random) ** 2 + raw**2 * ((random**2).sum(axis=0) - random**2))
    mass.reshape(len(symbols), -1)[:, inside] = raw
    mass_sd.reshape(len(symbols), -1)[:, inside] = np.hypot(random, systematic[:, None])


def _blur_boundaries(
    sparse: SparseSpectra,
    means: Mapping[int, NDArray[np.float64]],
    symbols: Sequence[str],
    variance: NDArray[np.float64],
) -> None:
    """Add to the variance of inferred pixels what another phase there would change.

    The chance of another phase is its share among the nearest measured pixels, weighted by 1/d².
    """
    if len(means) < 2:
        return
    votes = np.flatnonzero(sparse.votes > 0)
    rows, columns = sparse.labels.shape
    known = np.zeros(rows * columns, bool)
    known[sparse.pixels] = True
    open_pixels = np.flatnonzero(~known)
    if not (len(votes) and len(open_pixels)):
        return
    places = np.stack(np.divmod(sparse.pixels[votes], columns), axis=1).astype(np.float64)
    at = np.stack(np.divmod(open_pixels, columns), axis=1).astype(np.float64)
    k = min(BOUNDARY_NEIGHBOURS, len(votes))
    distance, index = cKDTree(places).query(at, k=k)
    distance, index = distance.reshape(-1, k), index.reshape(-1, k)
    weight = 1.0 / np.maximum(distance, 0.5) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    labels = sparse.labels.ravel()[open_pixels]
    near = sparse.votes[votes][index]
    flat = variance.reshape(len(symbols), -1)
    # half of the share: most pixels beside a boundary are of the phase that the reconstruction gives them
    for label, level in means.items():
        chance = 0.5 * (weight * (near == label)).sum(axis=1)
        for own, own_level in means.items():
            if own != label:
                here = labels == own
                flat[:, open_pixels[here]] += chance[here] * ((level - own_level) ** 2)[:, None]
