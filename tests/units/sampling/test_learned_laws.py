"""Laws of the learned sampler: those of any sampler, with a small network of random weights."""

import numpy as np
import pytest
import torch

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.protocols import Reconstructor, Sampler
from slads_bluesky.sampling import SladsModel, SladsSampler, knn_reconstruct
from slads_bluesky.sampling.learned import sampler as learned
from slads_bluesky.sampling.learned.holdout import Examination, examine
from slads_bluesky.sampling.learned.inference import NetworkMapper
from slads_bluesky.sampling.learned.model import LearnedModel, expected_shapes
from slads_bluesky.sampling.learned.reconstruct import NetworkReconstructor
from slads_bluesky.sampling.learned.sampler import LearnedSampler


@pytest.fixture(scope="module")
def random_net(model):
    """A network that knows nothing."""
    rng = np.random.default_rng(5)
    widths = (4, 6, 6, 8)
    weights = {
        name: rng.normal(0, 0.5 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 1), shape).astype(
            np.float16
        )
        for name, shape in expected_shapes(widths).items()
    }
    return LearnedModel(widths, weights, model.theta)


@pytest.fixture(params=["examined", "trusted"])
def net(request, random_net, monkeypatch):
    """That network, found out by its examinations, or trusted in spite of all: the laws hold for both."""
    if request.param == "trusted":
        monkeypatch.setattr(learned, "examine", lambda *_: Examination(100, 0, 100, 0, 0.0))
    return random_net


def measure(sampler, truth, n):
    """Measure up to `n` pixels one by one and return them."""
    flat, done = truth.ravel(), []
    for _ in range(n):
        following = sampler.suggest(1)
        if not following:
            break
        sampler.ingest(following[0].pixel, int(flat[following[0].pixel]))
        done.append(following[0].pixel)
    return done


def sampler_of(net, truth, **options):
    options = {"initial": 0.02, "labels": 4, "growth": 0.2, "most": 0.02, **options}
    return LearnedSampler(truth.shape, net, **options)


def test_it_fits_the_protocols(net, make_blobs):
    assert isinstance(sampler_of(net, make_blobs((20, 20), 3.0)), Sampler)
    assert isinstance(NetworkReconstructor(net), Reconstructor)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (24, 34)])
@pytest.mark.parametrize("phases", [1, 3])
def test_every_pixel_once_and_a_clean_end(net, make_blobs, shape, phases):
    truth = make_blobs(shape, 3.0, phases) if phases > 1 else np.ones(shape, np.uint8)
    sampler = sampler_of(net, truth)
    done = measure(sampler, truth, truth.size + 1)
    assert sorted(done) == list(range(truth.size))
    assert sampler.suggest(5) == []
    assert sampler.should_stop()
    assert np.array_equal(sampler.reconstruct(), truth)
    assert sampler.distortion_estimate() == 0.0


def test_suggest_changes_nothing(net, make_blobs):
    truth = make_blobs((40, 40), 3.0, 3)
    sampler, twin = sampler_of(net, truth), sampler_of(net, truth)
    flat = truth.ravel()
    for step in range(150):
        one = twin.suggest(1)
        many = sampler.suggest(1 + step % 17)
        sampler.suggest(40 + step)
        if step % 10 == 0:
            sampler.reconstruct()
            sampler.should_stop()
            sampler.distortion_estimate()
        assert many[0].pixel == one[0].pixel == sampler.suggest(1)[0].pixel
        assert sampler.suggest(40)[: len(many)] == many[:40] or np.isnan(many[0].erd)
        for each in (sampler, twin):
            each.ingest(one[0].pixel, int(flat[one[0].pixel]))


def test_replaying_a_record_without_asking_gives_the_same_next_pixel(net, make_blobs):
    truth = make_blobs((40, 40), 3.0, 2)
    live = sampler_of(net, truth)
    done = measure(live, truth, 200)
    replayed = sampler_of(net, truth)
    for pixel in done:
        replayed.ingest(pixel, int(truth.ravel()[pixel]))
    assert replayed.suggest(30) == live.suggest(30)
    assert np.array_equal(replayed.reconstruct(), live.reconstruct())


def test_repeated_ingest_changes_nothing_and_another_label_replaces(net, make_blobs):
    truth = make_blobs((30, 30), 3.0, 2)
    sampler = sampler_of(net, truth)
    done = measure(sampler, truth, 60)
    before = sampler.suggest(10)
    for pixel in done:
        sampler.ingest(pixel, int(truth.ravel()[pixel]))
    assert sampler.suggest(10) == before
    assert sampler.n_measured == 60
    sampler.ingest(done[3], 4)
    assert sampler.n_measured == 60
    assert sampler.reconstruct().ravel()[done[3]] == 4
    sampler.ingest(done[3], 0)
    assert sampler.measured.ravel()[done[3]] == 0
    assert sampler.reconstruct().min() >= 1


def test_masks_are_kept(net, make_blobs):
    truth = make_blobs((36, 28), 3.0, 2)
    roi = np.zeros(truth.shape, bool)
    roi[4:30, 5:25] = True
    forbidden = np.zeros(truth.shape, bool)
    forbidden[10:14, 10:20] = True
    sampler = sampler_of(net, truth, roi=roi, forbidden=forbidden)
    done = measure(sampler, truth, truth.size)
    assert set(done) == set(np.flatnonzero(roi & ~forbidden))
    assert sampler.should_stop()
    assert sampler.reconstruct().shape == truth.shape
    with pytest.raises(DataError, match="region of interest"):
        sampler.ingest(0, 1)


def test_ill_pixels_are_measured_and_never_vote(net, make_blobs):
    truth = make_blobs((30, 30), 3.0, 2)
    truth[np.random.default_rng(1).random(truth.shape) < 0.3] = 0
    sampler = sampler_of(net, truth)
    done = measure(sampler, truth, 400)
    assert len(set(done)) == 400
    assert set(np.unique(sampler.reconstruct())) <= {1, 2}
    seen = sampler.measured
    blank = np.where(seen == 0, -1, seen).astype(np.int16)
    labels, probability = NetworkReconstructor(net)(seen)
    again, _ = NetworkReconstructor(net)(blank)
    assert np.array_equal(labels, again)
    if sampler.trusts_network:
        assert np.array_equal(labels, sampler.reconstruct())
    assert probability.dtype == np.float32
    assert (probability[seen > 0] == 1).all()
    assert ((probability > 0) & (probability <= 1)).all()


def test_only_ill_pixels(net):
    truth = np.zeros((12, 12), np.uint8)
    sampler = sampler_of(net, truth)
    assert np.isnan(sampler.distortion_estimate())
    assert (sampler.reconstruct() == 1).all()
    assert sorted(measure(sampler, truth, 200)) == list(range(144))
    with pytest.raises(DataError, match="no pixel with a phase"):
        NetworkReconstructor(net)(sampler.measured)


@pytest.mark.parametrize("n", [0, 5, 31, 32, 33, 170])
def test_state_gives_the_same_next_pixels(net, make_blobs, n):
    truth = make_blobs((40, 44), 3.0, 3)
    sampler = sampler_of(net, truth, seed=3, stop_at=0.01)
    measure(sampler, truth, n)
    arrays, facts = sampler.state()
    other = LearnedSampler.from_state(arrays, facts, net)
    assert other.suggest(25) == sampler.suggest(25) or np.isnan(sampler.suggest(1)[0].erd)
    assert measure(other, truth, 120) == measure(sampler, truth, 120)
    assert other.should_stop() == sampler.should_stop()


def test_state_of_something_else_is_refused(net, make_blobs):
    arrays, facts = sampler_of(net, make_blobs((20, 20), 3.0)).state()
    with pytest.raises(DataError, match="'slads'"):
        LearnedSampler.from_state(arrays, {**facts, "sampler": "slads"}, net)
    with pytest.raises(DataError, match="made with model"):
        LearnedSampler.from_state(arrays, {**facts, "model_sha256": "0" * 64}, net)
    with pytest.raises(DataError, match="field since is missing"):
        LearnedSampler.from_state(arrays, {k: v for k, v in facts.items() if k != "since"}, net)
    with pytest.raises(DataError, match="measured has shape"):
        LearnedSampler.from_state({**arrays, "measured": arrays["measured"][1:]}, facts, net)


def test_what_cannot_be_is_refused(net):
    with pytest.raises(ConfigError, match="growth"):
        LearnedSampler((8, 8), net, labels=2, growth=0.0)
    with pytest.raises(ConfigError, match="precision"):
        LearnedSampler((8, 8), net, labels=2, precision="int8")
    with pytest.raises(DataError, match="mask has shape"):
        LearnedSampler((8, 8), net, labels=2, roi=np.ones((8, 9), bool))
    sampler = LearnedSampler((8, 8), net, labels=2)
    with pytest.raises(DataError, match="label 3"):
        sampler.ingest(0, 3)
    with pytest.raises(DataError, match="pixel 64"):
        sampler.ingest(64, 1)


def test_stop_at_an_estimate(net, make_blobs):
    truth = make_blobs((40, 40), 3.0, 2)
    sampler = sampler_of(net, truth, stop_at=0.2)
    flat, n = truth.ravel(), 0
    while not sampler.should_stop():
        pixel = sampler.suggest(1)[0].pixel
        sampler.ingest(pixel, int(flat[pixel]))
        n += 1
    assert 32 <= n < truth.size
    assert not sampler_of(net, truth).should_stop()


def test_threads_of_torch_are_left_alone(net, make_blobs):
    truth = make_blobs((24, 24), 3.0)
    before = torch.get_num_threads()
    measure(sampler_of(net, truth), truth, 100)
    assert torch.get_num_threads() == before


def test_tiles_agree_with_the_whole(random_net, make_blobs, monkeypatch):
    """A map that is cut into tiles gives nearly the probabilities of the whole one."""
    from slads_bluesky.sampling.learned import inference as learned_maps

    truth = make_blobs((300, 330), 6.0, 2)
    measured = np.where(np.random.default_rng(2).random(truth.shape) < 0.03, truth, -1).astype(np.int16)
    mapper = learned_maps.NetworkMapper(random_net, "float32")
    whole = mapper(measured)
    monkeypatch.setattr(learned_maps, "_TILE", 96)
    tiled = mapper(measured)
    assert np.array_equal(whole.distance, tiled.distance)
    assert np.mean(whole.labels != tiled.labels) < 1e-3
    assert np.abs(whole.probability - tiled.probability).max() < 0.02


def test_a_network_that_knows_nothing_is_found_out(random_net, make_blobs):
    """SLADS takes over, by its own picks and its own map."""
    truth = make_blobs((96, 96), 5.0, 2)
    sampler = sampler_of(random_net, truth, labels=2)
    measure(sampler, truth, 800)
    assert not sampler.trusts_network
    assert sampler.examination().network_only > 2 * sampler.examination().vote_only
    assert np.array_equal(sampler.reconstruct(), knn_reconstruct(sampler.measured))
    wrong = np.mean(sampler.reconstruct() != truth)
    plain = SladsSampler(
        truth.shape, SladsModel(random_net.fallback, (1, 2), radius=3), labels=2, initial=0.02
    )
    measure(plain, truth, 800)
    assert wrong <= 2 * np.mean(plain.reconstruct() != truth)
    assert wrong < 0.06


def test_an_examination_hides_and_counts(random_net, make_blobs):
    truth = make_blobs((64, 64), 5.0, 2)
    measured = np.where(np.random.default_rng(2).random(truth.shape) < 0.1, truth, -1).astype(np.int16)
    before = measured.copy()
    found = examine(NetworkMapper(random_net, "float32"), measured, 0)
    assert np.array_equal(measured, before)
    assert found.hidden == int(0.1 * (measured > 0).sum())
    assert found.network_only + found.vote_only + found.both <= found.hidden
    assert examine(NetworkMapper(random_net, "float32"), measured, 0) == found
    assert 0 < found.expected < found.hidden
    assert Examination(50, 4, 2, 5, 4.0).calibration == pytest.approx(2.0)
    assert not Examination(50, 12, 2, 5, 9.0).trust_network
    assert Examination(50, 5, 2, 5, 9.0).trust_network
    assert Examination(50, 2, 12, 5, 9.0).trust_network
