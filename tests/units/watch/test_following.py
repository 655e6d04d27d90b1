"""What the page shows of a map is what its documents say, however they are stored and whenever they are read."""

import time

import numpy as np
import pytest

from slads_bluesky.analysis.load import load_map
from slads_bluesky.errors import RecordError
from slads_bluesky.record import Journal
from slads_bluesky.record.runs import find_run
from slads_bluesky.watch.analyst import MapAnalyst
from slads_bluesky.watch.following import MapFollower
from slads_bluesky.watch.layers import LAYERS
from slads_bluesky.watch.points import PointColumns
from slads_bluesky.watch.runlist import RunList


def test_follower_of_a_recorded_map_agrees_with_load_map(recorded):
    data = load_map(find_run(recorded.uid, recorded.directory))
    follower = MapFollower(recorded.directory, recorded.uid)
    assert follower.step() is False
    points = follower.state.points
    assert np.array_equal(points.column("pixel"), data.pixels)
    assert np.array_equal(points.column("vote"), data.votes)
    assert np.allclose(points.column("dose_nc")[-1], data.dose_nc.sum())
    for row in (0, 17, points.n - 1):
        assert np.array_equal(follower.reader.read(points.place(row)), data.spectra[row])
    assert follower.status == "success"
    follower.close()


def test_follower_of_a_growing_map_takes_what_is_added(recorded, tmp_path):
    half = len(recorded.documents) // 2
    with Journal(tmp_path / "journal") as journal:
        for name, doc in recorded.documents[:half]:
            journal(name, doc)
        follower = MapFollower(tmp_path, recorded.uid)
        assert follower.step() is True
        n = follower.state.points.n
        assert 0 < n < 250
        assert follower.status == "measuring"
        for name, doc in recorded.documents[half:]:
            journal(name, doc)
        assert follower.step() is False
    assert follower.state.points.n == 250
    follower.close()


def test_follower_of_a_run_that_was_cut_off_says_interrupted(recorded, tmp_path):
    with Journal(tmp_path / "journal") as journal:
        for name, doc in recorded.documents[:60]:
            journal(name, doc)
    follower = MapFollower(tmp_path, recorded.uid)
    follower.step()
    assert follower.status == "interrupted"
    follower.close()


def test_follower_of_spectra_in_hdf5_reads_the_same_spectra(recorded, tmp_path):
    from slads_bluesky.record.hdf5_spectra import SpectraToFiles

    with Journal(tmp_path / "journal") as journal:
        files = SpectraToFiles(tmp_path, journal)
        for name, doc in recorded.documents:
            files(name, doc)
    data = load_map(find_run(recorded.uid, recorded.directory))
    follower = MapFollower(tmp_path, recorded.uid)
    follower.step()
    assert np.array_equal(follower.reader.read(follower.state.points.place(20)), data.spectra[20])
    follower.close()


def test_follower_of_a_run_that_is_no_map_is_refused_in_one_line(recorded, tmp_path):
    with Journal(tmp_path / "journal") as journal:
        journal("start", {"uid": "a" * 36, "time": time.time(), "plan_name": "count"})
    with pytest.raises(RecordError, match="by plan 'count' is no map"):
        MapFollower(tmp_path, "a" * 36)


def test_analyst_without_the_runs_sampler_fills_from_the_nearest_points(recorded):
    follower = MapFollower(recorded.directory, recorded.uid)
    follower.step()
    analyst = MapAnalyst(follower, [])
    while analyst.step():
        pass
    assert analyst.snapshot is not None
    assert analyst.snapshot.n == 250
    measured = follower.state.measured > 0
    assert np.array_equal(analyst.snapshot.reconstruction[measured], follower.state.measured[measured])
    for layer in LAYERS.values():
        picture = layer.draw(follower.state, analyst.snapshot, "dark")
        assert picture is None or picture.image.shape == follower.state.grid.shape
    follower.close()


def test_points_measured_again_keep_their_place():
    points = PointColumns(1000)
    for pixel in range(700):
        points.put(pixel, label=1)
    points.put(3, label=2, verdict="odd")
    assert points.n == 700
    assert points.column("label")[3] == 2
    assert points.counted() == {"ok": 699, "odd": 1}
    assert points.row_of(800) is None
    assert points.nearest(702, 100) == points.row_of(602)  # one row of a hundred above


def test_run_list_is_newest_first_and_searched_by_words_and_days(recorded, tmp_path):
    runs = RunList(recorded.directory)
    (run,) = runs.runs()
    assert (run.sample, run.ending, run.points, run.shape) == ("solder", "success", 250, (64, 64))
    assert runs.search("SOLD adaptive") == [run]
    assert runs.search("gold") == []
    assert runs.search(since="2999-01-01") == []
    assert runs.search(until="no day") == [run]
    assert runs.newest() == run
    assert RunList(tmp_path).runs() == []
