"""One trial from end to end, small; and the curve made of it."""

from dataclasses import replace

import numpy as np
import pytest

from slads_bluesky.evaluation.paper import smoother
from slads_bluesky.evaluation.paper.trial import METHODS, REFERENCES, SCORES, reference_curves, run_trial
from slads_bluesky.phantom.paper_results import PAPER


@pytest.fixture(autouse=True)
def _own_cache(shared_cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.mark.slow
@pytest.mark.parametrize("method", list(METHODS))
def test_run_trial_of_each_method_scores_the_map_that_its_curve_ends_with(method, pbsn_models, monkeypatch):
    monkeypatch.setitem(PAPER, "pbsn-64", PAPER["pbsn-128"])
    documents = []
    result = run_trial(
        "pbsn-64", method, 0, subscribers=(lambda *document: documents.append(document),), fraction=0.06
    )
    assert set(SCORES) <= set(result)
    assert result["n_measured"] == round(0.06 * 64**2)
    assert documents[0][1]["num_points"] == result["n_measured"]
    n, dose, td = result["curve"][-1]
    assert n == result["n_measured"]
    assert dose == pytest.approx(result["dose_nC"])
    assert td == result["td"]  # the map that the curve ends with is the one that the run ended with
    assert np.all(np.diff([row[1] for row in result["curve"]]) > 0)
    assert 0 < result["peak_rss_mb"] < 4000
    assert result["trial_s"] > 0
    assert result["maps"]["measured"].shape == (64, 64)


def test_reference_curves_of_an_object_end_with_the_oracle_far_below_a_mask():
    found = reference_curves("pbsn-128", 0)["curves"]
    assert set(found) == set(REFERENCES)
    assert all(n > 0 and 0 <= td < 1 for curve in found.values() for n, td in curve)
    assert found["oracle"][-1][1] < 0.1 * found["low-discrepancy"][-1][1]


def test_smoother_object_beyond_reach_is_coarsened_until_slads_reaches_the_figure(monkeypatch):
    asked = replace(PAPER["pbsn-128"], fraction=0.08)
    monkeypatch.setattr(smoother, "PAPER", {"pbsn-128": asked})
    found = smoother.smoother_object("pbsn-128", 0)
    assert len(found["tried"]) == 2 + smoother.HALVINGS
    enough = [b for b, td in found["tried"] if td <= asked.td]
    assert found["boundary_fraction"] == max(enough) < max(b for b, _ in found["tried"])


@pytest.mark.parametrize(("td", "tried"), [(0.5, 1), (0.0, 2)])
def test_smoother_object_within_reach_or_out_of_it_is_not_searched(monkeypatch, td, tried):
    monkeypatch.setattr(smoother, "PAPER", {"pbsn-128": replace(PAPER["pbsn-128"], fraction=0.02, td=td)})
    found = smoother.smoother_object("pbsn-128", 0)
    assert len(found["tried"]) == tried
    assert (found["boundary_fraction"] is None) == (td == 0.0)
