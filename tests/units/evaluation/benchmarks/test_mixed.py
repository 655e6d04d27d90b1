"""The benchmark of mixed boundaries: one small map end to end, and its goals."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.evaluation.benchmarks.mixed import (
    IMPERFECT,
    Row,
    boundary_error,
    map_once,
    mixed_figures,
    summarise,
)
from slads_bluesky.evaluation.benchmarks.mixed_bound import even_dose_distortion
from slads_bluesky.evaluation.benchmarks.mixed_spectra import alarm_rates, reliability
from slads_bluesky.phantom import Imperfections, make_object, training_spectra
from slads_bluesky.phantom.imperfections import ALL
from slads_bluesky.phantom.interaction import mixed_abundances
from slads_bluesky.phantom.recipes import RECIPES
from slads_bluesky.spectra import PhaseClassifier


def _result(row, **values):
    one = {
        "n": 100,
        "looks": [],
        "td_majority": 0.0,
        "td_sharp": 0.0,
        "misclassification": 0.0,
        "dose_nc": 10.0,
    }
    one |= {
        "mixed": 5,
        "refused": 0,
        "area_error": 0.0,
        "boundary_px": 0.1,
        "counts": 1000,
        "decision_ms": 1.0,
    }
    one |= values
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


def test_each_imperfection_is_switched_on_by_one_row_and_all_together():
    one_by_one = [Row("pbsn-32", 1.0, "label", which).imperfections for which in IMPERFECT if which != "all"]
    options = [name for made in one_by_one for name in made.to_json() if name != "blur_px"]
    assert sorted(options) == sorted(set(ALL.to_json()) - {"pitch_um"})
    assert Row("pbsn-32", 1.0, "label", "all").imperfections.blur_px == 1.0


def test_an_even_dose_allows_less_distortion_the_larger_it_is_and_the_narrower_the_volume():
    small = {"size": 48, "boundaries": 0.15}
    found = [even_dose_distortion(4.5, 1.0, counts, **small) for counts in (1e4, 1e5, 1e6)]
    assert found == sorted(found, reverse=True)
    assert even_dose_distortion(4.5, 2.0, 4e5, **small) == pytest.approx(found[1])


def test_reliability_and_alarms_of_a_classifier_that_knows_its_phases():
    spectra = training_spectra("pbsn", 0, 12)
    yields = tuple(float(counts.sum(axis=1).mean()) for counts in spectra.values())
    classifier = PhaseClassifier.from_spectra(spectra, RECIPES["pbsn"].axis, noise_lambda=2.0, yields=yields)
    found = reliability(classifier, "pbsn", 500, 200, np.random.default_rng(0))
    assert abs(found["both"]) < 0.06
    assert 0.5 < found["position"] < 1.6
    specimen = make_object("pbsn-32", 0, Imperfections(blur_px=1.0))
    rates = alarm_rates(classifier, specimen, 500, 150, np.random.default_rng(0))
    assert max(rates.values()) <= 0.04
