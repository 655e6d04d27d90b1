"""Whole maps from files: what is read, and what is refused by name; phases found in them."""

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.evaluation.spectra.map_segmentation import find_phases
from slads_bluesky.spectra.axis import EnergyAxis
from slads_bluesky.spectra.io.maps import list_maps, read_map

AXIS = EnergyAxis(0.0, 0.02, 400)


def make_counts(rows=12, columns=10, seed=0):
    """Two phases, left and right, each with a line of its own on a flat background."""
    rng = np.random.default_rng(seed)
    energies = AXIS.energies()
    shapes = [0.2 + 10 * np.exp(-0.5 * ((energies - line) / 0.06) ** 2) for line in (1.74, 3.69)]
    which = (np.arange(columns) >= columns // 2).astype(int)
    expected = np.array(shapes)[np.tile(which, (rows, 1))]
    return rng.poisson(expected).astype(np.uint8), np.tile(which, (rows, 1)).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    """Write a map with some fields changed or, by None, left out."""

    def as_file(name="a.npz", **changes):
        counts, labels = make_counts()
        fields = {"counts": counts, "energy_scale": 0.02, "energy_offset": 0.0, "labels": labels, **changes}
        np.savez_compressed(tmp_path / name, **{k: v for k, v in fields.items() if v is not None})
        return tmp_path / name

    return as_file


def test_a_map_is_read_with_its_axis_and_its_labels_from_one(write):
    counts, labels = make_counts()
    found = read_map(write())
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(found.labels, labels + 1)
    assert found.axis == AXIS
    assert found.shape == (12, 10)
    assert found.spectra.shape == (120, 400)
    assert read_map(write(labels=None)).labels is None


def test_whole_counts_may_come_as_floats(write):
    counts, _ = make_counts()
    found = read_map(write(counts=counts.astype(np.float32)))
    assert found.counts.dtype == np.uint8
    np.testing.assert_array_equal(found.counts, counts)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": None}, "field counts is missing"),
        ({"energy_scale": None}, "field energy_scale is missing"),
        ({"energy_scale": np.float64(-1)}, "energy axis"),
        ({"energy_scale": np.array(["x"])}, "no .npz file"),
        ({"counts": np.ones((20, 400))}, "rows, columns, channels"),
        ({"counts": np.ones((2, 3, 400))}, "too small"),
        ({"counts": np.full((12, 10, 400), -1)}, "negative"),
        ({"counts": np.full((12, 10, 400), 0.5)}, "fractions"),
        ({"counts": np.full((12, 10, 400), np.nan)}, "finite"),
        ({"counts": np.zeros((12, 10, 400))}, "no counts"),
        ({"counts": np.full((12, 10, 400), "x")}, "not numbers"),
        ({"labels": np.zeros((3, 3), int)}, "field labels"),
        ({"labels": np.zeros((12, 10), int)}, "1 different labels"),
    ],
)
def test_what_is_no_map_is_refused_by_file_and_field(write, changes, words):
    with pytest.raises(DataError, match=words) as error:
        read_map(write(**changes))
    assert "a.npz" in str(error.value)


def test_truncated_missing_and_foreign_files_are_named(write, tmp_path):
    path = write()
    data = path.read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match="truncated"):
            read_map(path)
    with pytest.raises(DataError, match="no such file"):
        read_map(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match=r"\.tif is not one of"):
        read_map(tmp_path / "image.tif")


def test_a_folder_without_maps_is_refused(write, tmp_path):
    with pytest.raises(DataError, match="no map"):
        list_maps(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        list_maps(tmp_path / "none")
    (tmp_path / "notes.txt").touch()
    assert list_maps(write().parent) == [tmp_path / "a.npz"]


def test_a_map_of_hyperspy_s_is_read_and_one_without_an_energy_axis_refused(tmp_path):
    hspy = pytest.importorskip("rsciio.hspy")
    counts, _ = make_counts()
    axes = [
        {"name": "y", "size": 12, "scale": 1.0, "offset": 0.0, "units": "µm", "navigate": True},
        {"name": "x", "size": 10, "scale": 1.0, "offset": 0.0, "units": "µm", "navigate": True},
        {"name": "Energy", "size": 400, "scale": 20.0, "offset": 0.0, "units": "eV", "navigate": False},
    ]

    def store(path, axes):
        signal = {
            "data": counts, "axes": axes, "metadata": {"General": {"title": "m"}}, "original_metadata": {},
            "learning_results": {}, "package_info": {}, "tmp_parameters": {}, "attributes": {"_lazy": False},
            "models": {}, "package": "hyperspy", "package_version": "2.0",
        }  # fmt: skip
        hspy.file_writer(str(path), signal)

    store(tmp_path / "a.hspy", axes)
    found = read_map(tmp_path / "a.hspy")
    np.testing.assert_array_equal(found.counts, counts)
    assert found.axis == AXIS
    store(tmp_path / "b.hspy", [*axes[:2], {**axes[2], "units": "nm"}])
    with pytest.raises(DataError, match="holds no map"):
        read_map(tmp_path / "b.hspy")


def test_phases_are_found_in_the_spectra_alone(write):
    found = read_map(write(labels=None))
    labels = find_phases(found, 2)
    np.testing.assert_array_equal(labels == labels[0, 0], make_counts()[1] == 0)
    assert set(np.unique(labels)) == {1, 2}
    assert find_phases(found, 5, least=24).max() <= 5


def test_one_phase_cannot_be_divided_and_no_number_of_phases_is_refused(write):
    one = np.random.default_rng(0).poisson(3.0, (12, 10, 400)).astype(np.uint8)
    with pytest.raises(DataError, match="do not fall into phases"):
        find_phases(read_map(write(counts=one, labels=None)), 2, least=100)
    with pytest.raises(ConfigError, match="2 to 12"):
        find_phases(read_map(write()), 1)
