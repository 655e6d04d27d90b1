"""What a map will take, output from what earlier ones took."""

import json

import numpy as np
import pytest

from slads_bluesky.analysis.cost import PastRun, estimate, past_run
from slads_bluesky.analysis.load import load_map
from slads_bluesky.cli import main
from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.record import Journal
from slads_bluesky.streams import events_by_stream


def invoke(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["estimate", *map(str, arguments)])
    return exit_.value.code


def run_of(uid="a", live_s=10.0, ratio=1.5, current=2.0, overhead=0.25):
    return PastRun(uid, 100, live_s, ratio, current, overhead)


def test_by_one_earlier_run():
    made = estimate([run_of()], n_pixels=1000, fraction=0.1, dwell_s=4.0)
    assert made.n_points == 100
    assert made.beam_s.value == pytest.approx(100 * 4.0 * 1.5)
    assert made.wall_s.value == pytest.approx(100 * (4.0 * 1.5 + 0.25))
    assert made.dose_nc.value == pytest.approx(100 * 4.0 * 1.5 * 2.0)
    assert made.raster_beam_s == pytest.approx(1000 * 4.0 * 1.5)
    assert (made.wall_s.low, made.wall_s.high) == (made.wall_s.value, made.wall_s.value)


def test_the_range_is_that_of_the_earlier_runs():
    runs = [run_of(str(i), ratio=1 + i / 10, current=i + 1, overhead=i) for i in range(5)]
    made = estimate(runs, n_pixels=100, fraction=0.5)
    walls = sorted(50 * (10 * (1 + i / 10) + i) for i in range(5))
    assert (made.wall_s.low, made.wall_s.value, made.wall_s.high) == pytest.approx(
        (walls[0], walls[2], walls[4])
    )
    doses = sorted(50 * 10 * (1 + i / 10) * (i + 1) for i in range(5))
    assert (made.dose_nc.low, made.dose_nc.high) == pytest.approx((doses[0], doses[-1]))
    given = estimate(runs, n_pixels=100, fraction=0.5, current_na=1.0)
    assert given.dose_nc == given.beam_s


def test_what_is_not_known_is_not_told():
    made = estimate([run_of(current=np.nan, overhead=np.nan)], n_pixels=100, fraction=0.5)
    assert made.wall_s is None
    assert made.dose_nc is None
    alone = estimate([], n_pixels=100, fraction=0.5, dwell_s=2.0, current_na=3.0)
    assert (alone.beam_s.value, alone.dose_nc.value, alone.wall_s) == (100.0, 300.0, None)
    with pytest.raises(RecordError, match="no earlier run"):
        estimate([], n_pixels=100, fraction=0.5)


@pytest.mark.parametrize(
    ("more", "culprit"),
    [
        ({"fraction": 0.0}, "fraction"),
        ({"fraction": 1.5}, r"1\.5"),
        ({"fraction": float("nan")}, "nan"),
        ({"dwell_s": -1.0}, "dwell"),
        ({"current_na": 0.0}, "current"),
        ({"n_pixels": 0}, "pixel"),
    ],
)
def test_numbers_out_of_range(more, culprit):
    with pytest.raises(ConfigError, match=culprit):
        estimate([run_of()], **{"n_pixels": 100, "fraction": 0.5, **more})


def test_a_recorded_run_tells_its_own_numbers(recorded):
    data = load_map([lambda: iter(recorded.documents)])
    past = past_run(recorded.documents)
    assert past.n_points == 250
    assert past.live_s == pytest.approx(data.live_time_s.mean())
    assert past.real_per_live == pytest.approx(data.real_time_s.sum() / data.live_time_s.sum())
    assert past.current_na == pytest.approx(data.dose_nc.sum() / data.real_time_s.sum())
    # soft devices do not wait for their dwell: all time between events is overhead
    assert past.overhead_s == pytest.approx((data.times[-1] - data.times[0]) / 249)


def test_a_recorded_run_knows_its_rate_and_its_boundaries(recorded):
    past = past_run(recorded.documents)
    data = load_map([lambda: iter(recorded.documents)])
    assert past.rate_cps == pytest.approx(data.counts.sum() / data.live_time_s.sum())
    assert 0 < past.boundary < 1
    assert not past.by_lists


def test_the_same_map_again_is_estimated_as_it_was(recorded):
    data = load_map([lambda: iter(recorded.documents)])
    made = estimate([past_run(recorded.documents)], n_pixels=4096, fraction=250 / 4096)
    assert made.n_points == 250
    assert made.dose_nc.value == pytest.approx(data.dose_nc.sum())
    assert made.beam_s.value == pytest.approx(data.real_time_s.sum())


def with_dwell(documents, wait_s, ledger=True):
    """The documents as a microscope that takes its time would have emitted them."""
    out, shift = [], 0.0
    for name, stream, doc in events_by_stream(documents):
        if name == "event" and stream == "primary":
            shift += doc["data"]["eds_real_time"] + wait_s
            doc = {**doc, "time": documents[0][1]["time"] + shift}
        if name == "event" and stream == "ledger":
            if not ledger:
                continue
            acquired = shift - 250 * wait_s / 2
            doc = {
                **doc,
                "data": {**doc["data"], "ledger_acquire_total_s": acquired, "ledger_acquire_n": 250},
            }
        out.append((name, doc))
    return out


@pytest.mark.parametrize("ledger", [True, False])
def test_overhead_is_what_a_point_takes_beside_its_real_time(recorded, ledger):
    past = past_run(with_dwell(recorded.documents, 0.5, ledger))
    assert past.overhead_s == pytest.approx(0.5, abs=0.02)


def test_too_short_a_run_and_one_that_is_no_map_say_nothing(recorded):
    short = [pair for pair in recorded.documents if pair[1].get("seq_num", 1) < 15]
    assert past_run(short) is None
    assert past_run([("start", {"uid": "x", "time": 0.0})]) is None


def test_on_the_command_line(recorded, tmp_path, capsys):
    where = ["--catalog", recorded.directory]
    assert invoke("64x64", "--fraction", 250 / 4096, *where, "--json", tmp_path / "f.json") == 0
    output = capsys.readouterr().out
    assert "250 of 4096" in output
    assert f"one earlier run, {recorded.uid[:8]}" in output
    assert "recommended  " in output
    assert "a raster needs" in output
    figures = json.loads((tmp_path / "f.json").read_text())
    data = load_map([lambda: iter(recorded.documents)])
    assert figures["dose_nc"]["value"] == pytest.approx(data.dose_nc.sum())
    assert figures["runs"] == [recorded.uid]
    assert figures["recommendation"]["best"] in ("raster", "points", "lists")
    assert invoke("64x64", "--sample", "another", "--dwell", "2", *where) == 0
    assert "no earlier run" in capsys.readouterr().out


def test_several_runs_on_the_command_line(recorded, tmp_path, capsys):
    for i in range(3):
        with Journal(tmp_path / "journal") as journal:
            uid = f"{i}{recorded.uid[1:]}"
            for name, doc in recorded.documents:
                renamed = {key: uid if value == recorded.uid else value for key, value in doc.items()}
                journal(name, renamed)
    assert invoke("64x64", "--catalog", tmp_path) == 0
    assert "3 earlier runs" in capsys.readouterr().out
    assert invoke("64x64", "--catalog", tmp_path, "--last", 2) == 0
    assert "2 earlier runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["64"], "'64'"),
        (["64x0"], "0"),
        (["64x9999"], "9999"),
        (["64x64", "--fraction", "2"], "fraction"),
        (["64x64", "--last", "0"], "--last"),
        (["64x64", "--sample", "another"], "--dwell"),
    ],
)
def test_what_cannot_be_told(recorded, capsys, arguments, culprit):
    assert invoke(*arguments, "--catalog", recorded.directory) == 2
    assert culprit in capsys.readouterr().err
