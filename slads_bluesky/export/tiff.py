"""The maps of a run as TIFF images: phases, measured pixels, probability, with the size of a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ..analysis.elements.maps import ElementMaps
from ..analysis.run_data import RunData
from ..files import atomic_write
from .about import image_note

__all__ = ["write_tiff"]


def write_tiff(data: RunData, path: Path, elements: ElementMaps | None = None) -> list[Path]:
    """Write ``NAME.tif``, the phase of each pixel, ``NAME.measured.tif`` and ``NAME.probability.tif``.

    A map that was guided by an image has ``NAME.image.tif``, too, float32 as recorded; its description
    says where it lies under the map.

    Phases are uint8, 1 … L as in the legend of the description, of the last recorded map; without one, of the
    measured pixels, 0 elsewhere. Measured pixels are 1, others 0. Probabilities are float32, NaN where unmeasured.

    Parameters
    ----------
    data : RunData
    path : Path
    elements : ElementMaps, optional
        For each, ``NAME.Fe.tif`` of four float32 pages: mass fraction and its standard deviation, intensity per
        second and its standard deviation. Which pixels are inferred, `NAME.measured.tif` says.
    """
    measured = data.measured
    reconstruction = data.reconstruction
    probability = np.full(data.grid.shape, np.nan, np.float32)
    probability.ravel()[data.pixels] = data.probabilities
    legend = ", ".join(f"{label} {phase}" for label, phase in enumerate(data.phases, start=1))
    phases = reconstruction if reconstruction is not None else np.maximum(measured, 0).astype(np.uint8)
    image = (
        []
        if data.image is None
        else [_write(data, path.with_suffix(f".image{path.suffix}"), data.image, image_note(data))]
    )
    written = [
        _write(data, path, phases, f"phases of run {data.uid}: {legend}"),
        _write(
            data, path.with_suffix(f".measured{path.suffix}"), (measured >= 0).astype(np.uint8), "measured"
        ),
        _write(data, path.with_suffix(f".probability{path.suffix}"), probability, "probability of the phase"),
        *image,
    ]
    planes = data.boundary_planes
    if planes:
        beside = path.with_suffix(f".sharp{path.suffix}")
        written.append(_write(data, beside, planes.pop("sharp"), f"sharp phases, deconvolved: {legend}"))
        about = "pages: " + ", ".join(planes)
        stack = np.stack([plane.astype(np.float32) for plane in planes.values()])
        written.append(_write(data, path.with_suffix(f".boundaries{path.suffix}"), stack, about))
    for e, symbol in enumerate(elements.elements if elements is not None else ()):
        assert elements is not None
        pages = np.stack(
            [
                elements.mass_fraction[e],
                elements.mass_fraction_sd[e],
                elements.intensity[e],
                elements.intensity_sd[e],
            ]
        ).astype(np.float32)
        title = f"{symbol}, {elements.lines[e]}: mass fraction, sd, counts per s, sd"
        written.append(_write(data, path.with_suffix(f".{symbol}{path.suffix}"), pages, title))
    return written


def _write(data: RunData, path: Path, image: Any, title: str) -> Path:
    dy, dx = data.grid.step_um
    with atomic_write(path) as partial:
        tifffile.imwrite(
            partial,
            image,
            photometric="minisblack",
            resolution=(1e4 / dx, 1e4 / dy),
            resolutionunit="CENTIMETER",
            description=title.encode("ascii", "replace").decode(),
        )
    return path
