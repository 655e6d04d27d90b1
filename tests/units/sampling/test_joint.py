"""One posterior of all counts: planes, Potts field, error, worth of doses, and the sampler that follows from them."""

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError, ModelFileError
from slads_bluesky.sampling.joint.error import expected_error
from slads_bluesky.sampling.joint.evidence import label_evidence, one_against_rest_ratio, robust
from slads_bluesky.sampling.joint.infer import infer_map
from slads_bluesky.sampling.joint.mapper import EvidenceMapper
from slads_bluesky.sampling.joint.model import JointModel, shipped_joint_model
from slads_bluesky.sampling.joint.planes import evidence_distances, evidence_planes
from slads_bluesky.sampling.joint.potts import PottsField
from slads_bluesky.sampling.joint.reference import denoise
from slads_bluesky.sampling.joint.sampler import JointSampler
from slads_bluesky.sampling.joint.worth import best_doses, error_after
from slads_bluesky.sampling.learned.inputs import one_against_rest, planes


@pytest.fixture(scope="module")
def mapper():
    return EvidenceMapper(shipped_joint_model(), "float32")


@pytest.fixture
def truth(make_blobs):
    return make_blobs((48, 48), 4.0, seed=2)


def noisy(truth, nats, seed=0):
    """Evidence (rows, columns, L) of counts worth so many nats a pixel."""
    rng = np.random.default_rng(seed)
    n = int(truth.max())
    own = (truth[..., None] == np.arange(1, n + 1)) * nats
    return own + rng.normal(0, np.sqrt(nats), (*truth.shape, n))


def test_planes_of_certain_evidence_are_those_of_labels():
    rng = np.random.default_rng(0)
    measured = np.full((30, 41), -1, np.int16)
    measured.flat[rng.choice(measured.size, 40, False)] = rng.integers(1, 3, 40)
    s = np.where(measured == 1, 1.0, np.where(measured == 2, -1.0, 0.0)).astype(np.float32)
    pair = one_against_rest(measured, 1)
    wanted = np.empty((5, *measured.shape), np.float32)
    planes(pair[0], pair[1], wanted)
    np.testing.assert_allclose(evidence_planes(s), wanted, atol=1e-6)


def test_evidence_distances_are_the_least_penalised_ones():
    rng = np.random.default_rng(1)
    s = np.where(rng.random((20, 23)) < 0.1, rng.uniform(-1, 1, (20, 23)), 0).astype(np.float32)
    y, x = np.mgrid[:20, :23]
    wanted = np.full(s.shape, 10_000)
    for r, c in zip(*np.nonzero(s > 0), strict=True):
        wanted = np.minimum(wanted, (y - r) ** 2 + (x - c) ** 2 + int(4 * (1 / s[r, c] - 1) + 0.5))
    np.testing.assert_array_equal(evidence_distances(s)[0], wanted)


def test_evidence_of_none_of_the_phases_says_nothing_of_them():
    said = robust(np.array([[-200.0, -230.0, 0.0], [0.0, -4.0, -30.0]]))
    np.testing.assert_allclose(said, [[0, 0], [0, -4]], atol=1e-4)
    assert robust(label_evidence(0, 3)).tolist() == [0, 0, 0]
    assert one_against_rest_ratio(np.array([2.0, 0.0, 0.0]), 0) == pytest.approx(2.0)


def test_field_without_strength_leaves_each_pixel_to_its_own_counts(truth):
    found = denoise(noisy(truth, 1.0), strength=0.0)
    own = noisy(truth, 1.0).argmax(axis=2) + 1
    np.testing.assert_array_equal(found.labels, own)


def test_denoise_of_weak_evidence_is_far_better_than_pixel_by_pixel_and_calibrated(truth):
    evidence = noisy(truth, 1.0)
    alone = (evidence.argmax(axis=2) + 1 != truth).mean()
    found = denoise(evidence)
    wrong = (found.labels != truth).mean()
    assert wrong < 0.4 * alone
    assert found.error.low <= wrong <= found.error.high


def test_one_more_count_changes_the_field_as_starting_again_does(truth):
    evidence = noisy(truth, 1.0)
    field = PottsField(evidence, 0.8)
    field.settle(30, 1e-5)
    evidence[20, 20] += [3.0, 0.0]
    field.change(20, 20, evidence[20, 20], sweeps=4)
    again = PottsField(evidence, 0.8)
    again.settle(30, 1e-5)
    np.testing.assert_allclose(field.prior(), again.prior(), atol=0.02)


def test_network_on_weak_evidence_is_calibrated_and_none_of_it_is_uncertain(mapper, truth):
    found = mapper(noisy(truth, 1.5))
    wrong = (found.labels != truth).mean()
    assert found.error.low <= wrong <= found.error.high
    blank = mapper(np.zeros((32, 32, 3)))
    np.testing.assert_allclose(blank.probability.sum(axis=2), 1.0, atol=1e-5)


def test_infer_map_is_no_worse_than_the_field_alone(mapper, truth):
    evidence = noisy(truth, 0.7)
    both = (infer_map(evidence, mapper, turns=2).labels != truth).mean()
    field = (infer_map(evidence, None).labels != truth).mean()
    assert both <= field + 0.01


def test_expected_error_holds_what_independent_pixels_have():
    rng = np.random.default_rng(3)
    p = rng.uniform(0.6, 1.0, 4000)
    wrong = (rng.random(4000) > p).mean()
    error = expected_error(np.stack([p, 1 - p], axis=1))
    assert error.low < wrong < error.high


def test_a_dose_is_worth_less_than_the_error_that_there_is_and_larger_where_visits_cost():
    u = np.array([0.5, 0.1, 0.01])
    after = error_after(u, 2.0)
    assert (after <= u).all()
    assert after[0] < 0.2
    free, dear = best_doses(u, 0.0)[0], best_doses(u, 10.0)[0]
    assert (dear >= free).all()
    assert best_doses(u, 0.0, most_nats=1.0)[0].max() <= 1.0


def visit(sampler, truth, nats, n, rng):
    """Let a sampler visit pixels with counts worth so many nats."""
    taken = []
    for _ in range(n):
        suggestion = sampler.suggest()[0]
        own = np.arange(1, 3) == truth.flat[suggestion.pixel]
        values = np.append(own * nats + rng.normal(0, np.sqrt(nats), 2), -20.0)
        sampler.ingest_evidence(suggestion.pixel, values, counts=4, visit=suggestion.visit)
        taken.append((suggestion.pixel, values, suggestion.visit))
    return taken


def test_joint_sampler_adds_up_visits_and_repeats_itself_from_what_was_recorded(truth):
    sampler, again = JointSampler(truth.shape, labels=2, seed=1), JointSampler(truth.shape, labels=2, seed=1)
    taken = visit(sampler, truth, 1.0, 400, np.random.default_rng(0))
    assert sampler.n_visits == 400 > sampler.n_measured
    for pixel, values, number in taken:
        for _ in range(2):  # an event that is emitted twice counts once
            again.ingest_evidence(pixel, values, counts=4, visit=number)
    assert again.suggest(5) == sampler.suggest(5)
    np.testing.assert_array_equal(again.reconstruct(), sampler.reconstruct())
    low, high = sampler.distortion_interval()
    assert low <= sampler.distortion_estimate() <= high
    assert (sampler.reconstruct() != truth).mean() < 0.15
    once = JointSampler(truth.shape, labels=2, seed=1, revisits=False)
    pixels = [pixel for pixel, *_ in visit(once, truth, 1.0, 300, np.random.default_rng(0))]
    assert len(set(pixels)) == 300


def test_joint_sampler_refuses_what_cannot_be():
    for options in ({"minimise": "cost"}, {"overhead_counts": -1.0}, {"stop_at": 2.0}, {"confidence": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            JointSampler((16, 16), labels=2, **options)
    sampler = JointSampler((16, 16), labels=2)
    with pytest.raises(DataError, match="3 finite numbers"):
        sampler.ingest_evidence(0, np.zeros(2))
    with pytest.raises(DataError, match="outside a grid"):
        sampler.ingest_evidence(256, np.zeros(3))


def test_joint_model_file_round_trip_and_damage(tmp_path):
    model = shipped_joint_model()
    model.save(tmp_path / "m.safetensors")
    assert JointModel.load(tmp_path / "m.safetensors").sha256 == model.sha256
    with pytest.raises(ModelFileError, match=r"weight out\.bias is missing"):
        JointModel(model.widths, {k: v for k, v in model.weights.items() if k != "out.bias"})


def test_an_overhead_in_seconds_is_one_in_counts_at_the_rate_that_was_seen(truth):
    def plan(**cost):
        sampler = JointSampler(truth.shape, labels=2, seed=1, minimise="time", **cost)
        rng = np.random.default_rng(0)
        for _ in range(200):
            suggestion = sampler.suggest()[0]
            own = np.arange(1, 3) == truth.flat[suggestion.pixel]
            values = np.append(own * 2.0 + rng.normal(0, 1.4, 2), -20.0)
            sampler.ingest_evidence(suggestion.pixel, values, counts=4, visit=suggestion.visit, real_s=4e-4)
        return sampler.suggest(5)

    in_counts, in_seconds = plan(overhead_counts=100.0), plan(overhead_s=0.01)  # 10 000 counts a second
    assert in_seconds == in_counts
    assert in_counts[0].counts > plan()[0].counts  # visits that cost are longer


def test_a_suggestion_says_what_is_known_of_its_pixel(truth):
    sampler = JointSampler(truth.shape, labels=2, seed=1)
    visit(sampler, truth, 1.0, 300, np.random.default_rng(0))
    for suggestion in sampler.suggest(20):
        assert sum(suggestion.prior) == pytest.approx(1.0, abs=1e-5)
        assert len(suggestion.prior) == 2
