"""Unknown spectra that look alike become a phase that has a name."""

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra import PhaseClassifier, expected_counts
from slads_bluesky.spectra.discovery.new_phases import find_new_phases
from slads_bluesky.spectra.likelihood.new_phase import accept_phase


@pytest.fixture(scope="module")
def unknown(axis):
    """Spectra of iron, calcium oxide and copper in turn, 12 each."""
    rng = np.random.default_rng(0)
    shapes = [expected_counts(spec, axis, total_counts=1.0) for spec in ("Fe", "CaO", "Cu")]
    return np.array([rng.poisson(3000 * shapes[i % 3]) for i in range(36)])


@pytest.fixture(scope="module")
def two(axis):
    return PhaseClassifier.from_compositions({"Si": "Si", "C": "C"}, axis)


def test_alike_spectra_are_grouped_and_named_by_their_lines(unknown, two):
    assert (two.classify_batch(unknown)[0] == 0).all()
    found = find_new_phases(unknown, two)
    assert {phase.suggested_name for phase in found} == {"Fe", "Ca-O", "Cu"}
    for phase in found:
        assert phase.n_spectra == 12
        assert len({int(i) % 3 for i in phase.members}) == 1
        np.testing.assert_allclose(phase.mean, unknown[phase.members].mean(axis=0))
    iron = next(phase for phase in found if phase.suggested_name == "Fe")
    assert any(name == "Fe KL3" and abs(energy - 6.4) < 0.05 for name, energy in iron.lines)


def test_groups_hold_each_spectrum_once_and_ignore_the_order(unknown, two):
    found = find_new_phases(unknown, two, least=1)
    members = np.concatenate([phase.members for phase in found])
    assert sorted(members) == list(range(36))
    backwards = find_new_phases(unknown[::-1], two, least=1)
    assert sorted(p.suggested_name for p in backwards) == sorted(p.suggested_name for p in found)


def test_strays_are_not_offered(unknown, two):
    assert len(find_new_phases(unknown[[0, 1, 2, 3, 4, 6]], two, least=3)) == 1
    assert find_new_phases(np.zeros((4, 2040)), two) == []


def test_an_accepted_phase_is_found_and_the_others_keep_their_labels(unknown, two, axis, tmp_path):
    iron = next(p for p in find_new_phases(unknown, two) if p.suggested_name == "Fe")
    three = accept_phase(two, "iron", unknown[iron.members])
    assert three.phases == ("Si", "C", "iron")
    assert set(three.classify_batch(unknown[iron.members])[0]) == {3}
    rng = np.random.default_rng(1)
    for label, spec in ((1, "Si"), (2, "C")):
        spectrum = rng.poisson(expected_counts(spec, axis, total_counts=3000.0))
        assert three.classify(spectrum)[::2] == (label, "ok")
    three.save(tmp_path / "three")
    assert PhaseClassifier.load(tmp_path / "three").sha256 == three.sha256


def test_a_phase_cannot_be_accepted_twice_or_from_nothing(unknown, two):
    with pytest.raises(ConfigError, match="twice"):
        accept_phase(two, "Si", unknown)
    with pytest.raises(DataError, match="iron"):
        accept_phase(two, "iron", unknown[:, :100])
