"""Phases found in spectra: their number, their members, mixtures, and labels that last."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra.discovery import PhaseDiscovery, discover


def shapes_of(n, seed=0, channels=400):
    rng = np.random.default_rng(seed)
    at = np.arange(channels)
    lines = [
        sum(np.exp(-0.5 * ((at - e) / 5.0) ** 2) for e in rng.uniform(30, channels - 30, 3)) for _ in range(n)
    ]
    rows = np.array(lines) + 0.05 * np.exp(-at / 150.0)
    return rows / rows.sum(axis=1, keepdims=True)


def drawn(shapes, truth, counts, seed=1):
    return np.random.default_rng(seed).poisson(counts * shapes[truth])


def binned(spectra, width=8):
    return np.add.reduceat(spectra, np.arange(0, spectra.shape[1], width), axis=1)


def same_groups(a, b):
    """Whether two labellings are the same but for the names of the groups."""
    pairs = set(zip(a, b, strict=True))
    return len(pairs) == len(set(a)) == len(set(b))


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("counts", [80, 20_000])
def test_discover_of_distinct_shapes_finds_their_number_and_members(n, counts):
    truth = np.random.default_rng(n).integers(0, n, 150)
    found = discover(binned(drawn(shapes_of(n), truth, counts)))
    assert found.n_phases == n
    assert found.between == {}
    assert same_groups(found.mixture.responsibility.argmax(axis=1), truth)


def test_discover_of_mixtures_makes_no_phase_of_them():
    two = shapes_of(2)
    shapes = np.vstack([two, 0.55 * two[0] + 0.45 * two[1]])
    truth = np.array([0] * 60 + [1] * 60 + [2] * 25)
    found = discover(binned(drawn(shapes, truth, 1500)))
    assert found.n_phases == 2
    ((group, between),) = found.between.items()
    assert (found.mixture.responsibility.argmax(axis=1)[truth == 2] == group).all()
    assert 0.4 < max(between.part, 1 - between.part) < 0.7


def test_discovery_of_a_phase_that_comes_late_changes_earlier_pixels_no_more_than_it_must():
    shapes = shapes_of(3)
    truth = np.array([0, 1] * 50 + [0, 1, 2, 2] * 25)
    spectra = drawn(shapes, truth, 120)
    discovery = PhaseDiscovery()
    for pixel in range(100):
        discovery.ingest(pixel, spectra[pixel])
    early = [discovery.call(pixel).label for pixel in range(100)]
    assert len(discovery.phases) == 2
    changes = [discovery.ingest(pixel, spectra[pixel]) for pixel in range(100, 200)]
    assert len(discovery.phases) == 3
    late = np.array([discovery.call(pixel).label for pixel in range(200)])
    assert late[:100].tolist() == early  # their labels last
    assert same_groups(late, truth)
    assert all(pixel in change.labels for pixel, change in zip(range(100, 200), changes, strict=True))
    total = sum(int(phase.spectrum.sum()) for phase in discovery.phases)
    assert total == spectra.sum()


def test_discovery_of_a_lone_spectrum_calls_it_unknown_and_says_what_may_be_hidden():
    shapes = shapes_of(3)
    truth = np.array([0, 1] * 40 + [2])
    discovery = PhaseDiscovery()
    for pixel, spectrum in enumerate(drawn(shapes, truth, 400)):
        discovery.ingest(pixel, spectrum)
    assert discovery.call(80).verdict == "unknown"
    assert discovery.call(80).label == 0
    estimate, upper = discovery.undiscovered()
    assert estimate == pytest.approx(1 / 81)
    assert 1 / 81 < upper < 0.1


def test_discovery_is_a_pure_function_of_the_spectra():
    spectra = drawn(shapes_of(3), np.random.default_rng(0).integers(0, 3, 40), 60)
    runs = []
    for _ in range(2):
        discovery = PhaseDiscovery()
        runs.append([discovery.ingest(pixel, s).labels for pixel, s in enumerate(spectra)])
    assert runs[0] == runs[1]


def test_discovery_of_a_pixel_taken_again_replaces_its_spectrum():
    shapes = shapes_of(2)
    discovery = PhaseDiscovery()
    for pixel, spectrum in enumerate(drawn(shapes, np.arange(40) % 2, 100)):
        discovery.ingest(pixel, spectrum)
    spectra = drawn(shapes, np.arange(40) % 2, 100)
    more = drawn(shapes, np.array([0]), 100, seed=9)[0]
    discovery.ingest(0, more)
    assert discovery.n_spectra == 40
    assert sum(int(phase.spectrum.sum()) for phase in discovery.phases) == spectra[1:].sum() + more.sum()


def test_discovery_of_what_cannot_be_is_refused_by_name():
    with pytest.raises(ConfigError, match="1 to 250, not 0"):
        PhaseDiscovery(most=0)
    discovery = PhaseDiscovery()
    discovery.ingest(0, np.ones(10, np.int64))
    with pytest.raises(DataError, match="pixel 1: 11 channels, those before had 10"):
        discovery.ingest(1, np.ones(11, np.int64))
    assert discovery.n_spectra == 1
