"""Methods on measured maps: the object gives its own counts, and the figures say when the map was known."""

import numpy as np
import pytest

from slads_bluesky.errors import DataError
from slads_bluesky.evaluation.paper import measured_maps
from slads_bluesky.evaluation.paper.charts import real_chart
from slads_bluesky.evaluation.paper.measured_maps import (
    AGREEMENTS,
    JUDGED_AGREEMENTS,
    JUDGED_FRACTION,
    REAL_METHODS,
    map_real,
    real_figures,
    real_identity,
    real_rows,
)
from slads_bluesky.evaluation.paper.recorded import RecordedMap, full_map, learn_phases
from slads_bluesky.spectra.io.maps import read_map


@pytest.fixture
def recorded(map_file):
    found = read_map(map_file)
    classifier = learn_phases(found, found.labels, seed=0)
    reference, labels = full_map(found, classifier)
    return RecordedMap("stripes", 0, reference, labels, classifier.phases, found)


def test_recorded_map_at_the_full_dwell_gives_the_recorded_counts(recorded):
    acquisition = recorded.acquisition(77)
    own = recorded.source.spectra[77]
    np.testing.assert_array_equal(acquisition.counts_at(1.0), own)
    before = np.zeros_like(own, dtype=np.int32)
    for live in (0.1, 0.25, 0.5, 0.9, 1.0):
        now = acquisition.counts_at(live)
        assert (now >= before).all()
        before = now
    half = np.mean([recorded.acquisition(p).counts_at(0.5).sum() for p in range(200)])
    assert half == pytest.approx(0.5 * recorded.source.spectra[:200].sum(axis=1).mean(), rel=0.03)
    np.testing.assert_array_equal(recorded.acquisition(77).counts_at(0.3), acquisition.counts_at(0.3))


def test_full_map_of_a_file_is_the_classifier_s_labels_and_a_vote_elsewhere(recorded):
    found = recorded.source
    assert (recorded.truth == found.labels).mean() > 0.99
    sure = recorded.labels > 0
    np.testing.assert_array_equal(recorded.truth[sure], recorded.labels[sure])
    assert sure.mean() > 0.95


def test_learn_phases_of_too_few_pixels_raises_data_error(map_file):
    found = read_map(map_file)
    labels = found.labels.copy()
    labels[labels == 3] = 1
    labels[:2, :3] = 3
    with pytest.raises(DataError, match="phase 3 has 6 pixels"):
        learn_phases(found, labels, seed=0)


@pytest.mark.slow
def test_map_real_by_each_method_reaches_agreement_and_adaptive_dwell_with_less_dose(map_file, tmp_path):
    results = map_real(map_file)
    assert results["phases_from"] == "the segmentation in its file"
    assert results["agrees_with_its_labels"] > 0.99
    assert set(results["methods"]) == set(REAL_METHODS)
    for found in results["methods"].values():
        assert found["fraction"] == 1.0
        assert found["agreement"] > 0.95
        assert found["reached"]["0.95"] is not None
    fixed, adaptive = (results["methods"][key]["reached"]["0.95"] for key in ("ours", "adaptive"))
    assert fixed["dose"] == pytest.approx(fixed["fraction"])
    assert adaptive["dose"] < 0.5 * adaptive["fraction"]
    table = real_rows(results)
    assert [len(row) for row in table] == [len(AGREEMENTS) + 2] * len(REAL_METHODS)
    results["methods"]["ours"]["reached"]["0.99"] = None
    assert "not reached" in real_rows(results)[list(REAL_METHODS).index("ours")]
    real_chart(tmp_path / "real.png", results)
    assert (tmp_path / "real.png").stat().st_size > 1000


def test_map_real_with_a_judge_compares_with_the_other_measurement(map_file, tmp_path, monkeypatch):
    """Judged by itself a map agrees with its full map in what that is sure of; the figures say from where on."""
    monkeypatch.setattr(measured_maps, "JUDGED_METHODS", ("low-discrepancy",))
    results = map_real(map_file, judge=map_file)
    assert results["full"] > 0.99
    (found,) = results["methods"].values()
    assert found["fraction"] == pytest.approx(JUDGED_FRACTION, abs=0.01)
    assert list(found["reached"]) == [f"{a:g}" for a in JUDGED_AGREEMENTS]
    assert len(real_figures(results)) == 3
    assert not real_figures({"map": "no judge"})
    real_chart(tmp_path / "judged.png", results)
    assert (tmp_path / "judged.png").stat().st_size > 1000


def test_real_identity_with_another_file_classifier_or_number_of_phases_changes(map_file):
    before = real_identity(map_file, 4)
    assert real_identity(map_file, 4) == before
    assert real_identity(map_file, 5) != before
    map_file.with_suffix(".safetensors").write_bytes(b"other")
    assert real_identity(map_file, 4) != before


def test_full_map_of_the_dacite_agrees_with_its_segmentation(dacite):
    found = read_map(dacite)
    reference, labels = full_map(found, learn_phases(found, found.labels, seed=0))
    assert (reference == found.labels).mean() > 0.95
    assert (labels > 0).mean() > 0.80
