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
from slads_bluesky.watch.layers import LAYERS, Sight
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
        picture = layer.draw(Sight(follower.state, analyst.snapshot, "dark"))
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


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A record of a run that finds its phases itself: two in stripes; its agent, and the journal's folder."""
    from slads_bluesky import ScanGrid
    from slads_bluesky.agent_settings import AgentSettings
    from slads_bluesky.discovering_agent import DiscoveringAgent
    from slads_bluesky.plans.readables import MapReadable

    grid = ScanGrid((16, 16))
    more = {"sampler": "low-discrepancy", "more": {"discovery": {"n_channels": 32, "most": 6}}}
    agent = DiscoveringAgent.from_settings(AgentSettings(grid, 6, fraction=0.3, **more))
    folder, rng, reading = tmp_path_factory.mktemp("found"), np.random.default_rng(0), MapReadable("phases")
    keys = {"scan_pixel": "integer", "eds_spectrum": "array", "eds_verdict": "string", "eds_label": "integer"}
    uids = {"primary": "1" * 36, "phases": "2" * 36}
    seen = dict.fromkeys(uids, 0)
    with Journal(folder / "journal") as journal:

        def emit(stream, data):
            seen[stream] += 1
            journal("event", {
                "uid": f"{stream}-{seen[stream]}", "descriptor": uids[stream], "seq_num": seen[stream],
                "time": 10.0 + seen["primary"], "data": data, "timestamps": dict.fromkeys(data, 0.0), "filled": {},
            })  # fmt: skip

        journal("start", {
            "uid": "f" * 36, "time": 10.0, "plan_name": "adaptive_map", "sample": "unknown", "phases": [],
            "grid": grid.to_json(), "agent": agent.configuration(), "model_hashes": {},
        })  # fmt: skip
        for stream, uid in uids.items():
            about = {key: {"dtype": dtype, "shape": [], "source": "test"} for key, dtype in keys.items()}
            journal("descriptor", {
                "uid": uid, "run_start": "f" * 36, "time": 10.0, "name": stream, "configuration": {},
                "data_keys": about if stream == "primary" else {}, "object_keys": {}, "hints": {},
            })  # fmt: skip
        while not agent.should_stop():
            (at,) = agent.suggest()
            spectrum = rng.poisson(np.where(np.arange(32) // 8 == at.pixel % 16 // 8, 20, 2))
            data = {
                "scan_pixel": at.pixel,
                "eds_spectrum": spectrum,
                "eds_verdict": "low_counts",
                "eds_label": 0,
            }
            emit("primary", data)
            agent.ingest({"data": data})
        reading.take(agent.phases_data())
        emit("phases", {key: value["value"] for key, value in reading.read().items()})
    return folder, agent


def test_follower_of_a_run_that_finds_its_phases_shows_those_found(found):
    from slads_bluesky.watch.desk import WatchedRun
    from slads_bluesky.watch.facts import describe_pixel, describe_run

    folder, agent = found
    run = WatchedRun(folder, "f" * 36)
    run.follower.step()
    while run.analyst.step():
        pass
    state = run.follower.state
    assert state.finds_phases
    assert state.n_labels == len(agent.discovery.phases) == 2
    assert np.array_equal(state.measured, agent.sampler.measured)
    assert np.array_equal(run.analyst.snapshot.reconstruction, agent.sampler.reconstruct())
    mean, n = state.mean_spectrum(1)
    assert n == agent.discovery.phases[0].n_spectra
    assert mean.sum() == pytest.approx(agent.discovery.phases[0].spectrum.sum() / n)
    about = describe_run(run)
    assert about["finds_phases"]
    assert [phase["name"] for phase in about["phases"]] == ["phase 1", "phase 2"]
    state.found = state.found._replace(names={2: "quartz"}, candidates={2: "SiO2"})
    assert (describe_run(run)["phases"][1]["name"], describe_run(run)["phases"][1]["about"]) == (
        "quartz",
        "SiO2",
    )
    assert [phase["points"] for phase in about["phases"]] == [
        int((state.measured == k).sum()) for k in (1, 2)
    ]
    assert {verdict["name"] for verdict in about["verdicts"]} <= {"ok", "uncalled"}
    assert not any("too few counts" in text for text in about["warnings"])
    pixel = int(state.points.column("pixel")[0])
    label = int(state.measured.flat[pixel])
    assert describe_pixel(run, pixel, 0, pinned=False)["phase"] == f"measured: {state.phase(label)}"
    run.close()


def test_analyst_takes_a_label_that_a_search_has_changed(found):
    folder, _ = found
    follower = MapFollower(folder, "f" * 36)
    follower.step()
    analyst = MapAnalyst(follower, [])
    while analyst.step():
        pass
    before, state = analyst.snapshot.reconstruction.copy(), follower.state
    pixels = np.flatnonzero(state.measured.ravel() == 1)
    state.measured.flat[pixels] = 2
    state.n_found += 1
    assert analyst.step()
    assert (before == 1).any()
    assert (analyst.snapshot.reconstruction == 2).all()
    follower.close()


def test_elements_of_a_map_are_computed_when_somebody_looks(recorded):
    from slads_bluesky.watch.desk import WatchedRun

    run = WatchedRun(recorded.directory, recorded.uid)
    run.follower.step()
    assert LAYERS["elements"].draw(Sight(run.follower.state, None, "dark")) is None
    run.elements.want()  # there is nothing to look at yet
    while run.analyst.step():
        pass
    run.elements.want()
    run.elements.close(120)
    assert run.elements.problem == ""
    maps = run.elements.maps
    assert {"Sn", "Pb"} <= set(maps.elements)
    sight = Sight(run.follower.state, run.analyst.snapshot, "dark", maps, "Sn")
    picture = LAYERS["elements"].draw(sight)
    assert picture.scale == "Sn, % by mass"
    of_tin = run.analyst.snapshot.reconstruction == 1 + run.follower.state.phases.index("Sn")
    assert picture.image[of_tin].mean() > 95 > 70 > picture.image[~of_tin].mean()  # the eutectic: 62 %
    several = LAYERS["elements"].draw(sight._replace(element=""))
    assert several.rgba.shape == (64, 64, 4)
    assert dict(several.legend).keys() <= set(maps.elements)
    assert several.choices == ("overlay", *maps.elements)
    run.close()


def test_abundances_are_said_largest_first():
    from types import SimpleNamespace

    from slads_bluesky.watch.facts import describe_abundances

    state = SimpleNamespace(phase=lambda label: "AB"[label - 1])
    assert describe_abundances(state, [0.3, 0.7], [0.05, 0.04]) == "abundances B 0.70 ± 0.04, A 0.30 ± 0.05"
    assert describe_abundances(state, [1.0, 0.001], None) == "abundances A 1.00"
    assert describe_abundances(state, None, None) == ""
