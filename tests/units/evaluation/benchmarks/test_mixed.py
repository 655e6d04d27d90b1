"""The benchmark of mixed boundaries: one small map end to end, and its goals."""

from __future__ import annotations

import numpy as np

from slads_bluesky.evaluation.benchmarks.mixed import Row, boundary_error, map_once, mixed_figures, summarise
from slads_bluesky.phantom.interaction import mixed_abundances


def _result(row, **values):
    one = {
        "n": 100,
        "looks": [],
        "td_majority": 0.0,
        "td_sharp": 0.0,
        "misclassification": 0.0,
        "dose_nc": 10.0,
    }
    one |= {"mixed": 5, "refused": 0, "area_error": 0.0, "boundary_px": 0.1, **values}
    return {"row": row.name, **vars(row), "maps": [one], **summarise([one])}


def test_boundary_error_of_a_shifted_boundary_is_the_shift():
    labels = np.ones((32, 32), np.uint8)
    labels[:, 16:] = 2
    moved = np.roll(labels, 1, axis=1)
    moved[:, 0] = 1
    found = boundary_error(mixed_abundances(moved, 2.0, 2), mixed_abundances(labels, 2.0, 2))
    assert abs(found - 1.0) < 0.1


def test_figures_hold_against_the_goals_of_their_row():
    sharp = _result(Row("pbsn-128", 0.0, "label"), boundary_px=None)
    good = _result(Row("pbsn-128", 1.0, "label"), dose_nc=25.0)
    bad = _result(Row("pbsn-128", 1.0, "fixed"), td_majority=0.0011)
    figures = {figure.name: figure for figure in mixed_figures([sharp, good, bad])}
    assert figures["pbsn-128, σ = 1, label dwell: dose against the sharp case"].holds
    assert figures["pbsn-128, σ = 1, label dwell, worst: distortion, majority phase"].holds
    assert figures["pbsn-128, σ = 1, fixed dwell, median: distortion, majority phase"].holds is False
    assert figures["pbsn-128, sharp, adaptive, median: distortion, majority phase"].holds is None


def test_a_map_of_mixed_boundaries_is_better_than_the_sharp_rules_made_it():
    figures = map_once(Row("pbsn-32", 1.0, "label"), 1, 0.2, looks=(0.1,))
    assert figures["n"] == 205
    assert figures["td_majority"] < 0.04
    assert figures["misclassification"] < 0.05
    assert [look["fraction"] for look in figures["looks"]] == [0.1]
