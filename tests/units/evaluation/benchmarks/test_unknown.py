"""The specimens and figures of the benchmark of maps from nothing."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.evaluation.benchmarks.unknown import (
    NEAR_COUNTS,
    RARE,
    of_eight,
    rand_index,
    unknown_figures,
)
from slads_bluesky.evaluation.spectra.detectors import chernoff_distance


def test_rand_index_is_one_for_the_same_groups_and_near_zero_by_chance():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    assert rand_index(labels, (labels * 7 + 3) % 11) == pytest.approx(1.0)
    assert abs(rand_index(labels, rng.permutation(labels))) < 0.02


def test_specimen_of_eight_has_two_rare_phases_and_two_that_are_alike():
    specimen = of_eight(128, 0)
    shares = np.bincount(specimen.truth.ravel(), minlength=9)[1:] / specimen.truth.size
    assert (shares > 0).all()
    assert shares[2:4] == pytest.approx(RARE, rel=0.5)
    assert 1.0 / chernoff_distance(specimen.shapes[6], specimen.shapes[7]) == pytest.approx(
        NEAR_COUNTS, rel=0.02
    )
    others = [chernoff_distance(a, b) for i, a in enumerate(specimen.shapes) for b in specimen.shapes[:i]]
    assert np.sort(others)[1] > 5.0 / NEAR_COUNTS


def test_figures_count_phases_that_are_missed_and_invented():
    def trial(specimen, found, td):
        return {"specimen": specimen, "phases": 2, "found": found, "td": td, "td_known": 0.01}

    found = {
        "trials": [trial("pbsn-64", 2, 0.012), trial("pbsn-64", 3, 0.02), trial("eight-64", 4, 0.0)],
        "speed": {"ingest_s": 1e-3, "calls_s": 4.0},
    }
    rows = {figure.name: figure for figure in unknown_figures(found)}
    assert rows["pbsn-64: runs with the right number of phases, of 2"].value == 0.5
    assert rows["pbsn-64: distortion at 10 % over that with known phases, median"].value == pytest.approx(1.6)
    assert rows["eight-64: phases invented, most"].value == 2
    assert not rows["calling 50,000 spectra again"].holds
