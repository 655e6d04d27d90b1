"""``slads-bluesky paper``: what it prints and writes of kept results, and what it refuses."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from slads_bluesky.cli import main
from slads_bluesky.errors import InstrumentError
from slads_bluesky.evaluation.commands import paper as commands
from slads_bluesky.evaluation.paper import campaign
from slads_bluesky.evaluation.paper.fingerprint import fingerprint
from slads_bluesky.evaluation.paper.table import COLUMNS, titles
from slads_bluesky.evaluation.paper.trial import METHODS, REFERENCES, SCORES
from slads_bluesky.evaluation.store import TrialStore
from slads_bluesky.phantom.paper_results import PAPER


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["paper", *map(str, arguments)])
    return end.value.code or 0


def keep(folder, experiment="pbsn-128", seeds=2):
    """Results of trials that have been run before."""
    shape = (128, 128)
    maps = {
        "measured": np.ones(shape, np.int16),
        "reconstruction": np.ones(shape, np.uint8),
        "truth": np.ones(shape, np.uint8),
        "phases": ["a", "b"],
    }
    curve = [[164, 10.0, 0.1], [2458, 150.0, 0.001]]
    bare = [[164, 0.1], [2458, 0.01]]
    for seed in range(seeds):
        for name, method in METHODS.items():
            result = {
                **dict.fromkeys(SCORES, 0.5 + seed), "boundary_fraction": 0.12 + 0.01 * seed, "maps": maps,
                "raster_dose_nC": 1e5, "curve": curve, "trial_s": 3.0, "dose_nC": 150.0, "n_measured": 2458,
            }  # fmt: skip
            TrialStore(folder, fingerprint(method)).save(f"{experiment}-{name}-{seed}", result)
        TrialStore(folder, fingerprint()).save(
            f"{experiment}-references-{seed}",
            {"curves": dict.fromkeys(REFERENCES, bare), "trial_s": 1.0},
        )
        rows = [
            {
                "dose_nc": dose,
                "time_s": 2 * dose,
                "reference": {"td": 0.1 / dose},
                "best": {"td": 0.05 / dose},
            }
            for dose in (1.0, 10.0, 100.0, 1000.0)
        ]
        TrialStore(folder, fingerprint(rival=True)).save(
            f"{experiment}-rival-{seed}", {"rows": rows, "trial_s": 1.0}
        )


def test_paper_with_kept_results_writes_table_markdown_json_and_pictures(tmp_path, capsys):
    keep(tmp_path)
    files = [tmp_path / name for name in ("table.md", "table.json")]
    code = run("--experiment", "pbsn-128", "--seeds", 2, "--out", tmp_path,
               "--markdown", files[0], "--json", files[1])  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert "boundary fraction 0.120, 0.130" in printed
    assert "measured maps: skipped, need --real DIR" in printed
    assert columns_of(files[0].read_text()) == {"pbsn-128": [list(COLUMNS), titles("pbsn-128")]}
    # by lines in logarithms: 0.1 / 66.7 and 0.05 / 33.3 are the paper's distortion, and 150 nC are ours
    assert "| dose for a distortion of 0.0015, nC | 66.7 | 33.3 | 1 |" in files[0].read_text()
    assert "| distortion at our dose of 150 nC | 0.00067 | 0.00033 | 1.50000 |" in files[0].read_text()
    figures = json.loads(files[1].read_text())["experiments"]["pbsn-128"]
    assert figures["boundary_fractions"] == [0.12, 0.13]
    assert figures["ours"]["td"] == {"median": 1.0, "worst": 1.5}
    for name in ("paper", "ours", "curves"):
        assert (tmp_path / f"pbsn-128-{name}.png").stat().st_size > 1000


@pytest.mark.parametrize("experiment", ["pbsn-128", "pbsn-1024"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_paper_with_a_missing_trial_runs_only_that(tmp_path, monkeypatch, capsys, experiment, jobs):
    keep(tmp_path, experiment)
    gone = [f"{experiment}-ours-1", f"{experiment}-references-0"]
    kept = {name: (tmp_path / f"{name}.json").read_text() for name in gone}
    for name in gone:
        (tmp_path / f"{name}.json").unlink()
    asked = []

    def do(step, out, alone):
        asked.append((step.key, alone))
        store = TrialStore(tmp_path, fingerprint(METHODS.get(step.method)))
        (tmp_path / f"{step.key}.json").write_text(kept[step.key])
        return {k: v for k, v in store.load(step.key).items() if k not in ("program_version", "has_maps")}

    monkeypatch.setattr(campaign, "_do", do)
    assert run("--experiment", experiment, "--seeds", 2, "--jobs", jobs, "--out", tmp_path) == 0
    assert sorted(asked) == sorted((name, jobs == 1 or experiment == "pbsn-128") for name in gone)
    printed = capsys.readouterr().out
    assert "6 of 8 done, about" in printed
    assert run("--experiment", experiment, "--seeds", 2, "--out", tmp_path) == 0
    assert len(asked) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_paper_with_a_failing_trial_keeps_the_others(tmp_path, monkeypatch, capsys, jobs):
    keep(tmp_path, "pbsn-1024")
    for seed in (0, 1):
        (tmp_path / f"pbsn-1024-references-{seed}.json").unlink()
    good_is_done = threading.Event()

    def do(step, out, alone):
        if step.seed == 1:
            good_is_done.wait(10)
            raise InstrumentError("out of memory")
        good_is_done.set()
        return {"curves": {key: [[10, 0.1]] for key in REFERENCES}, "trial_s": 1.0}

    monkeypatch.setattr(campaign, "_do", do)
    assert run("--experiment", "pbsn-1024", "--seeds", 2, "--jobs", jobs, "--out", tmp_path) == 2
    assert "out of memory" in capsys.readouterr().err
    assert TrialStore(tmp_path, fingerprint()).load("pbsn-1024-references-0") is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--experiment", "gold"], "unknown experiment 'gold'"),
        (["--no-simulated"], "without --real"),
        (["--no-simulated", "--real", "{folder}", "--markdown", "x.md"], "--markdown"),
        (["--no-simulated", "--real", "{folder}"], "holds no map"),
        (["--no-simulated", "--real", "{folder}/none"], "there is no such folder"),
        (["--no-simulated", "--real", "{folder}", "--judge", "x.bcf"], "--judge FILE needs --real FILE"),
        (["--judge", "x.bcf"], "--judge FILE needs --real FILE"),
        (["--json", "{folder}/none/x.json"], "cannot write"),
        (["--markdown", "{folder}/none/x.md"], "cannot write"),
    ],
)
def test_paper_with_bad_arguments_prints_one_line_and_exits_2(tmp_path, capsys, arguments, words):
    (tmp_path / "maps").mkdir()
    given = [a.replace("{folder}", str(tmp_path / "maps")) for a in arguments]
    assert run(*given, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("slads-bluesky: ")
    assert error.count("\n") == 1


def test_paper_with_a_truncated_map_names_it(tmp_path, capsys):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    assert run("--no-simulated", "--real", tmp_path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "cut.npz: truncated" in error


def test_paper_goes_past_a_map_that_cannot_be_used_and_writes_no_nan(tmp_path, capsys, monkeypatch):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "good.npz").write_bytes(b"stands for a map of an hour")
    real = commands._real

    def quick(output, out, path, seed, phases, judge):
        if path.stem == "good":
            return {"map": path.name, "agreement": float("nan")}
        return real(output, out, path, seed, phases, judge)

    monkeypatch.setattr(commands, "_real", quick)
    where = tmp_path / "figures.json"
    assert run("--no-simulated", "--real", tmp_path, "--out", tmp_path / "out", "--json", where) == 0
    assert "cut.npz: skipped, cannot be used" in capsys.readouterr().out.replace("\n", " ")
    good, bad = json.loads(where.read_text())["real"]
    assert good == {"map": "good.npz", "agreement": None}
    assert bad["map"] == "cut.npz"
    assert "truncated" in bad["error"]


def columns_of(markdown):
    """Experiment to the heads and the first column of its table."""
    found = {}
    heading = r"^(?:\*\*|### )([a-z]+-\d+)(?:\*\*: |\n\n).*\n\n((?:\|.*\|\n)+)"
    for name, block in re.findall(heading, markdown, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found[name] = [lines[0], [line[0] for line in lines[2:]]]
    return found


def test_paper_tables_of_the_site_have_the_command_s_rows_and_columns():
    page = Path(__file__).parents[4] / "docs" / "explanation" / "results.md"
    shown = columns_of(page.read_text())
    assert set(shown) <= set(PAPER)
    assert {"pbsn-128", "powder-256"} <= set(shown)
    for name, (heads, first) in shown.items():
        assert heads == list(COLUMNS)
        assert first == titles(name)
