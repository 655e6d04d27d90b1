"""A map for scripts: all arrays in one .npz, or one line a pixel in a .csv."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.elements.maps import ElementMaps
from ..analysis.run_data import RunData
from ..files import atomic_write
from ..metadata import json_text
from .elements import element_arrays, write_element_table

__all__ = ["write_csv", "write_npz"]


def write_npz(data: RunData, path: Path, elements: ElementMaps | None = None) -> list[Path]:
    """Write every array of a map; no pickled objects.

    Keys: ``pixels``, ``x_um``, ``y_um``, ``spectra``, ``labels``, ``probabilities``, ``verdicts``, ``erd``,
    ``live_time_s``, ``real_time_s``, ``dose_nC``, ``times`` (N, …); ``measured`` and, if recorded,
    ``reconstruction``, ``image``, ``sharp`` and ``sharp_uncertainty`` (rows, columns), ``area_fractions``
    (L, rows, columns), and where the image was used ``image_displacement`` (y, x): the map's pixel (r, c) lies at
    (r + y, c + x) in it; ``energies_keV``; ``phases``; ``grid`` and ``start`` as JSON text; with element maps
    ``element_names``, ``element_mass_fraction`` … (`elements.element_arrays`).
    """
    arrays: dict[str, NDArray[Any]] = {
        "pixels": data.pixels,
        "x_um": data.position_um[:, 0],
        "y_um": data.position_um[:, 1],
        "labels": data.labels,
        "probabilities": data.probabilities,
        "verdicts": data.verdicts,
        "erd": data.erd,
        "live_time_s": data.live_time_s,
        "real_time_s": data.real_time_s,
        "dose_nC": data.dose_nc,
        "times": data.times,
        "measured": data.measured,
        "energies_keV": data.energies_kev,
        "phases": np.array(data.phases),
        "grid": np.array(json.dumps(data.grid.to_json())),
        "start": np.array(json_text(data.start)),
    }
    if data.spectra is not None:
        arrays["spectra"] = data.spectra
    if data.reconstruction is not None:
        arrays["reconstruction"] = data.reconstruction
    arrays |= data.boundary_maps
    if elements is not None:
        arrays |= element_arrays(elements)
    if data.image is not None:
        arrays["image"] = data.image
    if data.image_displacement is not None:
        arrays["image_displacement"] = np.array(data.image_displacement)
    with atomic_write(path) as partial:
        np.savez_compressed(partial, allow_pickle=False, **arrays)
    return [path]


def write_csv(data: RunData, path: Path, elements: ElementMaps | None = None) -> list[Path]:
    """Write one line a measured pixel, in their order, without the spectra; elements of all pixels beside it."""
    counts = data.spectra.sum(axis=1) if data.spectra is not None else np.full(data.n_measured, -1)
    with atomic_write(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "number",
                "pixel",
                "row",
                "column",
                "x_um",
                "y_um",
                "label",
                "phase",
                "probability",
                "verdict",
                "erd",
                "counts",
                "live_time_s",
                "real_time_s",
                "dose_nC",
                "time",
            ]
        )
        for i, pixel in enumerate(data.pixels):
            row, column = data.grid.row_column(int(pixel))
            label = int(data.labels[i])
            phase = data.phases[label - 1] if 0 < label <= len(data.phases) else ""
            writer.writerow(
                [
                    i + 1,
                    int(pixel),
                    row,
                    column,
                    *data.position_um[i].tolist(),
                    label,
                    phase,
                    float(data.probabilities[i]),
                    data.verdicts[i],
                    float(data.erd[i]),
                    int(counts[i]),
                    float(data.live_time_s[i]),
                    float(data.real_time_s[i]),
                    float(data.dose_nc[i]),
                    float(data.times[i]),
                ]
            )
    if elements is None:
        return [path]
    return [path, write_element_table(data, elements, path.with_suffix(".elements.csv"))]
