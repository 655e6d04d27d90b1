"""``slads-bluesky bench session`` on a small object: the figures are there, and add up."""

import json

import pytest

from slads_bluesky.cli import main


def test_bench_session_of_a_small_object_writes_figures_that_add_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = [
        "--object",
        "pbsn-32",
        "--points",
        "200",
        "--repeats",
        "1",
        "--profile",
        str(tmp_path / "none"),
    ]
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "session", *arguments, "--json", str(tmp_path / "figures.json")])
    assert exit_.value.code == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["object"], figures["points"], figures["repeats"]) == ("pbsn-32", 200, 1)
    assert 0 < figures["view_share"] == figures["view_share_worst"] < 1
    assert figures["bare_point_ms"] > 0
    assert 0 < figures["publisher_median_call_ms"] < figures["bare_point_ms"]
    assert figures["publisher_work_ms"] > 0
    assert "session_ready_s" not in figures
    assert "live view" in capsys.readouterr().out


def test_bench_session_with_more_points_than_pixels_exits_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "session", "--object", "pbsn-32", "--points", "2000"])
    assert exit_.value.code == 2
    assert "1024 pixels" in capsys.readouterr().err
