"""An image beside the labels: its evidence, when it is used, and what the samplers make of it."""

import numpy as np
import pytest
from sampling_fixtures import blobs, measure

from slads_bluesky.errors import DataError
from slads_bluesky.images.frames import check_frame, grey_planes
from slads_bluesky.images.registration import Displacement
from slads_bluesky.sampling.factory import make_sampler
from slads_bluesky.sampling.imaging.coupling import coupled
from slads_bluesky.sampling.imaging.evidence import BINS, Term, align, grey_tables, make_evidence
from slads_bluesky.sampling.imaging.guide import ImageGuide
from slads_bluesky.sampling.imaging.mask import guided_pixels
from slads_bluesky.sampling.imaging.selection import choose_terms
from slads_bluesky.sampling.masks import initial_pixels
from slads_bluesky.sampling.slads.guided import vote_probabilities

SHAPE = (64, 64)
STILL = Displacement(0.0, 0.0, 0.0)


def image_of(truth, noise=1 / 3, seed=0):
    return (truth + np.random.default_rng(seed).normal(size=truth.shape) * noise).astype(np.float32)


@pytest.fixture(scope="module")
def truth():
    return blobs(SHAPE, 3.0, seed=8)


def labels_of(truth, n, seed=1):
    measured = np.full(truth.shape, -1, np.int16)
    pixels = np.random.default_rng(seed).choice(truth.size, n, replace=False)
    measured.flat[pixels] = truth.flat[pixels]
    return measured


def test_grey_tables_of_two_levels_tell_them_apart():
    bins = np.concatenate([np.full(50, 60), np.full(50, 190)]).astype(np.uint8)
    labels = np.repeat([1, 2], 50)
    tables = grey_tables(bins, 0.05, np.bincount(bins, minlength=BINS), labels, np.array([1, 2]))
    assert tables[0, 60] - tables[1, 60] > 3
    assert tables[1, 190] - tables[0, 190] > 3
    assert abs(tables[0, 10] - tables[1, 10]) < 0.1  # a grey that nobody had says nothing


def test_evidence_with_shading_is_that_without(truth):
    pixels = np.flatnonzero(labels_of(truth, 300).ravel() > 0)
    labels = truth.ravel()[pixels].astype(np.int64)
    shading = np.linspace(-3, 3, SHAPE[1])[None, :]
    right = []
    for frame in (image_of(truth), image_of(truth) + shading):
        aligned = align(grey_planes(check_frame(frame)), pixels, labels, STILL)
        found = make_evidence(aligned, [Term("smooth", 1.0)], pixels, labels).at(np.arange(truth.size))
        right.append(np.mean(found.argmax(axis=0) + 1 == truth.ravel()))
    assert min(right) > 0.95


def test_choose_terms_takes_an_image_and_leaves_noise(truth):
    measured = labels_of(truth, 200)
    pixels = np.flatnonzero(measured.ravel() > 0)
    labels = truth.ravel()[pixels].astype(np.int64)

    def chosen(frame):
        aligned = align(grey_planes(check_frame(frame)), pixels, labels, STILL)
        return choose_terms(vote_probabilities, measured, aligned, np.random.default_rng(0))

    terms, gain = chosen(image_of(truth))
    assert terms
    assert gain > 0.05
    noise = [chosen(np.random.default_rng(s).normal(size=SHAPE).astype(np.float32))[0] for s in range(4)]
    assert sum(bool(terms) for terms in noise) <= 1


def test_choose_terms_shares_the_weight_among_planes_that_say_the_same(truth):
    measured = labels_of(truth, 300)
    pixels = np.flatnonzero(measured.ravel() > 0)
    planes = {"smooth": grey_planes(check_frame(image_of(truth)))["smooth"]}

    def weight_of(planes):
        aligned = align(planes, pixels, truth.ravel()[pixels].astype(np.int64), STILL)
        terms, _ = choose_terms(vote_probabilities, measured, aligned, np.random.default_rng(0))
        return [term.weight for term in terms]

    twice = weight_of({**planes, "copy": planes["smooth"]})
    assert twice[0] == pytest.approx(twice[1], abs=0.02)
    assert sum(twice) == pytest.approx(*weight_of(planes), rel=0.2)


def test_coupled_keeps_what_is_measured_and_a_line_and_takes_out_speckle():
    logs = np.zeros((2, 9, 9))
    logs[1] = -3.0
    logs[1, 2, 2] = 1.0  # speckle
    logs[1, 6, :] = 3.0  # a line, one pixel wide
    known = np.full((9, 9), -1)
    known[2, 6] = 1
    found = coupled(logs, known).argmax(axis=0)
    assert found[2, 2] == 0
    assert found[2, 6] == 1
    assert found[6].all()
    assert found.sum() == 10
    alone = np.exp(logs) / np.exp(logs).sum(axis=0)
    np.testing.assert_allclose(coupled(logs, np.full((9, 9), -1), strength=0.0), alone)


def test_guide_finds_a_displacement_and_predicts_better_with_it(truth):
    measured = labels_of(truth, 300)
    moved = np.roll(image_of(truth), (3, -2), axis=(0, 1))
    state = ImageGuide(moved, SHAPE, seed=0).validated(vote_probabilities, measured)
    assert (round(state.displacement.y), round(state.displacement.x)) == (3, -2)
    assert state.used


def test_guided_pixels_meet_a_small_bright_patch_that_even_ones_miss():
    frame = np.zeros((80, 80), np.float32)
    frame[33:36, 51:54] = 10
    allowed = np.ones(frame.shape, bool)
    found = guided_pixels(frame, 0.01, seed=0, allowed=allowed)
    assert len(set(found.tolist())) == found.size == 64
    rows, columns = np.divmod(found, 80)
    assert ((abs(rows - 34) <= 1) & (abs(columns - 52) <= 1)).any()


def test_guided_pixels_of_a_frame_of_noise_are_the_even_ones():
    allowed = np.ones((96, 96), bool)
    plane = grey_planes(check_frame(image_of(np.ones((96, 96)))))["median"]
    assert np.array_equal(
        guided_pixels(plane, 0.01, seed=3, allowed=allowed),
        initial_pixels((96, 96), 0.01, seed=3, allowed=allowed),
    )


def test_guided_pixels_stay_within_what_is_allowed():
    allowed = np.zeros((40, 40), bool)
    allowed[10:20, 5:30] = True
    found = guided_pixels(image_of(np.ones((40, 40))), 0.2, seed=1, allowed=allowed)
    assert allowed.flat[found].all()
    assert np.unique(found).size == found.size == 50


def _needed(name, truth, model, image, wanted):
    sampler = make_sampler(name, truth.shape, labels=2, model=model, seed=2, image=image)
    while sampler.n_measured < truth.size // 2:
        measure(sampler, truth, 20)
        if np.mean(sampler.reconstruct() != truth) <= wanted:
            break
    return sampler.n_measured, sampler


@pytest.mark.parametrize("name", ["learned", "slads"])
def test_sampler_with_an_image_needs_at_most_sixty_per_cent(name, model):
    truth = blobs((96, 96), 3.0, seed=21)
    model = model if name == "slads" else None
    without, _ = _needed(name, truth, model, None, 0.005)
    with_image, sampler = _needed(name, truth, model, image_of(truth), 0.005)
    assert sampler.image_use.used
    assert with_image <= 0.6 * without


def test_sampler_with_an_image_repeats_its_decisions(truth):
    def pixels(labels_first):
        sampler = make_sampler("learned", SHAPE, labels=2, seed=2, image=image_of(truth))
        if labels_first is None:
            return measure(sampler, truth, 160)
        for pixel in labels_first[:120]:  # a resumed map ingests without being asked
            sampler.ingest(pixel, int(truth.flat[pixel]))
        return labels_first[:120] + measure(sampler, truth, 40)

    first = pixels(None)
    assert pixels(first) == first


@pytest.mark.parametrize("name", ["learned", "slads", "random"])
def test_image_after_the_first_label_or_of_another_shape_raises(name, model, truth):
    sampler = make_sampler(name, SHAPE, labels=2, model=model if name == "slads" else None)
    with pytest.raises(DataError, match="the grid 64 × 64"):
        sampler.take_image(np.eye(32))
    measure(sampler, truth, 1)
    with pytest.raises(DataError, match="before the first measured pixel"):
        sampler.take_image(image_of(truth))
