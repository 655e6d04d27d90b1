"""The specimens and figures of the benchmark of maps from nothing."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.evaluation.benchmarks.unknown import unknown_figures
from slads_bluesky.evaluation.benchmarks.unknown_specimens import (
    adjusted_rand_index,
    make_specimen,
    matched_phases,
)
from slads_bluesky.evaluation.spectra.detectors import chernoff_distance
from slads_bluesky.phantom.microstructures import RARE


def test_rand_index_is_one_for_the_same_groups_and_near_zero_by_chance():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    assert adjusted_rand_index(labels, (labels * 7 + 3) % 11) == pytest.approx(1.0)
    assert abs(adjusted_rand_index(labels, rng.permutation(labels))) < 0.02


def test_matched_phases_of_a_split_phase_counts_the_lesser_half_as_invented():
    truth = np.array([1] * 10 + [2] * 10)
    assert matched_phases(truth, truth + 4) == (2, 0)
    assert matched_phases(truth, np.array([7] * 10 + [3] * 6 + [5] * 4)) == (2, 1)
    assert matched_phases(truth, np.full(20, 3)) == (0, 1)  # two phases in one are none found
    assert matched_phases(truth, np.zeros(20, int)) == (0, 0)


def test_rock_has_two_rare_phases_and_two_that_are_alike():
    specimen = make_specimen("rock-128", 0)
    shares = np.bincount(specimen.truth.ravel(), minlength=9)[1:] / specimen.truth.size
    assert (shares > 0).all()
    assert shares[2:4] == pytest.approx(tuple(RARE.values()), rel=0.5)
    assert 1.0 / chernoff_distance(specimen.shapes[6], specimen.shapes[7]) == pytest.approx(500.0, rel=0.1)
    others = [chernoff_distance(a, b) for i, a in enumerate(specimen.shapes) for b in specimen.shapes[:i]]
    assert np.sort(others)[1] > 5.0 / 500.0


def test_figures_count_phases_that_are_missed_and_invented():
    def trial(specimen, found, td, known=0.01):
        about = {"phases": 2, "found": found, "matched": min(found, 2), "invented": max(found - 2, 0)}
        return {"specimen": specimen, "td": td, "td_known": known, "dose": 1.0, **about}

    found = {
        "trials": [
            trial("pbsn-64", 2, 0.012),
            trial("pbsn-64", 3, 0.02, None),
            trial("rock-64-imperfect", 4, 0.0),
        ],
        "speed": {"ingest_s": 1e-3, "calls_s": 4.0},
        "real": [{"specimen": "dacite", "ours": 0.8, "em": 0.9}],
        "missing": 3,
    }
    rows = {figure.name: figure for figure in unknown_figures(found)}
    assert rows["pbsn-64: right number of phases, part of 2 runs"].value == 0.5
    ratio = next(figure for name, figure in rows.items() if name.endswith("1 seeds, median"))
    assert ratio.value == pytest.approx(1.2)
    assert rows["rock-64-imperfect: phases invented, most"].value == 2
    assert not rows["dacite: Rand index less that of EM with the number known"].holds
    assert not rows["calling 50,000 spectra again"].holds
    assert not rows["trials not run yet"].holds
