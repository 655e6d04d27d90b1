"""A map for HyperSpy and eXSpy: a dense signal with its mask, and a list of the spectra that were measured.

The .hspy files are written by rosettasciio, GPL-3 and hence an extra: ``pip install slads-bluesky[hyperspy]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slads_bluesky.errors import ConfigError

from ..analysis.elements.filled import filled_spectra
from ..analysis.elements.maps import ElementMaps
from ..analysis.run_data import RunData
from ..files import atomic_write
from ..metadata import json_text
from .about import acquisition, elements_of, image_extents, image_note

__all__ = ["write_hyperspy"]


def write_hyperspy(data: RunData, path: Path, elements: ElementMaps | None = None) -> list[Path]:
    """Write ``NAME.hspy`` and ``NAME.measured.hspy`` (or ``.zspy``).

    The first is (rows, columns, channels), zero where nothing was measured; its original metadata hold the mask
    ``measured``, live time, real time, dose, label and probability of each pixel. The second is (N, channels)
    with the same as lists. HyperSpy multiplies one live time by the number of pixels that it adds up: both carry
    the mean that makes ``s.sum()`` come out with the time that was really measured. A map with an image has
    ``NAME.image.hspy``, too: a signal whose axes have the map's coordinates, by the displacement that was found.

    Parameters
    ----------
    data : RunData
    path : Path
        Ends in ``.hspy`` (HDF5) or ``.zspy`` (zarr).
    elements : ElementMaps, optional
        Written as maps into the first file's original metadata, and as ``NAME.filled.hspy``: the expected spectrum of
        every pixel at the mean live time of the measured ones. Its title and metadata say that it is inferred.

    Raises
    ------
    ConfigError
        If rosettasciio is not installed and a ``.hspy`` was asked for.
    RecordError
        If the map has no spectra or no energy calibration.
    """
    spectra = data.calibrated_spectra()
    write = _hspy if path.suffix == ".hspy" else _zspy
    listed = path.with_suffix(f".measured{path.suffix}")
    signals = [(path, _dense(data, spectra, elements)), (listed, _listed(data, spectra))]
    if data.image is not None:
        signals.append((path.with_suffix(f".image{path.suffix}"), _image(data, data.image)))
    if elements is not None:
        signals.append((path.with_suffix(f".filled{path.suffix}"), _filled(data, elements)))
    for target, signal in signals:
        with atomic_write(target) as partial:
            write(partial, signal)
    return [target for target, _ in signals]


def _hspy(path: Path, signal: dict[str, Any]) -> None:
    try:
        import rsciio.hspy
    except ImportError:
        raise ConfigError(
            ".hspy files need the package rosettasciio: pip install 'slads-bluesky[hyperspy]'; "
            ".zspy files do not"
        ) from None
    rsciio.hspy.file_writer(str(path), signal, show_progressbar=False)


def _zspy(path: Path, signal: dict[str, Any]) -> None:
    from .zspy import write_zspy

    write_zspy(path, signal)


def _dense(data: RunData, spectra: NDArray[Any], elements: ElementMaps | None) -> dict[str, Any]:
    import dask.array as da

    rows, columns = data.grid.shape
    n = spectra.shape[1]
    place = np.full(rows * columns, -1)
    place[data.pixels] = np.arange(data.n_measured)

    def block(block_info: Any = None) -> Any:  # one row of the map: never the whole at once
        row = block_info[None]["array-location"][0][0]
        which = place[row * columns : (row + 1) * columns]
        out = np.zeros((1, columns, n), spectra.dtype)
        out[0, which >= 0] = spectra[which[which >= 0]]
        return out

    dense = da.map_blocks(  # type: ignore[no-untyped-call]
        block,
        chunks=((1,) * rows, (columns,), (n,)),
        dtype=spectra.dtype,
        meta=np.zeros((0, 0, 0), spectra.dtype),
    )
    maps = {
        "measured": (data.measured >= 0).astype(np.uint8),
        "label": data.measured,
        "live_time": _spread(data, data.live_time_s),
        "real_time": _spread(data, data.real_time_s),
        "dose_nC": _spread(data, data.dose_nc),
        "probability": _spread(data, data.probabilities),
    }
    if data.reconstruction is not None:
        maps["reconstruction"] = data.reconstruction
    maps |= data.boundary_planes
    if elements is not None:
        for e, symbol in enumerate(elements.elements):
            maps[f"{symbol}_mass_fraction"] = elements.mass_fraction[e]
            maps[f"{symbol}_mass_fraction_sd"] = elements.mass_fraction_sd[e]
            maps[f"{symbol}_intensity_per_s"] = elements.intensity[e]
            maps[f"{symbol}_intensity_sd_per_s"] = elements.intensity_sd[e]
    axes = _map_axes(data, n)
    return _signal(data, dense, axes, float(np.nansum(data.live_time_s)) / (rows * columns), maps, "")


def _map_axes(data: RunData, n: int) -> list[dict[str, Any]]:
    rows, columns = data.grid.shape
    (y0, _), (x0, _) = data.grid.extents_um
    return [
        _axis("y", rows, y0, data.grid.step_um[0], "µm", 0, True),
        _axis("x", columns, x0, data.grid.step_um[1], "µm", 1, True),
        _axis("Energy", n, data.energy_offset_kev, data.energy_width_kev, "keV", 2, False),
    ]


def _filled(data: RunData, elements: ElementMaps) -> dict[str, Any]:
    known = data.live_time_s[np.isfinite(data.live_time_s) & (data.live_time_s > 0)]
    live = float(known.mean()) if known.size else 1.0
    maps = {"inferred": np.ones(data.grid.shape, np.uint8), "measured": elements.measured.astype(np.uint8)}
    axes = _map_axes(data, elements.axis.n_channels)
    what = ", expected spectra, inferred"
    return _signal(data, filled_spectra(elements, live), axes, live, maps, what)


def _listed(data: RunData, spectra: NDArray[Any]) -> dict[str, Any]:
    lists = {
        "pixel": data.pixels,
        "x_um": data.position_um[:, 0],
        "y_um": data.position_um[:, 1],
        "label": data.labels,
        "probability": data.probabilities,
        "verdict": data.verdicts.astype("S"),
        "live_time": data.live_time_s,
        "real_time": data.real_time_s,
        "dose_nC": data.dose_nc,
    }
    axes = [
        _axis("measurement", data.n_measured, 0.0, 1.0, "", 0, True),
        _axis("Energy", spectra.shape[1], data.energy_offset_kev, data.energy_width_kev, "keV", 1, False),
    ]
    mean = float(np.nansum(data.live_time_s)) / data.n_measured
    return _signal(data, spectra, axes, mean, lists, ", measured spectra")


def _image(data: RunData, frame: NDArray[np.float32]) -> dict[str, Any]:
    axes = [
        _axis(name, n, first, step, "µm", i, False)
        for i, (name, n, (first, _), step) in enumerate(
            zip(("y", "x"), frame.shape, image_extents(data), data.grid.step_um, strict=True)
        )
    ]
    more: dict[str, Any] = {"note": image_note(data)}
    if data.image_displacement is not None:
        more["displacement"] = np.array(data.image_displacement)
    signal = _signal(data, frame, [{**axis, "is_binned": False} for axis in axes], 0.0, {}, ", image")
    signal["metadata"] = {"General": signal["metadata"]["General"], "Signal": {"signal_type": ""}}
    signal["original_metadata"] = {"run": signal["original_metadata"]["run"], "image": more}
    return {**signal, "package_info": {"package": "hyperspy", "package_version": "2.0"}}


def _spread(data: RunData, values: Any) -> Any:
    out = np.full(data.grid.shape, np.nan)
    out.ravel()[data.pixels] = values
    return out


def _axis(
    name: str, size: int, offset: float, scale: float, units: str, index: int, navigate: bool
) -> dict[str, Any]:
    return {
        "_type": "UniformDataAxis",
        "name": name,
        "size": size,
        "offset": offset,
        "scale": scale,
        "units": units,
        "index_in_array": index,
        "navigate": navigate,
        "is_binned": not navigate,
    }


def _signal(
    data: RunData,
    values: Any,
    axes: list[dict[str, Any]],
    live_time_s: float,
    more: dict[str, Any],
    what: str,
) -> dict[str, Any]:
    settings = acquisition(data)
    eds = {"live_time": live_time_s}
    eds |= {key: settings[key] for key in ("elevation_angle", "energy_resolution_MnKa") if key in settings}
    sem = {key: settings[key] for key in ("beam_energy", "beam_current", "magnification") if key in settings}
    title = str(data.start.get("sample", data.uid[:8]))
    metadata: dict[str, Any] = {
        "General": {"title": title + what, "original_filename": ""},
        "Signal": {"signal_type": "EDS_SEM"},
        "Sample": {"elements": elements_of(data), "description": title},
        "Acquisition_instrument": {"SEM": {**sem, "Detector": {"EDS": eds}}},
    }
    return {
        "data": values,
        "axes": axes,
        "metadata": metadata,
        "original_metadata": {
            "run": {"uid": data.uid, "phases": list(data.phases), "start": json_text(data.start)},
            "pixels": more,
        },
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "exspy", "package_version": "0.3"},
        "tmp_parameters": {},
        "learning_results": {},
        "models": {},
    }
