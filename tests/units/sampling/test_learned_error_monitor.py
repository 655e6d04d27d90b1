"""The learned sampler's error monitor: calibration runs, interval, a stop with confidence; its hedge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, ModelFileError
from slads_bluesky.modelfile import read_file, write_file
from slads_bluesky.phantom.microstructures import make_labels
from slads_bluesky.sampling.learned import error_monitor
from slads_bluesky.sampling.learned.error_calibration import CHECKPOINTS, learn_calibration_runs
from slads_bluesky.sampling.learned.holdout import validate
from slads_bluesky.sampling.learned.inference import NetworkMapper
from slads_bluesky.sampling.learned.model import LearnedModel, shipped_model
from slads_bluesky.sampling.learned.planning import Plan, hedge
from slads_bluesky.sampling.learned.sampler import LearnedSampler
from slads_bluesky.sampling.picks import disputed, interleave, pick_batch


@pytest.fixture(scope="module")
def model():
    """The shipped network with a few calibration runs of its own."""
    general = shipped_model()
    return replace(general, calibration_runs=learn_calibration_runs(general, seed=5, generated=8))


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


def test_calibration_runs_are_seeded_and_end_better_than_they_begin(model):
    again = learn_calibration_runs(shipped_model(), seed=5, generated=2)
    assert np.array_equal(again, model.calibration_runs[: len(again)])
    assert model.calibration_runs.shape[0] >= 8 * len(CHECKPOINTS) // 2
    runs = model.calibration_runs[:, -1]
    assert np.array_equal(np.unique(runs), np.arange(8))
    for run in range(8):
        guesses = model.calibration_runs[runs == run, 2]
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


def test_should_stop_validates_once_a_plan_however_often_it_is_called(model, truth, monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return validate(*arguments)

    monkeypatch.setattr(error_monitor, "validate", counted)
    sampler = sampler_of(model, truth, stop_at=1e-4, confidence=0.9)
    measure(sampler, truth, 300)
    before = len(calls)
    assert before > 0
    sampler.suggest(1)
    for _ in range(20):
        sampler.should_stop()
    assert len(calls) <= before + 1


def test_confidence_that_cannot_be(truth):
    general = replace(shipped_model(), calibration_runs=np.zeros((0, 7), np.float32))
    with pytest.raises(ConfigError, match="calibration runs"):
        sampler_of(general, truth, stop_at=0.01, confidence=0.9)
    with pytest.raises(ConfigError, match="without stop_at"):
        sampler_of(general, truth, confidence=0.9)
    with pytest.raises(ConfigError, match="confidence must lie"):
        sampler_of(general, truth, stop_at=0.01, confidence=1.5)
    assert np.isnan(sampler_of(general, truth).distortion_bound(0.9))


def test_model_file_holds_calibration_runs_and_its_hash_covers_them(model, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = LearnedModel.load(path)
    assert np.array_equal(again.calibration_runs, model.calibration_runs)
    assert again.sha256 == model.sha256 != replace(model, calibration_runs=model.calibration_runs[:-1]).sha256
    with pytest.raises(ModelFileError, match=r"calibration_runs must be finite"):
        replace(model, calibration_runs=np.full((3, 7), np.nan, np.float32))
    with pytest.raises(ModelFileError, match=r"\(3, 6\)"):
        replace(model, calibration_runs=np.zeros((3, 6), np.float32))


def test_hedged_picks_are_those_in_dispute_and_those_far_away_in_their_shares(truth):
    mapper = NetworkMapper(shipped_model(), "float32")
    rng = np.random.default_rng(3)
    known = rng.permutation(truth.size)[: truth.size // 4]
    seen = np.full(truth.size, -1, np.int16)
    seen[known] = truth.ravel()[known]
    plan = Plan(mapper, seen.reshape(truth.shape), np.ones(truth.shape, bool), 0)
    picks = [pixel for pixel, _ in plan.take(40, plan.seen, 40)]
    assert plan.hedged == 1.0
    prediction = plan.prediction
    uncertainty = 1 - prediction.probability
    dispute = np.where(plan.seen < 0, disputed(uncertainty, prediction.conflict), -np.inf)
    sharp = pick_batch(dispute, prediction.distance, 40)
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


def test_a_model_file_of_version_1_is_read(model, tmp_path):
    """It calls the calibration runs by another name; the hash, by which records find their model, is the same."""
    path = tmp_path / "old.safetensors"
    model.save(path)
    arrays, header = read_file(path)
    arrays["analogues"] = arrays.pop("calibration_runs")
    write_file(path, arrays, {**header, "version": "1"})
    again = LearnedModel.load(path)
    assert np.array_equal(again.calibration_runs, model.calibration_runs)
    assert again.sha256 == model.sha256
