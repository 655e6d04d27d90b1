"""A network that sees an image beside the labels: inputs, weight in the prediction, training, record."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from sampling_fixtures import blobs, measure

from slads_bluesky.agent import SladsAgent
from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.errors import ConfigError, ModelFileError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.images.frames import check_frame, grey_planes
from slads_bluesky.images.registration import Displacement
from slads_bluesky.sampling.factory import image_network_of, load_model, make_sampler
from slads_bluesky.sampling.imaging.evidence import align
from slads_bluesky.sampling.imaging.selection import NETWORK, choose_terms
from slads_bluesky.sampling.learned.guided_inputs import (
    GREYS,
    N_GUIDED,
    RATIO_UNIT,
    fold_ratios,
    image_input,
)
from slads_bluesky.sampling.learned.inference import NetworkMapper
from slads_bluesky.sampling.learned.inputs import N_PLANES, fold_planes, label_distances
from slads_bluesky.sampling.learned.model import GUIDED, LearnedModel, shipped_image_model, shipped_model
from slads_bluesky.sampling.learned.network import LabelNet
from slads_bluesky.sampling.learned.pool import draw_guided_state
from slads_bluesky.sampling.learned.producers import Batch
from slads_bluesky.sampling.learned.rollout import random_order
from slads_bluesky.sampling.learned.sampler import LearnedSampler
from slads_bluesky.sampling.learned.training import Trainer, TrainingSettings
from slads_bluesky.sampling.learned.training_frames import beside_each, training_frame

STILL = Displacement(0.0, 0.0, 0.0)
SETTINGS = TrainingSettings(
    widths=(4, 6, 6, 8), side=32, pool=8, batch=2, every=2, fresh=5, plain=0, framed=0.7, label_noise=0.05
)


@pytest.fixture(scope="module")
def truth():
    return blobs((64, 64), 3.0, seed=8)


@pytest.fixture(scope="module")
def frame(truth):
    return (truth + np.random.default_rng(0).normal(size=truth.shape) / 3).astype(np.float32)


def some_labels(truth, n, seed=1):
    measured = np.full(truth.shape, -1, np.int16)
    pixels = np.random.default_rng(seed).choice(truth.size, n, replace=False)
    measured.flat[pixels] = truth.flat[pixels]
    return measured


def aligned_under(frame, measured):
    pixels = np.flatnonzero(measured.ravel() > 0)
    labels = measured.ravel()[pixels].astype(np.int64)
    return align(grey_planes(check_frame(frame)), pixels, labels, STILL)


def test_folded_input_is_what_the_network_is_trained_on():
    """Inference makes the network's input in one way and training in another: both are the same numbers."""
    rng = np.random.default_rng(2)
    truth = blobs((32, 32), 3.0, 3, seed=4)
    shown, order = training_frame(truth, rng), random_order(rng, truth.shape, 200)
    measured = np.where(order.rank < 120, truth.astype(np.int16), np.int16(-1))
    present = np.unique(measured[measured > 0])
    beside = beside_each(shown, measured, present, 0.02)[0]
    distances = label_distances(measured, int(truth.max()))
    other = distances[1:].min(axis=0)
    batch = Batch(
        torch.from_numpy(np.stack([distances[0], other])[None].astype(np.int16)),
        torch.full((1, *truth.shape), 3, dtype=torch.uint8),
        torch.from_numpy(beside.ratios[None]),
        torch.tensor([beside.noise]),
    )
    x, _, weight = batch.examples()
    assert float(weight.sum()) == pytest.approx(1.0)
    folded = np.zeros((16, 16, 4 * N_GUIDED), np.float32)
    folded[..., -4:] = 0.02 / 0.05
    fold_planes(distances[0], other, folded)
    bins = np.stack([shown.bins.get(name, np.zeros(truth.shape, np.uint8)) for name in GREYS])
    fold_ratios(bins, shown.tables(measured, present)[:, 0], RATIO_UNIT, N_PLANES, folded)
    wanted = torch.nn.functional.pixel_unshuffle(x, 2)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(folded, wanted, atol=1e-5)


def test_image_input_speaks_for_the_right_phase(truth, frame):
    measured = some_labels(truth, 200)
    seen = image_input(aligned_under(frame, measured), measured)
    smooth = seen.tables[GREYS.index("smooth")][:, seen.bins[GREYS.index("smooth")]]
    np.testing.assert_array_equal(seen.labels, [1, 2])
    assert smooth[0][truth == 1].mean() > 40  # of 127
    assert smooth[1][truth == 2].mean() > 40
    one = np.where(truth == 1, measured, np.int16(-1))
    assert not image_input(
        aligned_under(frame, measured), one
    ).tables.any()  # one label: nothing to tell apart
    assert image_input(aligned_under(frame, measured), np.full(truth.shape, -1, np.int16)) is None


@pytest.mark.parametrize("labels", [2, 3])
def test_pooled_prediction_of_weight_one_is_that_of_the_network_that_sees(labels):
    from slads_bluesky.sampling.learned.inference import Seen

    truth = blobs((48, 56), 3.0, labels, seed=3)
    frame = (2.0 * truth + np.random.default_rng(1).normal(size=truth.shape)).astype(np.float32)
    measured = some_labels(truth, 150)
    general, seeing = NetworkMapper(shipped_model()), NetworkMapper(shipped_image_model())
    image = image_input(aligned_under(frame, measured), measured)
    every = np.arange(truth.size)
    for weight, wanted in (
        (0.0, general.probabilities(measured, every)),
        (1.0, seeing.probabilities(measured, every, image)),
    ):
        found = general(measured, seen=Seen(seeing, image, weight))
        open_pixels = measured.ravel() < 0
        best = wanted[1].max(axis=0)[open_pixels]
        np.testing.assert_allclose(found.probability.ravel()[open_pixels], best, atol=2e-3)
    by_image = seeing(measured, seen=None).labels  # without the image: no frame, no wrong labels
    assert np.mean(found.labels != truth) < np.mean(by_image != truth)


def test_hidden_labels_decide_how_much_the_network_that_sees_counts(truth, frame):
    measured = some_labels(truth, 300)
    aligned, rng = aligned_under(frame, measured), np.random.default_rng(0)
    noise = np.random.default_rng(3).normal(size=truth.shape).astype(np.float32)

    def says(right):
        def predict(seen, hidden):
            p = np.where(truth.ravel()[hidden] == 1, right, 1 - right)
            return np.array([1, 2], np.uint8), np.stack([p, 1 - p]).astype(np.float32)

        return predict

    terms, gain = choose_terms(says(0.6), measured, aligned, rng, says(0.999))
    weights = {term.plane: term.weight for term in terms}
    assert gain > 0.3
    assert weights[NETWORK] > 0.4
    worse, _ = choose_terms(says(0.95), measured, aligned, rng, says(0.4))
    assert NETWORK not in {term.plane for term in worse}
    # two networks predict better than one, whatever the frame shows: a frame of noise is not used for that
    assert choose_terms(says(0.6), measured, aligned_under(noise, measured), rng, says(0.999)) == ((), 0.0)


def test_sampler_uses_the_network_that_sees_only_where_the_settings_name_it(truth, frame):
    runs = {}
    for network in ("shipped", None):
        sampler = make_sampler("learned", truth.shape, labels=2, seed=4, image=frame, image_network=network)
        measure(sampler, truth, 260)
        runs[network] = sampler
        planes = {term.plane for term in sampler.image_use.terms}
        assert sampler.image_use.used
        assert (NETWORK in planes) == (network == "shipped")
    wrong = {network: np.mean(run.reconstruct() != truth) for network, run in runs.items()}
    assert wrong["shipped"] < 0.02


def test_agent_settings_record_the_network_and_old_records_have_none():
    settings = AgentSettings(ScanGrid((16, 16)), 2, fraction=0.2, image_network=image_network_of("learned"))
    again = AgentSettings.from_json(settings.to_json())
    assert again == settings
    assert again.image_network == shipped_image_model().sha256
    old = settings.to_json()
    del old["sampler"]["image_network"]
    assert AgentSettings.from_json(old).image_network is None
    assert image_network_of("slads") is None
    assert image_network_of("learned", 1.0) is None  # mixed samples are not guided by it


def test_a_run_with_another_version_s_network_says_so_when_the_image_comes():
    settings = AgentSettings(ScanGrid((16, 16)), 2, fraction=0.2, image_network="ab" * 32)
    agent = SladsAgent.from_settings(settings)
    with pytest.raises(ModelFileError, match="abababababab"):
        agent.sampler.take_image(np.random.default_rng(0).random((16, 16)).astype(np.float32))


def test_models_that_see_and_that_do_not_are_not_taken_for_each_other(random_net):
    with pytest.raises(ModelFileError, match=r"guided\.safetensors: its network sees images"):
        load_model("learned", GUIDED)
    with pytest.raises(ConfigError, match="sees images"):
        LearnedSampler((16, 16), shipped_image_model(), labels=2)
    with pytest.raises(ConfigError, match="image_network"):
        LearnedSampler((16, 16), labels=2, image_network=random_net)


def test_the_shipped_image_model_is_small_and_says_how_it_was_trained():
    model = shipped_image_model()
    assert GUIDED.stat().st_size < 2_000_000
    assert model.sees_images
    assert not shipped_model().sees_images
    assert "train learned" in model.metadata["command"]
    assert model.metadata["from_sha256"] == shipped_model().sha256


def test_training_frames_show_their_image_more_often_than_not():
    rng = np.random.default_rng(1)
    truth = blobs((48, 48), 3.0, seed=2)
    measured = some_labels(truth, 200)
    speaks = []
    for _ in range(12):
        ratios = beside_each(training_frame(truth, rng), measured, np.array([1, 2]))[0].ratios[0]
        speaks.append(float(ratios[truth == 1].mean() - ratios[truth == 2].mean()))
    assert np.mean(np.array(speaks) > 10) > 0.5
    assert min(speaks) < 40  # some say little


def test_states_of_a_frame_turn_with_their_image():
    """The input is turned and mirrored as a whole: where a sample is, its own distance is 0 and its target holds."""
    rng = np.random.default_rng(5)
    truth = blobs((32, 32), 3.0, seed=2)
    shown, order = training_frame(truth, rng), random_order(rng, truth.shape, 300)
    settings = replace(SETTINGS, label_noise=0.0, framed=1.0)
    for _ in range(8):
        pair, target, counted, beside = draw_guided_state(truth, order, shown, rng, settings)
        assert target[pair[0] == 0].all()
        assert not target[pair[1] == 0].any()
        assert not counted[(pair[0] == 0) | (pair[1] == 0)].any()
        assert beside.noise == 0.0
        assert beside.ratios.shape == (len(GREYS), 32, 32)


def test_training_with_frames_starts_as_the_model_it_starts_from(random_net):
    trainer = Trainer(SETTINGS, (), random_net)
    x = torch.rand(1, N_GUIDED, 32, 32)
    before = LabelNet(random_net.widths)
    before.load_state_dict(
        {name: torch.from_numpy(w.astype(np.float32)) for name, w in random_net.weights.items()}
    )
    with torch.inference_mode():
        torch.testing.assert_close(trainer.network(x), before(x[:, :N_PLANES]), atol=1e-4, rtol=1e-4)
    losses = list(trainer.run([1.0] * 3))
    assert np.isfinite(losses).all()
    model = trainer.model()
    assert model.sees_images
    again = Trainer(SETTINGS, (), random_net)
    list(again.run([1.0] * 3))
    assert again.model().sha256 == model.sha256


def test_training_with_frames_beside_a_producer_gives_a_model_that_sees(tmp_path, random_net):
    trainer = Trainer(SETTINGS, (), random_net)
    assert np.isfinite(list(trainer.run([1.0] * 3, processes=2))).all()
    trainer.model().save(tmp_path / "m.safetensors")
    assert LearnedModel.load(tmp_path / "m.safetensors").sees_images


def test_rollout_with_frames_asks_with_what_lies_beside_each_pair():
    from slads_bluesky.sampling.learned.rollout import by_distance, roll_out

    truths = [blobs((32, 32), 3.0, n, seed=n) for n in (2, 3)]
    rng = np.random.default_rng(0)
    frames = [training_frame(truth, rng) for truth in truths]
    asked = []

    def predict(pairs, besides):
        asked.append((len(pairs), len(besides)))
        return by_distance(pairs)

    with ThreadPoolExecutor(1) as threads:
        orders = roll_out(truths, predict, rng, threads, frames)
    assert all(n == m for n, m in asked)
    assert [order.reach > 8 for order in orders] == [True, True]


def test_command_with_frames_from_a_model_gives_one_that_sees_without_calibration_runs(tmp_path, random_net):
    from slads_bluesky.cli import main

    start, out = tmp_path / "start.safetensors", tmp_path / "out.safetensors"
    random_net.save(start)
    options = [
        "--from",
        str(start),
        "--framed",
        "0.5",
        "--steps",
        "4",
        "--batch",
        "2",
        "--pool",
        "8",
        "--fresh",
        "5",
    ]
    with pytest.raises(SystemExit) as ended:
        main(["train", "learned", "-o", str(out), "--threads", "1", *options])
    assert ended.value.code == 0
    model = LearnedModel.load(out)
    assert model.sees_images
    assert model.calibration_runs.size == 0
    assert model.metadata["settings"]["framed"] == 0.5
