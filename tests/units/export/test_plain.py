"""What can be given of a run that is no map, and of a map as images."""

import csv
import json

import numpy as np
import pytest
import tifffile
from record_helpers import Detector, run_engine, spectra_plan

from slads_bluesky.cli import main
from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.export.formats import export_map
from slads_bluesky.export.plain import export_run
from slads_bluesky.record import Journal, journal_directory


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A record with a run of five points that is no map, and its documents."""
    directory = tmp_path_factory.mktemp("counted")
    with Journal(journal_directory(directory)) as journal:
        engine, documents = run_engine(journal)
        engine(spectra_plan(Detector(1), 5))
    return directory, list(documents)


def test_export_of_a_count_gives_its_columns(counted, tmp_path):
    (path,) = export_run(counted[1], tmp_path / "run.csv")
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [row["scan_pixel"] for row in rows] == ["7", "14", "21", "28", "35"]
    assert "eds_spectrum" not in rows[0]
    (path,) = export_run(counted[1], tmp_path / "run.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["eds_spectrum"].shape == (5, 2040)
        assert json.loads(str(arrays["start"]))["plan_name"] == "spectra"


def test_export_of_a_count_by_the_command(counted, tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["export", "-1", str(tmp_path / "run.csv"), "--catalog", str(counted[0])])
    assert (tmp_path / "run.csv").stat().st_size
    with pytest.raises(SystemExit, match="2"):
        main(["export", "-1", str(tmp_path / "run.nxs"), "--catalog", str(counted[0])])
    assert "the run is no map: 'run.nxs' must end in .csv or .npz" in capsys.readouterr().err


def test_export_of_a_run_without_events_or_in_a_maps_format_is_refused(counted, tmp_path):
    with pytest.raises(RecordError, match="no event in the stream 'baseline'"):
        export_run(counted[1], tmp_path / "run.csv", "baseline")
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.npz"):
        export_run(counted[1], tmp_path / "run.hspy")


def test_maps_as_images_have_their_values_and_the_size_of_a_pixel(data, tmp_path):
    written = export_map(data, tmp_path / "map.tif")
    phases, measured, probability = (tifffile.imread(path) for path in written)
    assert np.array_equal(phases, data.reconstruction)
    assert np.array_equal(measured == 1, data.measured >= 0)
    assert np.array_equal(np.isfinite(probability), data.measured >= 0)
    with tifffile.TiffFile(written[0]) as file:
        numerator, denominator = file.pages[0].tags["XResolution"].value
        assert 1e4 / (numerator / denominator) == pytest.approx(data.grid.step_um[1], rel=1e-6)
        assert data.uid in file.pages[0].description
