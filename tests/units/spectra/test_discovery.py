"""Phases found in spectra: their number, their members, mixtures, and labels that last."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra.axis import EnergyAxis
from slads_bluesky.spectra.discovery import ElementPrior, PhaseDiscovery, PhaseStep, discover
from slads_bluesky.spectra.discovery.calling import call_spectra
from slads_bluesky.spectra.discovery.mixture import Shapes
from slads_bluesky.spectra.physics.spectrum import expected_counts


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
    assert found.mixture.mixed.max() < 0.5
    assert same_groups(found.mixture.responsibility.argmax(axis=1), truth)


def test_discover_of_mixtures_makes_no_phase_of_them_and_finds_their_parts():
    two = shapes_of(2)
    part = np.concatenate([np.ones(60), np.zeros(60), np.linspace(0.15, 0.85, 25)])
    spectra = np.random.default_rng(1).poisson(1500 * (part[:, None] * two[0] + (1 - part[:, None]) * two[1]))
    found = discover(binned(spectra))
    assert found.n_phases == 2
    mixed = found.mixture.mixed > 0.5
    assert mixed.tolist() == [False] * 120 + [True] * 25
    parts = found.mixture.abundances
    of_first = parts.parts[:, :2][parts.phases[:, :2] == found.mixture.hard[0]]
    assert np.abs(of_first - part)[mixed].max() < 0.1
    calls, _ = call_spectra(found, [1, 2], binned(spectra))
    assert {call.verdict for call in calls[120:]} == {"mixed"}
    assert calls[120].label == calls[60].label != calls[144].label == calls[0].label


def test_pairs_of_many_phases_at_boundaries_leave_their_number_as_it_is():
    shapes, rng = shapes_of(4), np.random.default_rng(3)
    a, b, part = rng.integers(0, 4, 300), rng.integers(0, 4, 300), rng.uniform(0, 1, (300, 1))
    part[:150] = 1.0
    found = discover(binned(rng.poisson(400 * (part * shapes[a] + (1 - part) * shapes[b]))))
    assert found.n_phases == 4
    assert same_groups(found.mixture.hard[:150], a[:150])


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


def taken(spectra, **options):
    discovery = PhaseDiscovery(**options)
    for pixel, spectrum in enumerate(spectra):
        discovery.ingest(pixel, spectrum)
    return discovery


def labels_of(discovery):
    return np.array([discovery.call(pixel).label for pixel in range(discovery.n_spectra)])


def test_operator_merges_names_forbids_and_parts_phases_and_searches_keep_it_so():
    truth = np.arange(90) % 3
    spectra = drawn(shapes_of(3), np.concatenate([truth, truth]), 150)
    discovery = taken(spectra[:90])
    a, b, c = (discovery.call(pixel).label for pixel in range(3))
    for step in (
        PhaseStep("merge", b, other=a),
        PhaseStep("name", a, name="matrix"),
        PhaseStep("forbid", c),
    ):
        done, change = discovery.apply(step)
        assert done.refused == ""
        assert change.searched
    for pixel in range(90, 180):  # searches follow
        discovery.ingest(pixel, spectra[pixel])
    late = labels_of(discovery)
    assert set(late[np.concatenate([truth, truth]) != 2]) == {a}
    assert {discovery.call(p).verdict for p in range(2, 180, 3)} == {"ill"}
    named = {phase.label: phase for phase in discovery.phases}
    assert named[a].name == "matrix"
    assert named[c].forbidden
    discovery.apply(PhaseStep("split", a))  # parts what was merged
    discovery.apply(PhaseStep("allow", c))
    assert same_groups(labels_of(discovery), np.concatenate([truth, truth]))


def test_operator_splits_a_phase_that_the_evidence_holds_together_and_it_stays_split():
    two = shapes_of(2)
    near = 0.93 * two[0] + 0.07 * two[1]
    truth = np.arange(120) % 2
    spectra = drawn(np.vstack([two[0], near]), truth, 100)
    discovery = taken(spectra[:80])
    assert len(discovery.phases) == 1
    done, _ = discovery.apply(PhaseStep("split", discovery.call(0).label))
    assert done.refused == ""
    assert len({int(n) for n in labels_of(discovery)} - {0}) == 2
    for pixel in range(80, 120):
        discovery.ingest(pixel, spectra[pixel])
    assert len({own for own in discovery._labels.own if own}) == 2


def test_operator_is_refused_what_cannot_be_and_is_given_the_reason():
    discovery = taken(drawn(shapes_of(2), np.arange(40) % 2, 100))
    before = labels_of(discovery).tolist()
    for step, reason in (
        (PhaseStep("forbid", 9), "there is no phase 9"),
        (PhaseStep("merge", 1, other=7), "there is no phase 7"),
    ):
        assert reason in discovery.apply(step)[0].refused
    discovery.apply(PhaseStep("name", 1, name="tin"))
    assert "another phase is named" in discovery.apply(PhaseStep("name", 2, name="tin"))[0].refused
    assert labels_of(discovery).tolist() == before
    for wrong in ({"action": "melt", "label": 1}, {"action": "merge", "label": 2, "other": 2}, {"label": 1}):
        with pytest.raises(ConfigError):
            PhaseStep.from_json(wrong)


def test_undiscovered_part_counts_spread_out_spectra_only():
    shapes = shapes_of(3)
    spectra = drawn(shapes, np.array([0, 1] * 40 + [2]), 400)
    discovery = PhaseDiscovery()
    for pixel, spectrum in enumerate(spectra):
        discovery.ingest(pixel, spectrum, spread=pixel < 40)
    assert discovery.undiscovered() == (0.0, pytest.approx(1 - 0.05 ** (1 / 40)))


def test_two_phases_that_are_nearly_alike_are_parted_and_one_that_scatters_is_not():
    axis = EnergyAxis(-0.05, 0.02, 500)
    alike = {"Mg": 0.30, "Si": 0.25, "O": 0.45}, {"Mg": 0.25, "Si": 0.29, "O": 0.46}
    rows = np.array([expected_counts(phase, axis, total_counts=1.0) for phase in alike])
    truth = np.random.default_rng(3).integers(0, 2, 300)
    prior = ElementPrior.of(axis, 15.0, 4)
    found = discover(binned(drawn(rows, truth, 400), 4), elements=prior)
    assert found.n_phases == 2
    right = found.mixture.responsibility.argmax(axis=1) == truth
    assert max(right.mean(), 1 - right.mean()) > 0.75
    rng = np.random.default_rng(5)
    spread = 0.5 + 0.15 * rng.standard_normal((300, 1))  # a solid solution between them
    scattered = rng.poisson(400 * (spread * rows[0] + (1 - spread) * rows[1]))
    assert discover(binned(scattered, 4), elements=prior).n_phases == 1


def test_elements_as_prior_hold_a_sum_of_lines_for_likelier_than_any_curve():
    axis = EnergyAxis(-0.05, 0.02, 500)
    prior = ElementPrior.of(axis, 15.0, 4)
    any_curve = Shapes(np.ones((1, 125)))
    mineral = binned(drawn(expected_counts("SiO2", axis, total_counts=1.0)[None], np.array([0]), 3000), 4)
    jagged = np.roll(mineral[:, ::-1], 7, axis=1)

    def odds(row):
        return prior.log_evidence(row.astype(float))[0] - any_curve.log_evidence(row.astype(float))[0]

    assert odds(mineral) > 100.0
    assert odds(jagged) < 0.0
    _, n_elements = prior.fit(mineral.astype(float))
    assert n_elements[0] <= 6
