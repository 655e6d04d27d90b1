"""What other programs get: the same counts, positions and times, in their own words."""

import csv
import dataclasses
import json

import h5py
import numpy as np
import pytest
import zarr

from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.export.about import acquisition, elements_of
from slads_bluesky.export.formats import export_map, suffixes


def test_npz_holds_every_array_without_pickle(data, tmp_path):
    (path,) = export_map(data, tmp_path / "map.npz")
    with np.load(path, allow_pickle=False) as file:
        assert np.array_equal(file["spectra"], data.spectra)
        assert np.array_equal(file["measured"], data.measured)
        assert np.array_equal(file["reconstruction"], data.reconstruction)
        assert np.array_equal(file["verdicts"], data.verdicts)
        assert json.loads(str(file["start"]))["uid"] == data.uid
        assert file["energies_keV"][[0, -1]] == pytest.approx([-0.05, -0.05 + 2039 * 0.01])


def test_csv_has_a_line_a_pixel(data, tmp_path):
    (path,) = export_map(data, tmp_path / "map.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == data.n_measured
    assert [int(row["pixel"]) for row in rows] == data.pixels.tolist()
    for row, spectrum in zip(rows, data.spectra, strict=True):
        assert int(row["counts"]) == spectrum.sum()
        assert row["phase"] == (data.phases[int(row["label"]) - 1] if int(row["label"]) else "")
        assert int(row["row"]) * 48 + int(row["column"]) == int(row["pixel"])


def read_msa(path):
    head, counts = {}, []
    for line in path.read_text("ascii").splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            head[key.split("-")[0].strip()] = value.strip()
        else:
            counts.append(float(line.rstrip(",")))
    return head, np.array(counts)


def test_msa_sums_carry_their_own_live_time(data, tmp_path):
    paths = export_map(data, tmp_path / "map.msa")
    assert [path.name for path in paths] == ["map.msa", "map.Pb-Sn.msa", "map.Sn.msa"]
    masks = [np.ones(data.n_measured, bool), data.votes == 1, data.votes == 2]
    for path, mask in zip(paths, masks, strict=True):
        head, counts = read_msa(path)
        assert np.array_equal(counts, data.spectra[mask].sum(axis=0))
        assert float(head["LIVETIME"]) == pytest.approx(data.live_time_s[mask].sum(), rel=1e-5)
        assert float(head["REALTIME"]) == pytest.approx(data.real_time_s[mask].sum(), rel=1e-5)
        assert (int(head["NPOINTS"]), float(head["XPERCHAN"]), float(head["OFFSET"])) == (2040, 0.01, -0.05)
        assert float(head["BEAMKV"]) == 15


def test_nexus_names_its_classes_and_holds_the_spectra(data, tmp_path):
    (path,) = export_map(data, tmp_path / "map.nxs")
    with h5py.File(path) as file:
        entry = file[file.attrs["default"]]
        assert entry["definition"][()] == b"NXem"
        plot = entry[entry.attrs["default"]]
        assert np.array_equal(plot[plot.attrs["signal"]], data.reconstruction)
        assert plot["live_time"][()].sum() == pytest.approx(data.live_time_s.sum())
        stack = entry["measurement/event1/spectrum1/stack_0d"]
        assert np.array_equal(stack[stack.attrs["signal"]], data.spectra)
        assert [stack[axis].shape[0] for axis in stack.attrs["axes"]] == list(data.spectra.shape)
        assert np.array_equal(stack["live_time"], data.live_time_s)
        classes = []
        file.visititems(
            lambda _, item: (
                classes.append(item.attrs.get("NX_class")) if isinstance(item, h5py.Group) else None
            )
        )
        assert all(classes)
        assert entry["sample1/atom_types"][()] == b"Pb, Sn"
        assert entry["sample1/is_simulation"][()]


def check_signal(signal, data, dense):
    spectra = np.asarray(signal["data"])
    if dense:
        assert spectra.shape == (48, 48, 2040)
        flat = spectra.reshape(-1, 2040)
        assert np.array_equal(flat[data.pixels], data.spectra)
        assert not flat[np.setdiff1d(np.arange(48 * 48), data.pixels)].any()
    else:
        assert np.array_equal(spectra, data.spectra)
    metadata = signal["metadata"]
    assert metadata["Signal"]["signal_type"] == "EDS_SEM"
    assert list(metadata["Sample"]["elements"]) == ["Pb", "Sn"]
    sem = metadata["Acquisition_instrument"]["SEM"]
    assert sem["beam_energy"] == 15
    navigation = spectra.size // 2040  # what HyperSpy's sum multiplies the live time by
    assert sem["Detector"]["EDS"]["live_time"] * navigation == pytest.approx(data.live_time_s.sum())
    assert [axis["name"] for axis in signal["axes"]][-1] == "Energy"
    assert signal["axes"][-1]["scale"] == pytest.approx(0.01)


def test_hspy_is_read_by_rosettasciio(data, tmp_path):
    reader = pytest.importorskip("rsciio.hspy")
    dense, listed = export_map(data, tmp_path / "map.hspy")
    (signal,) = reader.file_reader(str(dense))
    check_signal(signal, data, dense=True)
    pixels = signal["original_metadata"]["pixels"]
    assert np.array_equal(pixels["measured"].astype(bool), data.measured >= 0)
    assert np.nansum(pixels["live_time"]) == pytest.approx(data.live_time_s.sum())
    (signal,) = reader.file_reader(str(listed))
    check_signal(signal, data, dense=False)
    assert np.array_equal(signal["original_metadata"]["pixels"]["pixel"], data.pixels)


def test_zspy_is_a_zarr_2_tree_of_the_same_layout(data, tmp_path):
    dense, listed = export_map(data, tmp_path / "map.zspy")
    for path, is_dense in ((dense, True), (listed, False)):
        root = zarr.open_group(str(path), mode="r")
        assert root.metadata.zarr_format == 2
        assert root.attrs["file_format"] == "ZSpy"
        (experiment,) = (group for _, group in root["Experiments"].groups())
        axes = sorted(
            (name, dict(group.attrs)) for name, group in experiment.groups() if name.startswith("axis")
        )
        metadata = {
            "Signal": dict(experiment["metadata/Signal"].attrs),
            "Sample": {"elements": experiment["metadata/Sample/_list_elements"][:]},
            "Acquisition_instrument": {
                "SEM": {
                    **dict(experiment["metadata/Acquisition_instrument/SEM"].attrs),
                    "Detector": {
                        "EDS": dict(experiment["metadata/Acquisition_instrument/SEM/Detector/EDS"].attrs)
                    },
                }
            },
        }
        signal = {"data": experiment["data"][:], "axes": [axis for _, axis in axes], "metadata": metadata}
        check_signal(signal, data, is_dense)


def test_elements_are_those_that_the_phases_spell(data):
    def of(*phases, **start):
        return elements_of(dataclasses.replace(data, phases=phases, starts=({**data.start, **start},)))

    assert of("CaO", "LaO", "Si", "C") == ["C", "Ca", "La", "O", "Si"]
    assert of("Al2O3", "matrix", "Xy") == ["Al", "O"]
    assert of("K412", "C 60", "Fe") == ["Fe"]  # one element with a number is the name of a sample
    assert of("matrix", elements=["Fe", "C"]) == ["C", "Fe"]


def test_settings_are_found_by_the_names_of_devices_and_not_by_how_a_key_ends(data):
    settings = {**data.settings, "sem_not_the_high_voltage": 3.0, "other_high_voltage": 4.0}
    assert acquisition(dataclasses.replace(data, settings=settings))["beam_energy"] == 15.0
    column = dataclasses.replace(
        data, settings={"my_column_high_voltage": 20.0}, devices=("eds", "my_column")
    )
    assert acquisition(column)["beam_energy"] == 20.0
    assert "beam_current" not in acquisition(column)


def test_what_cannot_be_exported_is_said_and_leaves_nothing(data, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in .*\.nxs"):
        export_map(data, tmp_path / "map.jpg")
    with pytest.raises(ConfigError, match="no folder"):
        export_map(data, tmp_path / "missing" / "map.npz")
    uncalibrated = dataclasses.replace(data, energy_width_kev=np.nan)
    for suffix in (".msa", ".nxs", ".hspy", ".zspy"):
        with pytest.raises(RecordError, match="no energy calibration"):
            export_map(uncalibrated, tmp_path / f"map{suffix}")
    bare = dataclasses.replace(data, spectra=None)
    for suffix in (".msa", ".nxs", ".hspy", ".zspy"):
        with pytest.raises(RecordError, match="has no spectra"):
            export_map(bare, tmp_path / f"map{suffix}")
    empty = dataclasses.replace(data, pixels=data.pixels[:0])
    for suffix in suffixes():
        with pytest.raises(RecordError, match="no measured pixel"):
            export_map(empty, tmp_path / f"map{suffix}")
    assert not list(tmp_path.iterdir())
