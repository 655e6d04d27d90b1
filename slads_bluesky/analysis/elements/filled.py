"""The expected spectrum of every pixel, measured or not, computed when it is asked for.

The spectrum of a pixel is its phase's mean measured spectrum with the lines of each mapped element raised or lowered
to the pixel's expected intensity. It is inferred: nothing of it was measured there, and it holds no counting noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...spectra.physics.composition import atomic_number
from .maps import ElementMaps

if TYPE_CHECKING:
    import dask.array as da

__all__ = ["expected_spectra", "filled_spectra"]


def expected_spectra(maps: ElementMaps, pixels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Expected counts per second of live time of some pixels.

    Parameters
    ----------
    maps : ElementMaps
    pixels : (n,) integer array
        Flat indices.

    Returns
    -------
    (n, n_channels) float64
        0 in a phase that was not quantified.
    """
    labels = maps.labels.ravel()[pixels]
    out = np.zeros((len(pixels), maps.axis.n_channels))
    flat = maps.intensity.reshape(len(maps.elements), -1)
    for label, mean in maps.spectra.items():
        here = np.flatnonzero(labels == label)
        if not len(here):
            continue
        out[here] = mean
        extraction = maps.extractions[label]
        fit = maps.compositions[label].fit
        place = {family: i for i, family in enumerate(fit.families)}
        whole = float(fit.model.sum())
        level = maps.levels[label]
        n = extraction.lines.shape[1]
        for e, symbol in enumerate(maps.elements):
            if not np.isfinite(flat[e, pixels[here]]).all() or level[e] <= 0:
                continue
            change = flat[e, pixels[here]] / level[e] - 1.0
            for f, family in enumerate(extraction.families):
                if family[0] == atomic_number(symbol) and family in place:
                    # every family of the element follows the one that was mapped
                    rate = max(float(fit.counts[place[family]]), 0.0) / whole * float(mean.sum())
                    out[here, :n] += np.outer(change * rate, extraction.lines[f])
    return np.maximum(out, 0.0)


def filled_spectra(maps: ElementMaps, live_time_s: float = 1.0) -> da.Array:
    """Expected spectrum image, a row of the map at a time.

    Parameters
    ----------
    maps : ElementMaps
    live_time_s : float
        Live time for which the counts are expected.

    Returns
    -------
    (rows, columns, n_channels) dask array of float32
    """
    import dask.array as da

    rows, columns = maps.labels.shape
    n = maps.axis.n_channels

    def block(block_info: Any = None) -> NDArray[np.float32]:
        row = block_info[None]["array-location"][0][0]
        spectra = expected_spectra(maps, np.arange(row * columns, (row + 1) * columns))
        return (live_time_s * spectra)[None].astype(np.float32)

    return da.map_blocks(  # type: ignore[no-untyped-call,no-any-return]
        block,
        chunks=((1,) * rows, (columns,), (n,)),
        dtype=np.float32,
        meta=np.zeros((0, 0, 0), np.float32),
    )
