"""A long map, short: the processes are looked at, and growth is told from none."""

import json

import pytest

from slads_bluesky.cli import main
from slads_bluesky.evaluation.benchmarks.endurance import endurance_figures, flatness


def test_flatness_of_growing_values_is_the_growth_of_the_last_tenth():
    assert flatness([10.0] * 100) == 0.0
    assert flatness([100.0 + i for i in range(100)]) == pytest.approx(194.5 / 104.5 - 1)


def test_endurance_figures_of_a_leak_do_not_hold():
    flat = {
        "rss_mb": [100.0] * 20,
        "handles": [30] * 20,
        "threads": [9] * 20,
        "cpu_s": [0.5 * i for i in range(20)],
    }
    found = {"points": 20, "after": list(range(20)), "session": {**flat, "handles": list(range(30, 50))},
             "ioc": flat, "writer": flat, "point_ms": {"median": 8.0, "first": 8.0, "last": 8.7}}  # fmt: skip
    holds = {figure.name: figure.holds for figure in endurance_figures(found)}
    assert not holds["session: growth of file handles"]
    assert holds["ioc: growth of processor time per point"]
    assert holds["ioc: growth of file handles"]
    assert holds["growth of the time per point"]


@pytest.mark.slow
def test_bench_endurance_of_a_small_map_looks_at_three_processes(model_cache, tmp_path, monkeypatch):
    import slads_bluesky.simulation.models

    monkeypatch.setattr(slads_bluesky.simulation.models, "cache_directory", lambda: model_cache)
    file = tmp_path / "figures.json"
    with pytest.raises(SystemExit) as end:
        main(["bench", "endurance", "--points", "150", "--object", "pbsn-48", "--json", str(file)])
    assert end.value.code == 0
    found = json.loads(file.read_text())
    assert found["after"][-1] == 150
    for process in ("session", "ioc", "writer"):
        assert min(found[process]["rss_mb"]) > 20
        assert max(found[process]["handles"]) > 3
        assert min(found[process]["threads"]) >= 1
    assert found["point_ms"]["median"] > 0
    assert len(found["figures"]) == 18
    assert found["session"]["cpu_s"][-1] > found["session"]["cpu_s"][0]
