"""Trials of a long benchmark: kept ones are not measured again, progress is of all trials."""

import json
from contextlib import suppress

import pytest

from slads_bluesky.cli import main
from slads_bluesky.evaluation.benchmarks.trials import Trial, make_trials
from slads_bluesky.evaluation.store import TrialStore


def _trials(made, stop_at=None):
    def measure(i, report):
        if i == stop_at:
            raise KeyboardInterrupt
        report(0.5)
        made.append(i)
        return {"value": i}

    return [
        Trial(f"trial-{i}", f"number {i}", 1.0 + i, lambda report, i=i: measure(i, report)) for i in range(4)
    ]


def test_make_trials_after_an_interrupt_resumes(tmp_path):
    store, made = TrialStore(tmp_path, "code"), []
    with pytest.raises(KeyboardInterrupt):
        make_trials(_trials(made, stop_at=2), store)
    assert made == [0, 1]
    found = make_trials(_trials(made), TrialStore(tmp_path, "code"))
    assert made == [0, 1, 2, 3]
    assert [found[f"trial-{i}"]["value"] for i in range(4)] == [0, 1, 2, 3]
    make_trials(_trials(made), TrialStore(tmp_path, "other code"))
    assert made == [0, 1, 2, 3] * 2


def test_make_trials_reports_each_trial_by_its_title():
    said = []
    make_trials(_trials([]), progress=lambda stage, done: said.append((stage, done)))
    assert [stage for stage, _ in said] == [f"number {i}" for i in range(4) for _ in range(2)]


def test_make_trials_reports_the_fraction_of_all_trials():
    said = []
    make_trials(_trials([]), progress=lambda stage, done: said.append(done))
    assert said == pytest.approx([0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8])


def test_bench_sampling_with_keep_runs_each_trial_once(tmp_path, capsys):
    arguments = ["bench", "sampling", "--objects", "pbsn-128", "--samplers", "low-discrepancy"]
    files = ["--keep", str(tmp_path / "kept"), "--json", str(tmp_path / "figures.json")]
    said = []
    for _ in range(2):
        with suppress(SystemExit):
            main([*arguments, *files])
        said.append(capsys.readouterr())
    assert said[0].err.count("object 2 of 3") == 1
    assert said[1].err == ""
    assert said[0].out == said[1].out
    written = json.loads((tmp_path / "figures.json").read_text())
    (row,) = written["objects"]
    assert written["figures"][0]["name"] == "low-discrepancy, pbsn-128: fraction for TD 0.0015"
    assert written["figures"][0]["holds"] is False
    assert row["object"] == "pbsn-128"
    assert len(row["values"]) == 3


def test_bench_sampling_with_an_unknown_part_names_it(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "sampling", "--objects", "pbsn-128,pbsn-77"])
    assert stop.value.code == 2
    assert "unknown part 'pbsn-77'" in capsys.readouterr().err
