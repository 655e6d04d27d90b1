"""A map as NeXus: application definition NXem, spectra as a stack, the maps as NXdata."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..analysis.elements.maps import ElementMaps
from ..analysis.run_data import RunData
from ..files import atomic_write
from ..metadata import json_text
from ..simulated import simulated_object
from .about import acquisition, elements_of, image_extents, image_note

__all__ = ["write_nexus"]

DEFINITION_VERSION = "v2024.02"
CHUNK = 64
"""Spectra to a chunk of the file."""


def write_nexus(data: RunData, path: Path, elements: ElementMaps | None = None) -> list[Path]:
    """Write a map as one NXem entry.

    ``/entry/measurement/event1/spectrum1/stack_0d`` holds the measured spectra (N, channels) with, beside them,
    position, pixel, label, probability, live and real time and dose of each; ``/entry/map`` (the default plot)
    the reconstruction, the mask ``measured`` and the live time of each pixel. The frame that was recorded before the
    map is ``/entry/measurement/event1/image1/image_2d``; its axes have the map's coordinates, by the displacement
    that was found (``displacement``, pixels along y and x).

    Parameters
    ----------
    data : RunData
    path : Path
    elements : ElementMaps, optional
        Into ``/entry/elements``, an NXdata with mass fraction, intensity and standard deviations of each element, and
        the mask ``inferred``.

    Raises
    ------
    RecordError
        If the map has no spectra or no energy calibration.
    """
    spectra = data.calibrated_spectra()
    start = data.start
    ended = data.stop["time"] if data.stop else float(data.times[-1])
    with atomic_write(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update({"NX_class": "NXroot", "default": "entry", "creator": "slads-bluesky"})
        entry = _group(file, "entry", "NXentry", default="map")
        _field(entry, "definition", "NXem").attrs["version"] = DEFINITION_VERSION
        _field(entry, "start_time", _iso(start["time"]))
        _field(entry, "end_time", _iso(ended))
        _field(entry, "experiment_alias", data.uid)
        _field(
            entry, "experiment_description", f"{start.get('plan_name')}, {data.n_measured} measured pixels"
        )
        profiling = _group(entry, "profiling", "NXcs_profiling")
        program = _group(profiling, "program1", "NXprogram")
        recorded = start.get("versions", {}).get("slads-bluesky") or version("slads-bluesky")
        _field(program, "program", "slads-bluesky").attrs["version"] = recorded
        _sample(entry, data)
        measurement = _group(entry, "measurement", "NXem_measurement")
        _instrument(measurement, data)
        event = _group(measurement, "event1", "NXem_event_data")
        _field(event, "start_time", _iso(start["time"]))
        _field(event, "end_time", _iso(ended))
        _settings(event, data)
        _spectra(_group(event, "spectrum1", "NXspectrum"), data, spectra)
        if data.image is not None:
            _image(_group(event, "image1", "NXimage"), data, data.image)
        _maps(entry, data)
        if elements is not None:
            _elements(entry, data, elements)
        note = _group(entry, "start_document", "NXnote")
        _field(note, "type", "application/json")
        _field(note, "data", np.bytes_(json_text(start).encode()))
    return [path]


def _sample(entry: Any, data: RunData) -> None:
    sample = _group(entry, "sample1", "NXsample")
    _field(sample, "name", str(data.start.get("sample", data.uid)))
    _field(sample, "is_simulation", simulated_object(data.start) is not None)
    _field(sample, "atom_types", ", ".join(elements_of(data)) or "unknown")
    prepared = data.start.get("preparation_date")
    _field(sample, "preparation_date", str(prepared) if prepared is not None else _iso(data.start["time"]))
    if prepared is None:
        _field(
            sample,
            "description",
            "preparation_date was not recorded: it is the begin of the run, the latest it can be",
        )


def _instrument(measurement: Any, data: RunData) -> None:
    instrument = _group(measurement, "instrument", "NXem_instrument")
    simulated = (
        "simulated microscope" if simulated_object(data.start) is not None else "scanning electron microscope"
    )
    _field(instrument, "name", str(data.start.get("instrument", simulated)))
    fabrication = _group(instrument, "fabrication", "NXfabrication")
    _field(fabrication, "vendor", str(data.start.get("instrument_vendor", "not recorded")))
    _field(fabrication, "model", str(data.start.get("instrument_model", "not recorded")))
    _group(instrument, "ebeam_column", "NXebeam_column")
    detector = _group(instrument, "detector1", "NXdetector")
    _field(detector, "name", (data.start.get("detectors") or ["eds"])[0])


def _settings(event: Any, data: RunData) -> None:
    settings = acquisition(data)
    instrument = _group(event, "instrument", "NXem_instrument")
    source = _group(_group(instrument, "ebeam_column", "NXebeam_column"), "electron_source", "NXsource")
    if "beam_energy" in settings:
        _field(source, "voltage", settings["beam_energy"] * 1e3, "V")
    optics = _group(instrument, "optics", "NXem_optical_system")
    if "beam_current" in settings:
        _field(optics, "probe_current", settings["beam_current"] * 1e-9, "A")
    if "magnification" in settings:
        _field(optics, "magnification", settings["magnification"])
    if "working_distance" in settings:
        _field(optics, "working_distance", settings["working_distance"] * 1e-3, "m")


def _spectra(spectrum: Any, data: RunData, spectra: NDArray[Any]) -> None:
    stack = _group(spectrum, "stack_0d", "NXdata")
    stack.attrs.update(
        {
            "signal": "intensity",
            "axes": ["indices_spectrum", "axis_energy"],
            "indices_spectrum_indices": np.uint32(0),
            "axis_energy_indices": np.uint32(1),
        }
    )
    n, channels = spectra.shape
    counts = stack.create_dataset(
        "intensity",
        data=spectra,
        chunks=(min(CHUNK, n), channels),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
    )
    counts.attrs["long_name"] = "counts"
    _field(stack, "indices_group", np.zeros(n, np.int64)).attrs["long_name"] = "group"
    _field(stack, "indices_spectrum", np.arange(n)).attrs["long_name"] = "number of the measurement"
    _field(stack, "axis_energy", data.energies_kev, "keV").attrs["long_name"] = "X-ray energy (keV)"
    for name, values, units in (
        ("pixel", data.pixels, ""),
        ("x", data.position_um[:, 0], "µm"),
        ("y", data.position_um[:, 1], "µm"),
        ("label", data.labels, ""),
        ("probability", data.probabilities, ""),
        ("live_time", data.live_time_s, "s"),
        ("real_time", data.real_time_s, "s"),
        ("dose", data.dose_nc * 1e-9, "C"),
    ):
        _field(stack, name, values, units)
    _field(stack, "verdict", data.verdicts.tolist())


def _image(image: Any, data: RunData, frame: NDArray[np.float32]) -> None:
    group = _group(image, "image_2d", "NXdata")
    group.attrs.update(
        {
            "signal": "real",
            "axes": ["axis_j", "axis_i"],
            "axis_j_indices": np.uint32(0),
            "axis_i_indices": np.uint32(1),
        }
    )
    _field(group, "real", frame).attrs["long_name"] = image_note(data)
    for name, along, ends, n in zip(
        ("axis_j", "axis_i"), ("y", "x"), image_extents(data), frame.shape, strict=True
    ):
        _field(group, name, np.linspace(*ends, n), "µm").attrs["long_name"] = f"{along} of the map (µm)"
    if data.image_displacement is not None:
        _field(group, "displacement", np.array(data.image_displacement), "pixel")


def _maps(entry: Any, data: RunData) -> None:
    maps = _group(entry, "map", "NXdata")
    reconstruction = data.reconstruction
    maps.attrs.update(
        {
            "signal": "reconstruction" if reconstruction is not None else "measured_label",
            "axes": ["y", "x"],
            "auxiliary_signals": ["measured", "live_time"],
        }
    )
    (y0, y1), (x0, x1) = data.grid.extents_um
    rows, columns = data.grid.shape
    _field(maps, "y", np.linspace(y0, y1, rows), "µm")
    _field(maps, "x", np.linspace(x0, x1, columns), "µm")
    if reconstruction is not None:
        _field(maps, "reconstruction", reconstruction).attrs["long_name"] = "phase, " + ", ".join(
            f"{label} {phase}" for label, phase in enumerate(data.phases, start=1)
        )
    for name, plane in data.boundary_planes.items():
        _field(maps, re.sub(r"[^A-Za-z0-9_.]", "_", name), plane)
    _field(maps, "measured", (data.measured >= 0).astype(np.uint8))
    _field(maps, "measured_label", data.measured)
    live = np.zeros(data.grid.shape)
    live.ravel()[data.pixels] = data.live_time_s
    _field(maps, "live_time", live, "s")


def _elements(entry: Any, data: RunData, elements: ElementMaps) -> None:
    group = _group(entry, "elements", "NXdata")
    names = [f"{symbol}_mass_fraction" for symbol in elements.elements]
    group.attrs.update({"signal": names[0], "axes": ["y", "x"], "auxiliary_signals": names[1:]})
    (y0, y1), (x0, x1) = data.grid.extents_um
    rows, columns = data.grid.shape
    _field(group, "y", np.linspace(y0, y1, rows), "µm")
    _field(group, "x", np.linspace(x0, x1, columns), "µm")
    _field(group, "inferred", (~elements.measured).astype(np.uint8)).attrs["long_name"] = (
        "1 where nothing was measured"
    )
    for e, symbol in enumerate(elements.elements):
        field = _field(group, f"{symbol}_mass_fraction", elements.mass_fraction[e])
        field.attrs["long_name"] = f"{elements.lines[e]}, mass fraction"
        _field(group, f"{symbol}_mass_fraction_errors", elements.mass_fraction_sd[e])
        _field(group, f"{symbol}_intensity", elements.intensity[e], "1/s")
        _field(group, f"{symbol}_intensity_errors", elements.intensity_sd[e], "1/s")


def _group(parent: Any, name: str, nx_class: str, **attributes: str) -> Any:
    group = parent.create_group(name)
    group.attrs.update({"NX_class": nx_class, **attributes})
    return group


def _field(parent: Any, name: str, value: Any, units: str = "") -> Any:
    field = parent.create_dataset(name, data=value)
    if units:
        field.attrs["units"] = units
    return field


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
