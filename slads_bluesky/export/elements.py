"""Element maps of a recorded map, and the arrays that every format writes of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.elements.maps import ElementMaps, element_maps
from ..analysis.quantification.standards import Standard
from ..analysis.run_data import RunData
from ..files import atomic_write
from ..images.files import read_image
from ..images.frames import check_frame
from ..progress import Progress, no_progress
from .conditions import conditions_of_map

__all__ = ["element_arrays", "maps_of_run", "read_guide", "write_element_table"]


def maps_of_run(
    data: RunData,
    elements: Sequence[str] | None = None,
    *,
    image: NDArray[np.generic] | None = None,
    oxygen: str = "measured",
    standards: Sequence[Standard] = (),
    progress: Progress = no_progress,
) -> ElementMaps:
    """Compute the element maps of a recorded map.

    Parameters
    ----------
    data : RunData
        With its spectra.
    elements : sequence of str, optional
        Symbols; default: those whose lines are found.
    image : (rows, columns) array, optional
        A guide of the same field, such as a BSE image.
    oxygen : {"measured", "stoichiometry"}
    standards : sequence of Standard
        For the compositions of the phases.
    progress : callable

    Raises
    ------
    ConfigError, DataError, RecordError
        Naming what is missing.
    """
    return element_maps(
        data,
        conditions_of_map(data),
        elements=elements,
        image=image,
        oxygen=oxygen,
        standards=standards,
        progress=progress,
    )


def read_guide(path: Path, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Read a guide image (.tif, .png, .npy) of a map of this shape; DataError naming the file."""
    return np.asarray(check_frame(read_image(path), shape, name=str(path)), dtype=np.float64)


def element_arrays(maps: ElementMaps) -> dict[str, NDArray[Any]]:
    """Arrays of all maps: names, lines, (E, rows, columns) values, and where they are inferred."""
    return {
        "element_names": np.array(maps.elements),
        "element_lines": np.array(maps.lines),
        "element_intensity_per_s": maps.intensity,
        "element_intensity_sd_per_s": maps.intensity_sd,
        "element_mass_fraction": maps.mass_fraction,
        "element_mass_fraction_sd": maps.mass_fraction_sd,
        "element_inferred": ~maps.measured,
    }


def write_element_table(data: RunData, maps: ElementMaps, path: Path) -> Path:
    """Write a line a pixel of the map, measured or inferred, as .csv."""
    names = [
        f"{symbol}_{what}"
        for symbol in maps.elements
        for what in ("intensity_per_s", "intensity_sd_per_s", "mass_fraction", "mass_fraction_sd")
    ]
    values = np.stack(
        [maps.intensity, maps.intensity_sd, maps.mass_fraction, maps.mass_fraction_sd], axis=1
    ).reshape(len(names), -1)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "column", "x_um", "y_um", "phase", "inferred", *names])
        for pixel in range(maps.labels.size):
            row, column = data.grid.row_column(pixel)
            label = int(maps.labels.flat[pixel])
            writer.writerow(
                [
                    row,
                    column,
                    *map(float, data.grid.position(pixel)),
                    maps.name_of(label),
                    int(not maps.measured.flat[pixel]),
                    *(f"{value:.6g}" for value in values[:, pixel]),
                ]
            )
    return path
