"""Kept results, their schedule, and the table and charts made of them."""

import json

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.evaluation.paper.charts import band, charts
from slads_bluesky.evaluation.paper.schedule import Schedule, Step, steps
from slads_bluesky.evaluation.paper.table import COLUMNS, heading, markdown, rows, smoother, summarise, titles
from slads_bluesky.evaluation.paper.trial import METHODS, SCORES
from slads_bluesky.evaluation.store import TrialStore
from slads_bluesky.phantom.paper_results import PAPER


def _trial(**changes):
    return {**dict.fromkeys(SCORES, 1.0), **changes}


def test_trial_store_after_saving_loads_the_result_with_its_maps(tmp_path):
    store = TrialStore(tmp_path, "1.0")
    truth = np.arange(6, dtype=np.uint8).reshape(2, 3)
    store.save("a", {"td": 0.5, "maps": {"truth": truth, "phases": ["x"]}})
    back = TrialStore(tmp_path, "1.0").load("a")
    assert back["td"] == 0.5
    assert back["maps"]["phases"] == ["x"]
    np.testing.assert_array_equal(back["maps"]["truth"], truth)


def test_trial_store_with_a_damaged_or_foreign_result_loads_none(tmp_path):
    store = TrialStore(tmp_path, "1.0")
    store.save("a", {"td": 0.5})
    assert TrialStore(tmp_path, "2.0").load("a") is None
    assert store.load("b") is None
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text[: len(text) // 2])
    assert store.load("a") is None
    store.save("c", {"maps": {"truth": np.zeros((2, 2))}})
    (tmp_path / "c.npz").unlink()
    assert store.load("c") is None
    (tmp_path / "d.json").write_text(json.dumps([1]))
    assert store.load("d") is None


def test_trial_store_in_an_unwritable_folder_raises_naming_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        TrialStore(tmp_path / "file", "1.0")


def test_summarise_of_trials_gives_median_and_worst_and_none_where_not_reached():
    found = summarise([_trial(td=0.1), _trial(td=0.3), _trial(td=0.2, fraction_at_paper_td=None)])
    assert found["td"] == {"median": 0.2, "worst": 0.3}
    assert found["fraction_at_paper_td"] == {"median": 1.0, "worst": None}


def test_rows_of_two_methods_show_the_dose_reduction_factors():
    summaries = {
        "paper": summarise([_trial(dose_at_paper_td_nC=1000.0, td=0.1), _trial(dose_at_paper_td_nC=1000.0)]),
        "ours": summarise([_trial(dose_at_paper_td_nC=2.0, fraction_at_paper_td=None)]),
    }
    table = {row[0]: row[1:] for row in rows("pbsn-128", summaries, 50000.0)}
    assert table["dose reduction factor against the paper's method"] == ["–", "1 ×", "500 ×"]
    assert table["dose reduction factor against a full raster"] == ["–", "50 ×", "25000 ×"]
    assert table["samples for a distortion of 0.0015"] == ["15 %", "100.0 %", "not reached"]
    assert table["distortion at the end"][1] == "0.55000 (1.00000)"
    assert list(table) == titles("pbsn-128")


def test_heading_of_an_experiment_names_each_boundary_fraction():
    assert heading("powder-256", [0.0851, 0.0912]) == (
        "powder-256: 256 × 256, 20 % of the pixels; boundary fraction 0.085, 0.091"
    )


def test_markdown_of_two_tables_has_a_line_per_row_with_equal_columns():
    lines = [["a", "–", "1", "2"], ["b", "–", "3", "4"]]
    table = markdown([("one: 1 × 1", lines, ""), ("two: 2 × 2", lines, "Mind the gap.")]).splitlines()
    assert table[0] == "**one**: 1 × 1"
    assert table[2] == f"| {' | '.join(COLUMNS)} |"
    assert table[4] == "| a | – | 1 | 2 |"
    assert table[7] == "**two**: 2 × 2"
    assert {line.count("|") for line in table if line.startswith("|")} == {len(COLUMNS) + 1}
    assert table[13:] == ["", "Mind the gap."]


def test_smoother_remark_of_objects_names_each_boundary_fraction_or_none():
    remark = smoother("pbsn-1024", [0.0391, None])
    assert "5 % of the pixels give a distortion of 0.0013" in remark
    assert remark.endswith("up to boundary fractions of 0.039, less than was tried.")


def test_band_over_seeds_is_median_and_range_of_curves_held_at_their_end():
    first = [[10, 1.0, 0.1], [100, 10.0, 0.01]]
    others = [[[10, 1.0, value]] * 1 + [[200, 20.0, value]] for value in (0.2, 0.4)]
    at, median, low, high = band([first, *others], 0, 1e-3)
    assert at[0] == pytest.approx(10)
    assert at[-1] == pytest.approx(200)
    np.testing.assert_allclose([low[0], median[0], high[0]], [0.1, 0.2, 0.4])
    np.testing.assert_allclose([low[-1], median[-1], high[-1]], [0.01, 0.2, 0.4])
    assert (low <= median).all()
    assert (median <= high).all()


def test_charts_of_perfect_and_empty_curves_are_drawn(tmp_path):
    curve = [[10, 5.0, 0.1], [100, 50.0, 0.0]]
    nothing = [[10, 5.0, float("nan")]]
    charts(tmp_path / "c.png", "pbsn-128", {"random": [curve, curve], "ours": [curve], "oracle": [nothing]})
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_steps_of_experiments_hold_each_method_and_the_references_once_per_seed():
    plan = steps(["pbsn-128", "powder-1024"], range(2))
    assert len(plan) == len(set(plan)) == 2 * 2 * (len(METHODS) + 2)
    assert plan[0] == Step("pbsn-128", "paper", 0)
    assert plan[0].whole_system
    assert not plan[-1].whole_system
    assert {step.experiment for step in steps(list(PAPER), [0])} == set(PAPER)


def test_schedule_after_a_slow_step_scales_the_time_left():
    plan = steps(["pbsn-128"], range(2))
    schedule = Schedule(plan, lambda step: None)
    expected = sum(step.expected_s for step in plan)
    assert schedule.left_s == pytest.approx(expected)
    schedule.done(plan[0], 2 * plan[0].expected_s)
    assert schedule.left_s == pytest.approx(2 * (expected - plan[0].expected_s))
    assert (schedule.n_done, schedule.n_steps) == (1, 8)
    for step in plan[1:]:
        schedule.done(step, 1.0)
    assert schedule.left_s == 0


def test_schedule_with_two_jobs_halves_only_steps_on_soft_devices():
    for name, times in (("pbsn-128", 1), ("pbsn-1024", 2)):
        plan = steps([name], [0])
        one, two = (Schedule(plan, lambda step: None, jobs).left_s for jobs in (1, 2))
        assert one == pytest.approx(times * two)
        assert Schedule(plan, lambda step: None, 2, together=True).left_s == pytest.approx(one / 2)
