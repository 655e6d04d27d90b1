"""Laws that every sampler keeps, whatever it thinks of."""

import io
import json

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.protocols import UNCLASSIFIED, Sampler
from slads_bluesky.sampling.factory import make_sampler, restore_sampler

NAMES = ["slads", "random", "low-discrepancy"]
SHAPE = (21, 34)


@pytest.fixture
def truth(make_blobs):
    image = make_blobs(SHAPE, 3.0, seed=5)
    image[np.random.default_rng(3).random(SHAPE) < 0.06] = UNCLASSIFIED
    return image


@pytest.fixture
def masks():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    roi = (y - 10) ** 2 + (x - 15) ** 2 < 14**2
    forbidden = np.random.default_rng(8).random(SHAPE) < 0.1
    return roi, forbidden


def make(name, model, **options):
    return make_sampler(name, SHAPE, labels=2, model=model, seed=3, **options)


def told(batch):
    """Pixels and ERDs in a form in which NaN equals NaN."""
    return [(s.pixel, repr(s.erd)) for s in batch]


def measure(sampler, truth, n):
    taken = []
    for _ in range(n):
        suggested = sampler.suggest()
        if not suggested:
            break
        pixel = suggested[0].pixel
        sampler.ingest(pixel, int(truth.ravel()[pixel]))
        taken.append(pixel)
    return taken


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_sampler(name, model):
    sampler = make(name, model)
    assert isinstance(sampler, Sampler)
    assert sampler.shape == SHAPE
    assert sampler.n_measured == 0
    assert np.isnan(sampler.distortion_estimate())
    assert set(np.unique(sampler.reconstruct())) <= {1, 2}


@pytest.mark.parametrize("name", NAMES)
def test_ingesting_twice_changes_nothing(name, model, truth):
    sampler, twice = make(name, model), make(name, model)
    for pixel in measure(sampler, truth, 150):
        for _ in range(2):
            twice.ingest(pixel, int(truth.ravel()[pixel]))
    assert twice.n_measured == sampler.n_measured == 150
    assert told(twice.suggest(5)) == told(sampler.suggest(5))
    assert np.array_equal(twice.reconstruct(), sampler.reconstruct())
    assert twice.distortion_estimate() == pytest.approx(sampler.distortion_estimate(), nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 7])
def test_suggesting_changes_nothing(name, model, truth, n):
    sampler = make(name, model)
    for _ in range(60):
        before = sampler.measured
        first = sampler.suggest(n)
        assert sampler.suggest(3)
        assert told(sampler.suggest(n)) == told(first)
        assert np.array_equal(sampler.measured, before)
        sampler.ingest(first[0].pixel, int(truth.ravel()[first[0].pixel]))


@pytest.mark.parametrize("name", NAMES)
def test_never_a_measured_or_masked_pixel_and_a_clean_end(name, model, truth, masks):
    roi, forbidden = masks
    sampler = make(name, model, roi=roi, forbidden=forbidden)
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
    map_, known = sampler.reconstruct(), truth.ravel() > 0
    voting = np.flatnonzero(allowed & known)
    assert np.array_equal(map_.ravel()[voting], truth.ravel()[voting])
    assert set(np.unique(map_)) <= {1, 2}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [0, 3, 7, 200])
def test_saved_and_restored_it_goes_on_as_before(name, model, truth, masks, n):
    roi, forbidden = masks
    sampler = make(name, model, roi=roi, forbidden=forbidden)
    measure(sampler, truth, n)
    arrays, facts = sampler.state()
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    again = restore_sampler(
        dict(np.load(file, allow_pickle=False)), json.loads(json.dumps(facts, allow_nan=False)), model
    )
    assert told(again.suggest(4)) == told(sampler.suggest(4))
    assert measure(again, truth, 60) == measure(sampler, truth, 60)
    assert again.n_measured == sampler.n_measured
    assert np.array_equal(again.reconstruct(), sampler.reconstruct())
    assert again.distortion_estimate() == pytest.approx(sampler.distortion_estimate(), nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_labels_is_irrelevant_for_what_comes_next(name, model, truth):
    sampler, shuffled = make(name, model), make(name, model)
    taken = measure(sampler, truth, 180)
    for pixel in np.random.default_rng(0).permutation(taken):
        shuffled.ingest(int(pixel), int(truth.ravel()[pixel]))
    assert told(shuffled.suggest(6)) == told(sampler.suggest(6))
    assert np.array_equal(shuffled.reconstruct(), sampler.reconstruct())


@pytest.mark.parametrize("name", NAMES)
def test_another_label_replaces_the_first(name, model, truth):
    right, mended = make(name, model), make(name, model)
    taken = measure(right, truth, 150)
    wrong = set(taken[40:60])
    for pixel in taken:
        mended.ingest(pixel, 1 if pixel in wrong else int(truth.ravel()[pixel]))
    for pixel in wrong:
        mended.ingest(pixel, int(truth.ravel()[pixel]))
    assert mended.n_measured == right.n_measured
    assert np.array_equal(mended.measured, right.measured)
    assert mended.suggest()[0].pixel == right.suggest()[0].pixel
    assert np.array_equal(mended.reconstruct(), right.reconstruct())


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_is_refused(name, model, masks):
    sampler = make(name, model, roi=masks[0])
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
    with pytest.raises(DataError, match=r"mask has shape \(5, 5\)"):
        make(name, model, roi=np.ones((5, 5), bool))
    with pytest.raises(DataError, match="empty"):
        make(name, model, roi=masks[0], forbidden=masks[0])
    with pytest.raises(ConfigError, match="labels"):
        make_sampler(name, SHAPE, labels=[0, 1], model=model)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_ill_pixels_ends_cleanly(name, model):
    sampler = make(name, model)
    assert len(measure(sampler, np.zeros(SHAPE, np.uint8), 10_000)) == SHAPE[0] * SHAPE[1]
    assert sampler.should_stop()
    assert np.isnan(sampler.distortion_estimate())


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_does_not_fit_itself_is_refused(name, model, truth):
    sampler = make(name, model)
    measure(sampler, truth, 30)
    arrays, facts = sampler.state()
    strange = arrays["measured"].copy()
    strange.flat[7] = 9
    with pytest.raises(DataError, match=r"measured holds label 9, which is none of \[1, 2\]"):
        restore_sampler({**arrays, "measured": strange}, facts, model)
    with pytest.raises(DataError, match=r"measured has shape \(20, 34\), the grid \(21, 34\)"):
        restore_sampler({**arrays, "measured": arrays["measured"][1:]}, facts, model)
    with pytest.raises(DataError, match=f"'{name}' version 7"):
        restore_sampler(arrays, {**facts, "version": 7}, model)
    with pytest.raises(DataError, match="field labels is missing"):
        restore_sampler(arrays, {k: v for k, v in facts.items() if k != "labels"}, model)


def test_a_state_of_another_model_or_of_nobody_is_refused(model, model_four, truth):
    sampler = make("slads", model)
    measure(sampler, truth, 30)
    arrays, facts = sampler.state()
    with pytest.raises(DataError, match=model_four.sha256[:12]):
        restore_sampler(arrays, facts, model_four)
    with pytest.raises(DataError, match="'nobody'"):
        restore_sampler(arrays, facts | {"sampler": "nobody"}, model)
    with pytest.raises(DataError, match="measured is missing"):
        restore_sampler({k: v for k, v in arrays.items() if k != "measured"}, facts, model)
    with pytest.raises(ConfigError, match="unknown sampler 'best'; known: slads"):
        make_sampler("best", SHAPE, labels=2)
    with pytest.raises(ConfigError, match="needs a model"):
        make_sampler("slads", SHAPE, labels=2)


def test_a_batch_is_spread_and_may_be_travelled(model, truth):
    from slads_bluesky.sampling.travel import travel_length

    sampler = make("slads", model)
    measure(sampler, truth, 120)
    one = sampler.suggest()[0]
    batch = sampler.suggest(20)
    assert batch[0] == one
    spread = sampler.suggest(20, spread=2)
    rows, columns = np.divmod([s.pixel for s in spread], SHAPE[1])
    apart = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns))
    assert apart[~np.eye(20, dtype=bool)].min() == 3
    way = sampler.suggest(20, travel=True)
    assert way[0] == one
    assert {s.pixel for s in way} == {s.pixel for s in batch}
    length = travel_length([s.pixel for s in way], SHAPE[1])
    assert length < 0.85 * travel_length([s.pixel for s in batch], SHAPE[1])
    assert sampler.suggest()[0] == one


def test_a_label_set_with_gaps(model, make_blobs):
    truth = make_blobs(SHAPE, 3.0, seed=5)
    sampler = make_sampler("slads", SHAPE, labels=(3, 200), model=model, seed=3)
    plain = make("slads", model)
    gaps = np.array([0, 3, 200], np.uint8)
    for _ in range(100):
        pixel = sampler.suggest()[0].pixel
        assert pixel == plain.suggest()[0].pixel
        sampler.ingest(pixel, int(gaps[truth.ravel()[pixel]]))
        plain.ingest(pixel, int(truth.ravel()[pixel]))
    assert np.array_equal(sampler.reconstruct(), gaps[plain.reconstruct()])
