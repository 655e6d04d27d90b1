"""The learned sampler's own parts: masks of its settings, tiles, hold-out validation, the stop rule."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sampling_fixtures import measure

from slads_bluesky.errors import ConfigError, ModelFileError
from slads_bluesky.modelfile import read_file, write_file
from slads_bluesky.sampling import SladsModel, SladsSampler, knn_reconstruct
from slads_bluesky.sampling.learned import inference
from slads_bluesky.sampling.learned.holdout import Validation, validate
from slads_bluesky.sampling.learned.inference import NetworkMapper
from slads_bluesky.sampling.learned.model import LearnedModel
from slads_bluesky.sampling.learned.sampler import LearnedSampler
from slads_bluesky.sampling.learned.settings import VERSION_1, PolicySettings


def sampler_of(net, truth, **options):
    policy = PolicySettings(growth=0.2, least=0.002, most=0.02)
    options = {"initial": 0.02, "labels": 2, "policy": policy, **options}
    return LearnedSampler(truth.shape, net, **options)


def test_settings_that_cannot_be_are_refused(random_net):
    with pytest.raises(ConfigError, match="growth"):
        PolicySettings(growth=0.0)
    with pytest.raises(ConfigError, match="precision"):
        LearnedSampler((8, 8), random_net, labels=2, precision="int8")


def test_stop_rule_without_confidence_ends_the_map_early(random_net, make_blobs):
    truth = make_blobs((40, 40), 3.0, 2)
    sampler = sampler_of(random_net, truth, stop_at=0.2)
    flat, n = truth.ravel(), 0
    while not sampler.should_stop():
        pixel = sampler.suggest(1)[0].pixel
        sampler.ingest(pixel, int(flat[pixel]))
        n += 1
    assert 32 <= n < truth.size
    assert not sampler_of(random_net, truth).should_stop()


def test_sampler_leaves_the_threads_of_torch_alone(random_net, make_blobs):
    truth = make_blobs((24, 24), 3.0)
    before = torch.get_num_threads()
    measure(sampler_of(random_net, truth), truth, 100)
    assert torch.get_num_threads() == before


def test_prediction_of_a_map_cut_into_tiles_is_nearly_that_of_the_whole(random_net, make_blobs, monkeypatch):
    truth = make_blobs((300, 330), 6.0, 2)
    measured = np.where(np.random.default_rng(2).random(truth.shape) < 0.03, truth.astype(np.int16), -1)
    mapper = NetworkMapper(random_net, "float32")
    whole = mapper(measured)
    monkeypatch.setattr(inference, "_TILE", 96)
    tiled = mapper(measured)
    assert np.array_equal(whole.distance, tiled.distance)
    assert np.mean(whole.labels != tiled.labels) < 1e-3
    assert np.abs(whole.probability - tiled.probability).max() < 0.02


def test_prediction_gives_measured_pixels_their_label_and_ignores_unclassified_ones(random_net, make_blobs):
    truth = make_blobs((30, 30), 3.0, 2)
    measured = np.where(np.random.default_rng(1).random(truth.shape) < 0.3, truth.astype(np.int16), -1)
    with_unclassified = measured.copy()
    with_unclassified[::7, ::5] = np.where(measured[::7, ::5] < 0, 0, measured[::7, ::5])
    mapper = NetworkMapper(random_net, "float32")
    found, again = mapper(measured), mapper(with_unclassified)
    assert (with_unclassified == 0).any()
    assert np.array_equal(found.labels, again.labels)
    assert np.array_equal(found.probability, again.probability)
    assert np.array_equal(found.labels[measured > 0], measured[measured > 0])
    assert (found.probability[measured > 0] == 1).all()
    assert ((found.probability > 0) & (found.probability <= 1)).all()
    empty = mapper(np.zeros((30, 30), np.int16))
    assert (empty.labels == 1).all()
    assert (empty.probability == 0).all()


def test_validation_rejects_a_network_that_predicts_nothing_and_slads_decides(random_net, make_blobs):
    """By its own picks and its own map."""
    truth = make_blobs((96, 96), 5.0, 2)
    sampler = sampler_of(random_net, truth)
    measure(sampler, truth, 800)
    assert not sampler.uses_network
    assert sampler.validation().network_only > 2 * sampler.validation().vote_only
    assert np.array_equal(sampler.reconstruct(), knn_reconstruct(sampler.measured))
    wrong = np.mean(sampler.reconstruct() != truth)
    plain = SladsSampler(
        truth.shape, SladsModel(random_net.fallback, (1, 2), radius=3), labels=2, initial=0.02
    )
    measure(plain, truth, 800)
    assert wrong <= 2 * np.mean(plain.reconstruct() != truth)
    assert wrong < 0.06


def test_validation_hides_and_counts(random_net, make_blobs):
    truth = make_blobs((64, 64), 5.0, 2)
    measured = np.where(np.random.default_rng(2).random(truth.shape) < 0.1, truth.astype(np.int16), -1)
    before = measured.copy()
    found = validate(NetworkMapper(random_net, "float32"), measured, 0)
    assert np.array_equal(measured, before)
    assert found.hidden == int(0.1 * (measured > 0).sum())
    assert found.network_only + found.vote_only + found.both <= found.hidden
    assert validate(NetworkMapper(random_net, "float32"), measured, 0) == found
    assert 0 < found.expected < found.hidden
    assert Validation(50, 4, 2, 5, 4.0).calibration == pytest.approx(2.0)
    assert not Validation(50, 12, 2, 5, 9.0).accepts_network
    assert Validation(50, 5, 2, 5, 9.0).accepts_network
    assert Validation(50, 2, 12, 5, 9.0).accepts_network


def test_prediction_by_complement_gives_probabilities_and_saves_a_pass(random_net, make_blobs):
    truth = make_blobs((48, 48), 4.0, 4)
    measured = np.where(np.random.default_rng(2).random(truth.shape) < 0.1, truth.astype(np.int16), -1)
    plain = NetworkMapper(random_net, "float32", complement=False)
    short = NetworkMapper(random_net, "float32", complement=True)
    passes = {}
    for name, mapper in (("plain", plain), ("short", short)):
        folded = mapper._net.folded

        def counted(x, folded=folded, name=name):
            passes[name] = passes.get(name, 0) + 1
            return folded(x)

        mapper._net.folded = counted
    a, b = plain(measured), short(measured)
    assert passes == {"plain": 4, "short": 3}
    assert ((b.probability > 0) & (b.probability <= 1)).all()
    most = np.argmax(np.bincount(measured[measured > 0]))
    both = (a.labels == b.labels) & (b.labels != most) & (measured < 0)
    assert both.any()  # the others' own logits are the same
    two = np.where(measured > 2, -1, measured).astype(np.int16)
    assert np.array_equal(plain(two).probability, short(two).probability)


def test_model_without_policy_settings_decides_as_when_it_was_written(tmp_path, random_net):
    """Recorded runs are replayed with the settings of their own model."""
    old = replace(random_net, policy=VERSION_1)
    path = tmp_path / "old.safetensors"
    old.save(path)
    arrays, header = read_file(path)
    assert header["sha256"] == old.sha256 != random_net.sha256
    write_file(path, arrays, {name: value for name, value in header.items() if name != "policy"})
    again = LearnedModel.load(path)
    assert again.policy == VERSION_1 != PolicySettings()
    assert again.sha256 == old.sha256
    random_net.save(path)
    assert LearnedModel.load(path).policy == random_net.policy
    arrays, header = read_file(path)
    write_file(path, arrays, {**header, "policy": json.dumps({"magic": 1})})
    with pytest.raises(ModelFileError, match=r"policy or metadata is damaged .*magic"):
        LearnedModel.load(path)
