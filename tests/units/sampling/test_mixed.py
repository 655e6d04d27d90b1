"""Mixed samples: what their abundances say about boundaries, and the sampler that uses them."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky import SladsAgent
from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.phantom import make_labels
from slads_bluesky.phantom.interaction import mixed_abundances
from slads_bluesky.sampling.deconvolution import boundary_distance, deconvolve
from slads_bluesky.sampling.endmembers import corrected
from slads_bluesky.sampling.factory import make_sampler
from slads_bluesky.sampling.learned.mixed import MixedSampler
from slads_bluesky.sampling.learned.sampler import LearnedSampler
from slads_bluesky.sampling.slads.mixed import MixedSladsSampler


@pytest.fixture(scope="module")
def specimen():
    truth = make_labels("pbsn", 48, 3)
    return truth, mixed_abundances(truth, 1.0, 2).astype(float)


def _map(truth, parts, n, sd, **options):
    sampler = MixedSampler(truth.shape, labels=2, seed=1, interaction_px=1.0, **options)
    rng = np.random.default_rng(0)
    while sampler.n_measured < n:
        pixel = sampler.suggest()[0].pixel
        part = parts[:, pixel // truth.shape[1], pixel % truth.shape[1]]
        noisy = np.clip(part[0] + sd * rng.normal(), 0, 1)
        found = np.array([noisy, 1.0 - noisy])
        sampler.ingest_mixture(pixel, int(found.argmax()) + 1, found, np.full(2, sd))
    return sampler


def test_abundance_of_a_straight_boundary_gives_back_its_distance():
    labels = np.ones((32, 32), np.uint8)
    labels[:, 16:] = 2
    row = mixed_abundances(labels, 2.0, 2)[0, 16]
    distance = boundary_distance(row[10:22].astype(float), 2.0)
    assert distance == pytest.approx(15.5 - np.arange(10, 22), abs=0.1)


def test_deconvolution_places_a_boundary_between_samples_to_a_part_of_a_pixel():
    labels = np.ones((24, 24), np.uint8)
    labels[:, 11:] = 2
    parts = mixed_abundances(labels, 2.0, 2).astype(float)
    pixels = np.array([r * 24 + c for r in range(1, 24, 4) for c in (3, 10, 20)])
    values = parts.reshape(2, -1)[:, pixels].T
    vague = np.full((2, 24, 24), 0.5, np.float32)
    found = deconvolve(vague, pixels, values, np.full(values.shape, 0.01), 2.0)
    assert (found.sharp != labels).mean() < 0.01
    assert found.areas == pytest.approx([11 / 24, 13 / 24], abs=0.01)
    assert found.uncertainty[:, 2].max() < 0.2 < found.uncertainty[:, 10:12].max() + 0.3


def test_deconvolution_of_four_phases_finds_the_truth_from_any_start():
    rng = np.random.default_rng(2)
    truth = make_labels("powder", 32, 0)
    parts = mixed_abundances(truth, 1.0, 4).astype(float)
    pixels = rng.permutation(truth.size)[:400]
    values = parts.reshape(4, -1)[:, pixels].T
    prior = np.full((4, 32, 32), 0.25, np.float32)
    start = rng.dirichlet(np.ones(4), (32, 32)).transpose(2, 0, 1).astype(np.float32)
    one = deconvolve(prior, pixels, values, np.full(values.shape, 0.02), 1.0)
    two = deconvolve(prior, pixels, values, np.full(values.shape, 0.02), 1.0, start=start)
    assert (one.sharp != truth).mean() < 0.05
    assert (two.sharp != truth).mean() < 0.05


def test_a_graded_phase_is_corrected_by_its_pure_samples_and_a_true_one_is_left():
    rng = np.random.default_rng(0)
    shape, n = (64, 64), 800
    pixels = rng.permutation(64 * 64)[:n]
    true = rng.choice([0.0, 0.5, 1.0], n, p=[0.4, 0.2, 0.4])
    across = (pixels % 64 + 0.5) / 64 - 0.5
    for slope in (0.2, 0.0):
        read = true * (1.0 + slope * across) + 0.05 * rng.normal(size=n)
        parts, sd = np.column_stack([read, 1.0 - read]), np.full((n, 2), 0.05)
        found, found_sd = corrected(shape, pixels, parts, sd, np.column_stack([true, 1.0 - true]))
        right = (true == 0.5) & (across > 0.2)
        assert abs((found[right, 0] - 0.5).mean()) < 0.015
        assert found.sum(axis=1) == pytest.approx(np.ones(n))
        assert np.abs(found_sd / 0.05 - 1.0).mean() < 0.15


def test_noise_of_pure_samples_displaces_nothing_where_a_correction_must_be_evident():
    rng = np.random.default_rng(1)
    true = np.repeat([0.0, 0.5, 1.0], [100, 200, 100])
    pixels = rng.permutation(64 * 64)[: len(true)]
    moved = {"always": 0.0, "evident": 0.0}
    for _ in range(5):
        read = true + 0.16 * rng.normal(size=len(true))
        parts, sd = np.column_stack([read, 1.0 - read]), np.full((len(true), 2), 0.16)
        for how in moved:
            found, found_sd = corrected((64, 64), pixels, parts, sd, np.column_stack([true, 1.0 - true]), how)
            moved[how] += float(np.abs(found - parts).mean() + (found_sd - sd).mean())
    assert moved["evident"] < 0.3 * moved["always"]


def test_endmembers_of_a_recorded_configuration_are_those_of_its_time():
    settings = AgentSettings(ScanGrid((16, 16)), n_labels=2, fraction=0.1, interaction_px=1.0)
    recorded = settings.to_json()
    assert AgentSettings.from_json(recorded) == settings
    assert settings.endmembers == recorded["sampler"].pop("endmembers") == "evident"
    assert AgentSettings.from_json(recorded).endmembers == "always"
    assert "endmembers" not in AgentSettings(ScanGrid((16, 16)), n_labels=2).to_json()["sampler"]
    recorded["sampler"]["endmembers"] = "never"
    with pytest.raises(ConfigError, match="endmembers"):
        AgentSettings.from_json(recorded)
    with pytest.raises(ConfigError, match="endmembers"):
        make_sampler("learned", (16, 16), labels=2, interaction_px=1.0, endmembers="never")


def test_samples_that_say_nothing_leave_the_prior():
    prior = np.full((2, 8, 8), 0.5, np.float32)
    prior[0], prior[1] = 0.9, 0.1
    nothing = np.full((3, 2), np.nan)
    found = deconvolve(prior, np.array([1, 2, 3]), nothing, nothing, 1.0, coupling=0.0)
    assert found.probability[0] == pytest.approx(0.9, abs=1e-3)
    with pytest.raises(DataError, match="abundances"):
        deconvolve(prior, np.array([1]), nothing, nothing, 1.0)


def test_mixed_samples_give_a_better_map_than_their_labels_alone(specimen):
    truth, parts = specimen
    majority = parts.argmax(axis=0) + 1
    sampler = _map(truth, parts, 300, 0.05)
    labels_alone = LearnedSampler.reconstruct(sampler)
    wrong = (sampler.reconstruct() != majority).mean()
    assert wrong < 0.01
    assert wrong < 0.6 * (labels_alone != majority).mean()
    found = sampler.deconvolved()
    assert abs(found.areas[0] - (truth == 1).mean()) < 0.005
    assert (found.sharp != truth).mean() < 0.012


def test_the_same_sample_twice_and_a_copy_change_nothing(specimen):
    truth, parts = specimen
    first, second = _map(truth, parts, 60, 0.05), _map(truth, parts, 60, 0.05)
    pixel = int(np.flatnonzero(second.measured.ravel() > 0)[0])
    label = int(second.measured.ravel()[pixel])
    again = second._samples._parts[pixel], second._samples._sd[pixel]
    second.ingest_mixture(pixel, label, *(array.copy() for array in again))
    assert first.suggest(5) == second.suggest(5)
    assert np.array_equal(first.reconstruct(), second.reconstruct())


def test_agent_takes_mixed_events_only_where_the_sampler_knows_the_interaction_volume():
    grid = ScanGrid((32, 32))
    event = {
        "data": {
            "scan_pixel": 5, "eds_label": 1, "eds_verdict": "mixed", "eds_majority": 2,
            "eds_abundances": np.array([0.4, 0.6]), "eds_abundance_sd": np.array([0.1, 0.1]),
        }
    }  # fmt: skip
    plain = AgentSettings(grid, n_labels=2, fraction=0.1)
    mixing = AgentSettings(grid, n_labels=2, fraction=0.1, interaction_px=1.0)
    assert "interaction_px" not in plain.to_json()["sampler"]
    assert AgentSettings.from_json(mixing.to_json()) == mixing
    for settings, label in ((plain, 0), (mixing, 2)):
        agent = SladsAgent.from_settings(settings)
        agent.ingest(event)
        assert agent.sampler.measured.ravel()[5] == label
    with pytest.raises(DataError, match="shape"):
        agent.ingest({"data": {**event["data"], "eds_abundances": np.ones(3)}})
    with pytest.raises(ConfigError, match="'slads'"):
        make_sampler("low-discrepancy", (8, 8), labels=2, interaction_px=1.0)


def test_slads_maps_mixed_samples_better_than_by_their_labels(specimen, model):
    truth, parts = specimen
    sampler = make_sampler("slads", truth.shape, labels=2, model=model, interaction_px=1.0)
    rng = np.random.default_rng(0)
    while sampler.n_measured < 300:
        pixel = sampler.suggest()[0].pixel
        part = float(np.clip(parts.reshape(2, -1)[0, pixel] + 0.05 * rng.normal(), 0, 1))
        sampler.ingest_mixture(pixel, 1 if part > 0.5 else 2, np.array([part, 1 - part]), np.full(2, 0.05))
    majority = parts.argmax(axis=0) + 1
    wrong = (sampler.reconstruct() != majority).mean()
    assert wrong < 0.02
    assert wrong <= (super(MixedSladsSampler, sampler).reconstruct() != majority).mean()


def test_where_the_network_does_not_decide_the_vote_is_the_prior(specimen, monkeypatch):
    truth, parts = specimen
    sampler = _map(truth, parts, 120, 0.05)
    by_network = sampler.reconstruct()
    monkeypatch.setattr(MixedSampler, "uses_network", False)
    sampler.ingest(int(np.flatnonzero(sampler.measured < 0)[0]), 0)
    by_vote = sampler.reconstruct()
    majority = parts.argmax(axis=0) + 1
    assert not np.array_equal(by_network, by_vote)
    assert (by_vote != majority).mean() < 0.08


def test_map_of_mixed_samples_holds_sharp_labels_uncertainty_and_area_fractions(specimen):
    truth, parts = specimen
    maps = _map(truth, parts, 120, 0.05).boundary_maps()
    assert maps["sharp"].dtype == np.uint8
    assert maps["area_fractions"].sum(axis=0) == pytest.approx(np.ones(truth.shape), abs=1e-5)
    wrong = (maps["sharp"] != truth).mean()
    assert wrong < 0.08
    assert 0.2 < maps["sharp_uncertainty"].mean() / wrong < 5.0
