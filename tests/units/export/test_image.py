"""The frame that guided a map, in the formats of images: its greys, and where it lies under the map."""

import dataclasses

import h5py
import numpy as np
import pytest
import tifffile

from slads_bluesky.export.formats import export_map

SHIFT = (1.5, -2.0)


@pytest.fixture(scope="module")
def guided(data):
    """A map of 48 × 48 pixels with a frame that was used, displaced by `SHIFT`."""
    frame = np.arange(48.0 * 48, dtype=np.float32).reshape(48, 48)
    use = {"image_used": 1, "image_shift_y": SHIFT[0], "image_shift_x": SHIFT[1]}
    return dataclasses.replace(data, image=frame, maps=({**data.maps[-1], **use},))


def check_axes(rows, columns, data):
    """A frame pixel has the position of the map pixel that it shows."""
    (y0, _), (x0, _) = data.grid.extents_um
    dy, dx = data.grid.step_um
    assert rows == pytest.approx(y0 + (np.arange(48) - SHIFT[0]) * dy)
    assert columns == pytest.approx(x0 + (np.arange(48) - SHIFT[1]) * dx)


def test_nexus_image_has_its_greys_and_the_coordinates_of_the_map(guided, tmp_path):
    (path,) = export_map(guided, tmp_path / "map.nxs")
    with h5py.File(path) as file:
        image = file["entry/measurement/event1/image1/image_2d"]
        assert np.array_equal(image[image.attrs["signal"]], guided.image)
        check_axes(*(image[axis][()] for axis in image.attrs["axes"]), guided)
        assert image["displacement"][()].tolist() == list(SHIFT)


def test_hspy_image_is_read_by_rosettasciio_with_the_coordinates_of_the_map(guided, tmp_path):
    reader = pytest.importorskip("rsciio.hspy")
    written = {path.name: path for path in export_map(guided, tmp_path / "map.hspy")}
    (signal,) = reader.file_reader(str(written["map.image.hspy"]))
    assert np.array_equal(signal["data"], guided.image)
    check_axes(*(axis["offset"] + axis["scale"] * np.arange(48) for axis in signal["axes"]), guided)
    assert not any(axis["navigate"] for axis in signal["axes"])
    assert signal["original_metadata"]["image"]["displacement"].tolist() == list(SHIFT)


def test_tiff_and_npz_image_state_the_displacement(guided, tmp_path):
    path = next(p for p in export_map(guided, tmp_path / "map.tif") if p.name == "map.image.tif")
    with tifffile.TiffFile(path) as file:
        assert np.array_equal(file.asarray(), guided.image)
        assert "(r +1.5, c -2)" in file.pages[0].description
    (path,) = export_map(guided, tmp_path / "map.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["image"], guided.image)
        assert arrays["image_displacement"].tolist() == list(SHIFT)


def test_image_that_was_not_used_has_no_displacement_in_any_format(guided, tmp_path):
    unused = dataclasses.replace(guided, maps=({**guided.maps[-1], "image_used": 0},))
    (path,) = export_map(unused, tmp_path / "map.nxs")
    with h5py.File(path) as file:
        image = file["entry/measurement/event1/image1/image_2d"]
        assert "displacement" not in image
        assert image["axis_j"][0] == pytest.approx(unused.grid.extents_um[0][0])
    (path,) = export_map(unused, tmp_path / "map.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert "image_displacement" not in arrays
