"""The contract of `protocols.Sampler`, for every sampler, the default one first."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sampling_fixtures import measure

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.protocols import UNCLASSIFIED, Sampler
from slads_bluesky.sampling.coverage import fraction_needed, largest_missed_patch
from slads_bluesky.sampling.factory import make_sampler, sampler_names
from slads_bluesky.sampling.learned import sampler as learned
from slads_bluesky.sampling.learned.holdout import Validation
from slads_bluesky.sampling.learned.sampler import LearnedSampler
from slads_bluesky.sampling.learned.settings import PolicySettings

SHAPE = (21, 34)
COARSE = PolicySettings(growth=0.2, least=0.002, most=0.02)
"""Batches that suit a map of a few hundred pixels."""

ORDER_FREE = ["slads", "random", "low-discrepancy"]
"""Their decisions depend on the set of labels and not on the order in which they came."""


@pytest.fixture(
    params=[
        "learned",
        "learned rejected",
        "learned untrained",
        "joint",
        *ORDER_FREE,
        "learned image",
        "slads image",
    ]
)
def make(request, model, random_net, monkeypatch):
    """Make a sampler by its options: the network that ships, one that validation rejects, one of random weights."""
    name = request.param

    def maker(shape=SHAPE, labels=2, **options):
        options = {"seed": 3, **options}
        if name.endswith(" image"):
            kind = name.split()[0]
            frame = np.random.default_rng(4).normal(size=shape) + np.indices(shape)[0]
            sampler = (
                make_sampler("slads", shape, labels=labels, model=model, **options)
                if kind == "slads"
                else LearnedSampler(
                    shape, random_net, labels=labels, **{"initial": 0.02, "policy": COARSE, **options}
                )
            )
            if min(shape) >= 3:
                sampler.take_image(frame)
            return sampler
        if not name.startswith("learned "):
            return make_sampler(
                name, shape, labels=labels, model=model if name == "slads" else None, **options
            )
        # a random network that decides is a policy like any other: the laws hold whatever it predicts
        verdict = (
            Validation(100, 100, 0, 0, 0.0) if name.endswith("rejected") else Validation(100, 0, 9, 0, 0.0)
        )
        monkeypatch.setattr(learned, "validate", lambda *_: verdict)
        return LearnedSampler(
            shape, random_net, labels=labels, **{"initial": 0.02, "policy": COARSE, **options}
        )

    maker.name = name
    return maker


@pytest.fixture
def truth(make_blobs):
    return make_blobs(SHAPE, 3.0, seed=5)


@pytest.fixture
def with_unclassified(truth):
    truth = truth.copy()
    truth[np.random.default_rng(3).random(SHAPE) < 0.06] = UNCLASSIFIED
    return truth


@pytest.fixture
def masks():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    roi = (y - 10) ** 2 + (x - 15) ** 2 < 14**2
    forbidden = np.random.default_rng(8).random(SHAPE) < 0.1
    return roi, forbidden


def comparable(batch):
    """Pixels and ERDs in a form in which NaN equals NaN."""
    return [(s.pixel, repr(s.erd)) for s in batch]


def same_decisions(a, b, n):
    assert comparable(a.suggest(n)) == comparable(b.suggest(n))
    assert np.array_equal(a.reconstruct(), b.reconstruct())
    assert a.n_measured == b.n_measured
    assert np.array_equal(a.measured, b.measured)
    assert a.should_stop() == b.should_stop()


def test_the_contract_is_tested_for_every_sampler_that_can_be_made():
    assert {"learned", "joint", *ORDER_FREE} == set(sampler_names())


def test_sampler_at_the_start_fits_the_protocol(make):
    sampler = make()
    assert isinstance(sampler, Sampler)
    assert sampler.shape == SHAPE
    assert sampler.n_measured == 0
    assert np.isnan(sampler.distortion_estimate())
    assert set(np.unique(sampler.reconstruct())) <= {1, 2}
    assert (sampler.measured == -1).all()
    assert not sampler.should_stop()


def test_smallest_feature_hits_99_percent_of_such_patches_by_the_stated_fraction(make, truth, masks):
    sampler, replayed = (
        make(smallest_feature=25, forbidden=masks[1]),
        make(smallest_feature=25, forbidden=masks[1]),
    )
    assert not sampler.covers_smallest_feature
    n = int(fraction_needed(25) * truth.size) + 20  # and a few for points that must not be measured
    taken = measure(sampler, truth, n)
    assert sampler.covers_smallest_feature
    empty = (sliding_window_view(sampler.measured, (5, 5)) < 0).all(axis=(2, 3))
    assert empty.mean() <= 0.01
    assert largest_missed_patch(sampler.measured) < 25
    assert not masks[1].ravel()[taken].any()
    for pixel in taken:
        replayed.ingest(pixel, int(truth.ravel()[pixel]))
    same_decisions(replayed, sampler, 20)
    assert len(measure(sampler, truth, truth.size)) == truth.size - n - masks[1].sum()
    assert sampler.should_stop()


def test_suggest_with_a_smallest_feature_begins_a_longer_batch_with_the_shorter(make, truth):
    sampler = make(smallest_feature=16)
    flat = truth.ravel()
    for _ in range(40):
        many = [s.pixel for s in sampler.suggest(12)]
        assert len(set(many)) == 12
        assert sampler.suggest()[0].pixel == many[0]
        sampler.ingest(many[0], int(flat[many[0]]))
    with pytest.raises(ConfigError, match="smallest_feature must be at least 1"):
        make(smallest_feature=0)


def test_sampler_with_the_same_seed_repeats_itself(make, truth):
    first, again, other = make(), make(), make(seed=4)
    taken = measure(first, truth, 80)
    assert measure(again, truth, 80) == taken
    assert measure(other, truth, 80) != taken


def test_ingest_of_the_same_label_twice_changes_nothing(make, with_unclassified):
    sampler, twice = make(), make()
    flat = with_unclassified.ravel()
    for pixel in measure(sampler, with_unclassified, 150):
        for _ in range(2):
            twice.ingest(pixel, int(flat[pixel]))
    assert twice.n_measured == 150
    same_decisions(twice, sampler, 5)
    assert repr(twice.distortion_estimate()) == repr(sampler.distortion_estimate())


def test_ingest_of_a_recorded_run_gives_the_same_next_pixels(make, with_unclassified):
    """A replay ingests what was recorded and asks for nothing meanwhile."""
    live, replayed = make(), make()
    for pixel in measure(live, with_unclassified, 200):
        replayed.ingest(pixel, int(with_unclassified.ravel()[pixel]))
    same_decisions(replayed, live, 30)
    assert measure(replayed, with_unclassified, 60) == measure(live, with_unclassified, 60)


@pytest.mark.parametrize("n", [1, 7])
def test_suggest_changes_nothing(make, with_unclassified, n):
    sampler, undisturbed = make(), make()
    flat = with_unclassified.ravel()
    for step in range(60):
        before = sampler.measured
        first = sampler.suggest(n)
        assert 0 < len(first) <= n
        assert sampler.suggest(3 + step)
        if step % 10 == 0:
            sampler.reconstruct()
            sampler.should_stop()
            sampler.distortion_estimate()
        assert comparable(sampler.suggest(n)) == comparable(first)
        assert sampler.suggest(n)[0].pixel == undisturbed.suggest()[0].pixel
        assert np.array_equal(sampler.measured, before)
        for each in (sampler, undisturbed):
            each.ingest(first[0].pixel, int(flat[first[0].pixel]))


def test_suggest_never_gives_a_measured_or_masked_pixel_and_ends_cleanly(make, with_unclassified, masks):
    roi, forbidden = masks
    truth = with_unclassified
    sampler = make(roi=roi, forbidden=forbidden)
    allowed = (roi & ~forbidden).ravel()
    seen = set()
    while batch := sampler.suggest(9):
        pixels = [s.pixel for s in batch]
        assert len(set(pixels)) == len(pixels) <= 9
        assert not seen & set(pixels)
        assert allowed[pixels].all()
        assert not sampler.should_stop()
        for pixel in pixels:
            sampler.ingest(pixel, int(truth.ravel()[pixel]))
        seen |= set(pixels)
    assert seen == set(np.flatnonzero(allowed).tolist())
    assert sampler.n_measured == allowed.sum()
    assert sampler.should_stop()
    assert sampler.suggest() == []
    found = sampler.reconstruct()
    voting = np.flatnonzero(allowed & (truth.ravel() > 0))
    assert np.array_equal(found.ravel()[voting], truth.ravel()[voting])
    assert set(np.unique(found)) <= {1, 2}


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (24, 34)])
def test_a_map_that_is_measured_to_the_end_is_the_truth(make, make_blobs, shape):
    truth = make_blobs(shape, 3.0) if min(shape) > 1 else np.ones(shape, np.uint8)
    sampler = make(shape)
    assert sorted(measure(sampler, truth, truth.size + 1)) == list(range(truth.size))
    assert np.array_equal(sampler.reconstruct(), truth)
    if truth.size > 1:  # nothing can be estimated from one pixel
        assert sampler.distortion_estimate() == 0.0


def test_reconstruct_keeps_measured_labels_and_ignores_unclassified_pixels(make, with_unclassified):
    sampler = make()
    measure(sampler, with_unclassified, 160)
    measured, found = sampler.measured, sampler.reconstruct()
    assert found.dtype == np.uint8
    assert np.array_equal(found[measured > 0], measured[measured > 0])
    assert set(np.unique(found)) == {1, 2}
    assert (measured == UNCLASSIFIED).any()


def test_distortion_estimate_of_a_partial_map_is_a_fraction(make, truth):
    sampler = make()
    measure(sampler, truth, 120)
    assert 0.0 <= sampler.distortion_estimate() <= 1.0


def test_ingest_of_another_label_replaces_the_first(make, with_unclassified):
    truth = with_unclassified
    right, corrected = make(), make()
    taken = measure(right, truth, 150)
    wrong = set(taken[40:60])
    for pixel in taken:
        corrected.ingest(pixel, 1 if pixel in wrong else int(truth.ravel()[pixel]))
    for pixel in wrong:
        corrected.ingest(pixel, int(truth.ravel()[pixel]))
    assert np.array_equal(corrected.measured, right.measured)
    assert corrected.n_measured == right.n_measured
    if make.name != "learned":  # whose last validation may have seen the wrong labels
        assert np.array_equal(corrected.reconstruct(), right.reconstruct())
    if make.name in ORDER_FREE:
        assert corrected.suggest()[0].pixel == right.suggest()[0].pixel


@pytest.mark.parametrize("make", ORDER_FREE, indirect=True)
def test_the_order_of_labels_is_irrelevant_for_what_comes_next(make, with_unclassified):
    sampler, shuffled = make(), make()
    taken = measure(sampler, with_unclassified, 180)
    for pixel in np.random.default_rng(0).permutation(taken):
        shuffled.ingest(int(pixel), int(with_unclassified.ravel()[pixel]))
    same_decisions(shuffled, sampler, 6)


def test_labels_with_gaps_are_decided_like_labels_without(make, truth):
    sampler, plain = make(labels=(3, 200)), make()
    gaps = np.array([0, 3, 200], np.uint8)
    for _ in range(100):
        pixel = sampler.suggest()[0].pixel
        assert pixel == plain.suggest()[0].pixel
        sampler.ingest(pixel, int(gaps[truth.ravel()[pixel]]))
        plain.ingest(pixel, int(truth.ravel()[pixel]))
    assert np.array_equal(sampler.reconstruct(), gaps[plain.reconstruct()])


def test_ingest_of_what_cannot_be_is_refused_and_nothing_is_taken(make, masks):
    sampler = make(roi=masks[0])
    outside = int(np.flatnonzero(~masks[0].ravel())[0])
    inside = int(np.flatnonzero(masks[0].ravel())[0])
    with pytest.raises(DataError, match="outside a grid of 21 × 34"):
        sampler.ingest(SHAPE[0] * SHAPE[1], 1)
    with pytest.raises(DataError, match="outside a grid"):
        sampler.ingest(-1, 1)
    with pytest.raises(DataError, match="label 3"):
        sampler.ingest(inside, 3)
    with pytest.raises(DataError, match="outside the region"):
        sampler.ingest(outside, 1)
    assert sampler.n_measured == 0
    assert (sampler.measured == -1).all()


def test_settings_that_cannot_be_are_refused(make, masks):
    with pytest.raises(DataError, match=r"mask has shape \(5, 5\)"):
        make(roi=np.ones((5, 5), bool))
    with pytest.raises(DataError, match="empty"):
        make(roi=masks[0], forbidden=masks[0])
    with pytest.raises(ConfigError, match="labels"):
        make(labels=[0, 1])
    with pytest.raises(ConfigError, match="at most 63"):
        make(labels=64)
    with pytest.raises(ConfigError, match="shape"):
        make((0, 5))


def test_nothing_but_unclassified_pixels_ends_cleanly(make):
    sampler = make()
    truth = np.zeros(SHAPE, np.uint8)
    assert sorted(measure(sampler, truth, 10_000)) == list(range(truth.size))
    assert sampler.should_stop()
    assert np.isnan(sampler.distortion_estimate())
    assert (sampler.reconstruct() == 1).all()


def test_a_sampler_that_does_not_exist_or_lacks_its_model_is_refused():
    with pytest.raises(ConfigError, match="unknown sampler 'best'; known: slads"):
        make_sampler("best", SHAPE, labels=2)
    with pytest.raises(ConfigError, match="needs a model"):
        make_sampler("slads", SHAPE, labels=2)
