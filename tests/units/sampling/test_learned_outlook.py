"""What the learned sampler says of its own mistakes: analogues, interval, a stop with confidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, ModelFileError
from slads_bluesky.phantom.microstructures import make_labels
from slads_bluesky.sampling.learned import error_monitor as learned_outlook
from slads_bluesky.sampling.learned.error_monitor import PROGRESS, learn_analogues
from slads_bluesky.sampling.learned.holdout import examine
from slads_bluesky.sampling.learned.inference import NetworkMapper
from slads_bluesky.sampling.learned.model import LearnedModel, shipped_model
from slads_bluesky.sampling.learned.planning import Plan, hedge
from slads_bluesky.sampling.learned.policy import disputed, interleave, pick_batch
from slads_bluesky.sampling.learned.sampler import LearnedSampler


@pytest.fixture(scope="module")
def model():
    """The shipped network with analogues of a few runs of its own."""
    general = shipped_model()
    return replace(general, analogues=learn_analogues(general, seed=5, generated=8))


@pytest.fixture(scope="module")
def truth():
    return make_labels("pbsn", 64, 3)


def sampler_of(model, truth, **settings):
    return LearnedSampler(truth.shape, model, labels=int(truth.max()), **settings)


def measure(sampler, truth, n):
    flat = truth.ravel()
    while sampler.n_measured < n and not sampler.should_stop():
        pixel = sampler.suggest(1)[0].pixel
        sampler.ingest(pixel, int(flat[pixel]))


def test_analogues_are_seeded_runs_that_end_better_than_they_begin(model):
    again = learn_analogues(shipped_model(), seed=5, generated=8)
    assert np.array_equal(again, model.analogues)
    assert model.analogues.shape[0] >= 8 * len(PROGRESS) // 2
    runs = model.analogues[:, -1]
    assert np.array_equal(np.unique(runs), np.arange(8))
    for run in range(8):
        guesses = model.analogues[runs == run, 2]
        assert guesses[-1] < guesses[0]


def test_the_interval_narrows_and_ends_at_nothing(truth):
    sampler = sampler_of(shipped_model(), truth)
    assert np.isnan(sampler.distortion_interval(0.9)[0])
    bounds = []
    for n in (60, 400, 1200):
        measure(sampler, truth, n)
        low, high = sampler.distortion_interval(0.9)
        assert 0 <= low <= sampler.distortion_estimate() <= high <= 1
        assert sampler.distortion_interval(0.5)[1] <= high
        bounds.append(high)
    assert bounds[0] > bounds[1] > bounds[2]
    measure(sampler, truth, truth.size)
    assert sampler.distortion_bound(0.99) == 0


def test_a_stop_with_confidence_comes_later_and_holds(model, truth):
    plain, sure = (
        sampler_of(model, truth, stop_at=0.05, confidence=confidence) for confidence in (0.5, 0.95)
    )
    for sampler in (plain, sure):
        measure(sampler, truth, truth.size)
    assert plain.n_measured <= sure.n_measured < truth.size
    assert np.mean(sure.reconstruct() != truth) <= 0.05
    arrays, facts = sure.state()
    again = LearnedSampler.from_state(arrays, facts, model)
    assert again.should_stop()


def test_the_map_is_looked_at_once_a_plan_however_often_one_asks(model, truth, monkeypatch):
    looks = []

    def counted(*arguments):
        looks.append(arguments)
        return examine(*arguments)

    monkeypatch.setattr(learned_outlook, "examine", counted)
    sampler = sampler_of(model, truth, stop_at=1e-4, confidence=0.9)
    measure(sampler, truth, 300)
    before = len(looks)
    assert before > 0
    sampler.suggest(1)
    for _ in range(20):
        sampler.should_stop()
    assert len(looks) <= before + 1


def test_confidence_that_cannot_be(truth):
    general = replace(shipped_model(), analogues=np.zeros((0, 7), np.float32))
    with pytest.raises(ConfigError, match="analogues"):
        sampler_of(general, truth, stop_at=0.01, confidence=0.9)
    with pytest.raises(ConfigError, match="without stop_at"):
        sampler_of(general, truth, confidence=0.9)
    with pytest.raises(ConfigError, match="confidence must lie"):
        sampler_of(general, truth, stop_at=0.01, confidence=1.5)
    assert np.isnan(sampler_of(general, truth).distortion_bound(0.9))


def test_analogues_are_in_the_file_and_in_the_hash(model, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = LearnedModel.load(path)
    assert np.array_equal(again.analogues, model.analogues)
    assert again.sha256 == model.sha256 != replace(model, analogues=model.analogues[:-1]).sha256
    with pytest.raises(ModelFileError, match=r"analogues must be finite"):
        replace(model, analogues=np.full((3, 7), np.nan, np.float32))
    with pytest.raises(ModelFileError, match=r"\(3, 6\)"):
        replace(model, analogues=np.zeros((3, 6), np.float32))


def test_hedged_picks_are_those_in_dispute_and_those_far_away_in_their_shares(truth):
    mapper = NetworkMapper(shipped_model(), "float32")
    rng = np.random.default_rng(3)
    known = rng.permutation(truth.size)[: truth.size // 4]
    seen = np.full(truth.size, -1, np.int16)
    seen[known] = truth.ravel()[known]
    plan = Plan(mapper, seen.reshape(truth.shape), np.ones(truth.shape, bool), 0)
    picks = [pixel for pixel, _ in plan.take(40, plan.seen, 40)]
    assert plan.hedged == 1.0
    estimate = plan.estimate
    doubt = 1 - estimate.probability
    dispute = np.where(plan.seen < 0, disputed(doubt, estimate.conflict), -np.inf)
    sharp = pick_batch(dispute, estimate.distance, 40)
    assert len(set(picks)) == 40
    assert len(set(picks) & set(sharp.tolist())) >= 0.8 * 40 - 1
    assert [p for p, _ in plan.take(90, plan.seen, 40)][:40] == picks


def test_two_lists_of_picks_are_merged_in_their_shares_to_the_last_pixel():
    first, second = np.arange(10), np.arange(100, 110)
    merged = interleave(first, second, 0.8)
    assert merged.tolist() == [0, 100, 101, 102, 103, 1, 104, 105, 106, 107]
    assert interleave(first, second, 0.0).tolist() == first.tolist()
    longer = interleave(np.arange(30), np.arange(100, 130), 0.8)
    assert longer[:10].tolist() == merged.tolist()
    same = np.random.default_rng(0).permutation(10)
    assert sorted(interleave(first, same, 0.5).tolist()) == first.tolist()


def test_the_hedge_grows_with_measurements_that_a_known_specimen_would_not_need():
    labels = np.ones((50, 50), np.uint8)
    labels[:, 25:] = 2  # b = 0.04: 100 boundary pixels
    everywhere = np.ones(labels.shape, bool)
    order = np.random.default_rng(0).permutation(labels.size)

    def at(n):
        seen = np.full(labels.size, -1, np.int16)
        seen[order[:n]] = 1
        return hedge(labels, seen.reshape(labels.shape), everywhere)

    assert at(50) == 0
    assert 0 < at(80) < at(100) < 1
    assert at(120) == at(2000) == 1
    assert hedge(np.ones((5, 5), np.uint8), np.ones((5, 5), np.int16), np.ones((5, 5), bool)) == 1
