"""Mixtures of phases as hypotheses: which phase has the largest part, and how large the parts are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from slads_bluesky.phantom import training_spectra
from slads_bluesky.phantom.recipes import RECIPES
from slads_bluesky.spectra import PhaseClassifier, load_classifier


@pytest.fixture(scope="module", params=["pbsn", "powder"])
def known(request):
    spectra = training_spectra(request.param, 0, 12)
    yields = tuple(float(counts.sum(axis=1).mean()) for counts in spectra.values())
    axis = RECIPES[request.param].axis
    made = PhaseClassifier.from_spectra(spectra, axis, noise_lambda=2.0, yields=yields)
    held_out = [counts + 2.0 for counts in training_spectra(request.param, 7, 12).values()]
    return made, held_out


def _draw(spectra, counts, rng):
    """A spectrum, its largest phase and that phase's part: pure ones and, as often, mixtures at a boundary."""
    first, second = rng.permutation(len(spectra))[:2]
    part = 1.0 if rng.random() < 0.5 else float(ndtr(rng.uniform(-2.5, 2.5)))
    expected = part * spectra[first][rng.integers(12)] + (1.0 - part) * spectra[second][rng.integers(12)]
    spectrum = rng.multinomial(counts, expected / expected.sum())
    return spectrum, (first if part > 0.5 else second), part, first


@pytest.mark.parametrize("counts", [20, 200, 5000, 50_000])
def test_majority_of_pure_and_mixed_spectra_is_right_as_often_as_it_says(known, counts):
    classifier, spectra = known
    rng = np.random.default_rng(counts)
    stated, right, misses = [], [], []
    for _ in range(400):
        spectrum, largest, part, first = _draw(spectra, counts, rng)
        found = classifier.mixture(spectrum)
        stated.append(found.probability)
        right.append(found.majority - 1 == largest)
        misses.append((found.abundances[first] - part) / found.abundance_sd[first])
        assert found.abundances.sum() == pytest.approx(1.0, abs=1e-6)
    error = np.sqrt(np.mean(np.multiply(stated, 1.0 - np.array(stated))) / 400)
    assert abs(np.mean(stated) - np.mean(right)) < 0.01 + 3.0 * error
    assert np.median(np.abs(misses)) < 1.3


def test_abundances_are_parts_of_the_volume_and_not_of_the_counts(known):
    classifier, spectra = known
    expected = 0.5 * spectra[0].mean(axis=0) + 0.5 * spectra[-1].mean(axis=0)
    found = classifier.mixture(expected)
    assert found.abundances[[0, -1]] == pytest.approx([0.5, 0.5], abs=0.02)
    assert found.pure < 1e-6


def test_unbounded_parts_have_no_bias_at_few_counts(known):
    classifier, spectra = known
    expected = 0.9 * spectra[0].mean(axis=0) + 0.1 * spectra[1].mean(axis=0)
    rng = np.random.default_rng(3)
    found = [classifier.mixture(rng.multinomial(100, expected / expected.sum())) for _ in range(200)]
    first = np.array([one.unbounded[0] for one in found])
    stated = np.array([one.unbounded_sd[0] for one in found])
    assert abs(first.mean() - 0.9) < 4.0 * first.std() / np.sqrt(200) + 0.01
    assert 0.7 < np.sqrt((stated**2).mean()) / first.std() < 1.6
    assert found[0].unbounded.sum() == pytest.approx(1.0)


def test_three_phases_are_found_where_there_are_three():
    spectra = training_spectra("powder", 0, 12)
    yields = tuple(float(counts.sum(axis=1).mean()) for counts in spectra.values())
    classifier = PhaseClassifier.from_spectra(spectra, RECIPES["powder"].axis, yields=yields)
    expected = sum(p * s.mean(axis=0) for p, s in zip((0.5, 0.3, 0.2), spectra.values(), strict=False))
    found = classifier.mixture(np.random.default_rng(0).multinomial(20_000, expected / expected.sum()))
    assert found.abundances[:3] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    assert found.majority == 1


def test_no_counts_leave_everything_open(known):
    classifier, _ = known
    found = classifier.mixture(np.zeros(classifier.n_channels))
    n = len(classifier.phases)
    assert found.abundances == pytest.approx(np.full(n, 1.0 / n), abs=0.35)
    assert found.probability < 0.75


def test_yields_stand_in_the_model_file_and_files_without_them_keep_their_hash(known, tmp_path):
    classifier, _ = known
    classifier.save(tmp_path / "with")
    again = load_classifier(tmp_path / "with")
    assert again.settings.yields == classifier.settings.yields
    assert again.sha256 == classifier.sha256
    assert "yields" not in PhaseClassifier.from_compositions({"Si": "Si", "C": "C"}).settings.to_json()
