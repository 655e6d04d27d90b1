"""Results kept between runs, and the table made of them."""

import json

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.reproduction.store import TrialStore
from slads_bluesky.reproduction.summary import charts, rows, summarise
from slads_bluesky.reproduction.trial import SCORES


def _trial(**changes):
    return {**dict.fromkeys(SCORES, 1.0), **changes}


def test_what_was_saved_is_loaded_with_its_maps(tmp_path):
    store = TrialStore(tmp_path, "1.0")
    truth = np.arange(6, dtype=np.uint8).reshape(2, 3)
    store.save("a", {"td": 0.5, "maps": {"truth": truth, "phases": ["x"]}})
    back = TrialStore(tmp_path, "1.0").load("a")
    assert back["td"] == 0.5
    assert back["maps"]["phases"] == ["x"]
    np.testing.assert_array_equal(back["maps"]["truth"], truth)


def test_damaged_missing_and_foreign_results_do_not_count(tmp_path):
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


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        TrialStore(tmp_path / "file", "1.0")


def test_summary_is_median_and_worst_and_says_what_was_not_reached():
    found = summarise([_trial(td=0.1), _trial(td=0.3), _trial(td=0.2, fraction_at_paper_td=None)])
    assert found["td"] == {"median": 0.2, "worst": 0.3}
    assert found["fraction_at_paper_td"] == {"median": 1.0, "worst": None}


def test_the_table_shows_each_method_and_the_dose_saved():
    summaries = {
        "paper": summarise([_trial(dose_at_paper_td_nC=1000.0)]),
        "ours": summarise([_trial(dose_at_paper_td_nC=2.0, fraction_at_paper_td=None)]),
    }
    table = {row[0]: row[1:] for row in rows("pbsn-128", summaries, 50000.0)}
    assert table["dose saved against the paper's method"] == ["–", "1 ×", "500 ×"]
    assert table["dose saved against a full raster"] == ["–", "50 ×", "25000 ×"]
    assert table["fraction at distortion 0.0015"][2] == "not reached (not reached)"


def test_charts_are_drawn(tmp_path):
    curve = [[10, 5.0, 0.1], [100, 50.0, 0.0]]
    charts(tmp_path / "c.png", "pbsn-128", {"random": curve, "ours": curve})
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
