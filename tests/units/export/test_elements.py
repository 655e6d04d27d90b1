"""Element maps in every format: flagged as inferred, beside or in the file."""

import csv

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from slads_bluesky.analysis.elements.filled import expected_spectra
from slads_bluesky.analysis.load import load_map
from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.export.element_panels import composite, draw_elements, element_rows
from slads_bluesky.export.elements import maps_of_run, read_guide
from slads_bluesky.export.formats import export_map
from slads_bluesky.export.panels import figure_of
from slads_bluesky.export.report import write_report
from slads_bluesky.phantom import make_object
from slads_bluesky.simulation.models import prepare_models
from slads_bluesky.simulation.run import make_agent, run_map


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A map by what ships with the program: nothing is trained."""
    phantom = make_object("pbsn-32", 0)
    models = prepare_models(
        "pbsn-32", sampler="learned", classifier="likelihood", cache=tmp_path_factory.mktemp("models")
    )
    documents = []
    agent = make_agent(phantom, models, fraction=0.12, seed=0)
    run_map(phantom, models, agent, soft=True, subscribers=[lambda *pair: documents.append(pair)])
    return load_map(lambda: documents)


@pytest.fixture(scope="module")
def maps(data):
    return maps_of_run(data, ["Pb", "Sn"])


def test_elements_of_a_run_follow_its_phases(data, maps):
    lead = maps.mass_fraction[maps.index("Pb")]
    alloy = data.reconstruction == 1 + data.phases.index("Pb-Sn")
    assert lead[alloy].mean() > 0.2
    assert lead[~alloy].mean() < 0.05


def test_npz_holds_the_maps_and_the_mask_of_inferred_pixels(data, maps, tmp_path):
    (path,) = export_map(data, tmp_path / "m.npz", maps)
    with np.load(path, allow_pickle=False) as found:
        assert found["element_names"].tolist() == list(maps.elements)
        assert found["element_mass_fraction"].shape == (2, *data.grid.shape)
        assert np.array_equal(np.flatnonzero(~found["element_inferred"]), np.sort(data.pixels))


def test_csv_has_a_line_for_each_pixel_measured_or_inferred(data, maps, tmp_path):
    _, table = export_map(data, tmp_path / "m.csv", maps)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == data.grid.n_pixels
    assert sum(row["inferred"] == "0" for row in rows) == data.n_measured
    assert all(np.isfinite(float(row["Sn_mass_fraction_sd"])) for row in rows)


def test_tif_has_four_pages_an_element(data, maps, tmp_path):
    written = export_map(data, tmp_path / "m.tif", maps)
    tin = next(path for path in written if path.name == "m.Sn.tif")
    pages = tifffile.imread(tin)
    assert pages == pytest.approx(
        np.stack([a[maps.index("Sn")] for a in (maps.mass_fraction, maps.mass_fraction_sd, maps.intensity,
                                                maps.intensity_sd)]), rel=1e-5,
    )  # fmt: skip


def test_nexus_has_an_nxdata_with_errors_and_mask(data, maps, tmp_path):
    (path,) = export_map(data, tmp_path / "m.nxs", maps)
    with h5py.File(path) as file:
        group = file["entry/elements"]
        assert group.attrs["NX_class"] == "NXdata"
        assert int(group["inferred"][()].sum()) == data.grid.n_pixels - data.n_measured
        assert group["Sn_mass_fraction_errors"].shape == data.grid.shape


def test_filled_spectrum_image_is_a_file_of_its_own_and_says_that_it_is_inferred(data, maps, tmp_path):
    dense, _, filled = export_map(data, tmp_path / "m.zspy", maps)
    assert filled.name == "m.filled.zspy"
    root = zarr.open_group(str(filled), mode="r")
    (title,) = root["Experiments"].group_keys()
    assert "inferred" in title
    signal = root["Experiments"][title]
    assert signal["data"].shape == (*data.grid.shape, data.spectra.shape[1])
    assert bool(signal["original_metadata/pixels/inferred"][:].all())
    # what was measured is left as it was: zero where nothing was measured
    first = zarr.open_group(str(dense), mode="r")
    (name,) = first["Experiments"].group_keys()
    total = first["Experiments"][name]["data"][:].sum(axis=-1)
    assert np.array_equal(np.flatnonzero(total.ravel()), np.sort(data.pixels))


def test_filled_spectra_add_up_to_the_measured_ones_in_a_phase(data, maps):
    label = int(np.bincount(data.votes).argmax())
    of_phase = data.pixels[data.votes == label]
    live = data.live_time_s[data.votes == label]
    expected = expected_spectra(maps, of_phase) * live[:, None]
    measured = data.spectra[data.votes == label].sum(axis=0)
    assert expected.sum() == pytest.approx(measured.sum(), rel=0.02)


def test_report_shows_elements_and_compositions(data, maps, tmp_path):
    text = write_report(data, tmp_path / "m.html", None, maps).read_text()
    assert "Elements, measured and inferred" in text
    assert "Compositions of the phases" in text
    assert "standardless" in text


def test_pictures_have_a_scale_bar_and_the_same_limits_side_by_side(data, maps):
    figure = figure_of(draw_elements, data, maps, size=(8, 6))
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any(text.endswith("µm") for text in texts)
    pictures = [
        axes.images[0] for axes in figure.axes if axes.images and axes.images[0].get_array().ndim == 2
    ]
    assert pictures[0].get_clim() == pictures[1].get_clim()


def test_composite_takes_up_to_four_elements_that_have_maps(maps):
    picture, legend = composite(maps)
    assert picture.shape == (*maps.labels.shape, 3)
    assert ((picture >= 0) & (picture <= 1)).all()
    assert [name for name, _ in legend] == list(maps.elements)
    with pytest.raises(ConfigError, match="up to 4"):
        composite(maps, ["Pb"] * 5)
    with pytest.raises(ConfigError, match="no map of 'Fe'"):
        composite(maps, ["Fe"])


def test_table_of_compositions_has_a_row_for_each_phase(maps):
    head, rows = element_rows(maps)
    assert {row[0] for row in rows} == {"Pb-Sn", "Sn"}
    assert all(len(row) == len(head) for row in rows)


def test_msa_refuses_element_maps(data, maps, tmp_path):
    with pytest.raises(ConfigError, match="no element maps"):
        export_map(data, tmp_path / "m.msa", maps)


def test_guide_of_another_shape_is_refused_naming_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "bse.tif", np.arange(20, dtype=np.uint16).reshape(4, 5))
    assert read_guide(tmp_path / "bse.tif", (4, 5)).shape == (4, 5)
    with pytest.raises(DataError, match=r"bse\.tif has 4 × 5 pixels, the grid 8 × 8"):
        read_guide(tmp_path / "bse.tif", (8, 8))
    (tmp_path / "bse.npy").write_bytes(b"\x93NUMPY cut off")
    with pytest.raises(DataError, match=r"bse\.npy"):
        read_guide(tmp_path / "bse.npy", (4, 5))
