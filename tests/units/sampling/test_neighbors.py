"""The incremental lists against brute force, on any grid and in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slads_bluesky.sampling.slads.engine import place, rebuild, take_back
from slads_bluesky.sampling.slads.model import TERMS, theta_matrix
from slads_bluesky.sampling.slads.state import CLOSED, NO_KEY, SHIFT, copy_field, empty_field, to_grid

THETA = theta_matrix(np.random.default_rng(0).standard_normal(len(TERMS)))


@st.composite
def scenes(draw):
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    k = draw(st.integers(1, 12))
    n = draw(st.integers(1, min(60, rows * columns)))
    n_labels = draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**32 - 1))
    clustered = draw(st.booleans())
    generator = np.random.default_rng(seed)
    weights = np.ones(rows * columns)
    if clustered:  # a corner full of samples and an empty rest make long thin regions
        y, x = np.divmod(np.arange(rows * columns), columns)
        weights = np.exp(-(y + x) / 3.0) + 1e-9
    pixels = generator.choice(rows * columns, n, replace=False, p=weights / weights.sum())
    inside = generator.random((rows, columns)) < draw(st.sampled_from([0.7, 1.0]))
    inside.ravel()[pixels] = True
    return (rows, columns), k, pixels, generator.integers(0, n_labels, n), n_labels, inside


def brute_force(shape, k, pixels, labels, inside):
    """The k smallest keys of each pixel, (rows, columns, k)."""
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    py, px = np.divmod(pixels, shape[1])
    d2 = (y[:, None] - py) ** 2 + (x[:, None] - px) ** 2
    keys = np.sort((d2 << SHIFT) | labels, axis=1)[:, :k]
    keys = np.pad(keys, ((0, 0), (0, k - keys.shape[1])), constant_values=NO_KEY)
    keys[pixels] = CLOSED
    keys[~inside.ravel()] = CLOSED
    return keys.reshape(*shape, k)


def keys_of(field):
    return np.stack([to_grid(field, plane) for plane in field.keys.transpose(1, 0, 2)], axis=-1)


def fresh(shape, k, inside):
    return empty_field(inside, inside, k=k, theta=THETA, radius=3)


def same(a, b):
    for name in ("keys", "recon", "disagreement", "wrong", "close", "erd", "best", "best_row"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for field in (a, b):  # the bound is one
        blocks = np.full_like(field.reach, CLOSED)
        last = to_grid(field, field.keys[:, -1])
        for (row, column), key in np.ndenumerate(last):
            blocks[row // 16, column // 16] = max(blocks[row // 16, column // 16], key)
        assert (field.reach >= blocks).all()


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_sample_by_sample_equals_brute_force_and_bulk(scene):
    shape, k, pixels, labels, n_labels, inside = scene
    field = fresh(shape, k, inside)
    for pixel, label in zip(pixels, labels, strict=True):
        place(field, int(pixel) // shape[1], int(pixel) % shape[1], int(label), n_labels)
    assert np.array_equal(keys_of(field), brute_force(shape, k, pixels, labels, inside))
    bulk = fresh(shape, k, inside)
    bulk.open.reshape(shape[0], -1)[np.divmod(pixels, shape[1])] = False
    rebuild(bulk, pixels.astype(np.int32), labels.astype(np.int32), n_labels)
    same(field, bulk)


@settings(max_examples=30, deadline=None)
@given(scenes(), st.data())
def test_a_changed_or_withdrawn_label_leaves_no_trace(scene, data):
    shape, k, pixels, labels, n_labels, inside = scene
    if pixels.size < 2:
        return
    field = fresh(shape, k, inside)
    field.open.reshape(shape[0], -1)[np.divmod(pixels, shape[1])] = False
    rebuild(field, pixels.astype(np.int32), labels.astype(np.int32), n_labels)
    at = data.draw(st.integers(0, pixels.size - 1))
    new = data.draw(st.sampled_from([None, *range(n_labels)]))
    left = np.ones(pixels.size, bool)
    changed = labels.copy()
    if new is None:
        left[at] = False
    else:
        changed[at] = new
    voting, votes = pixels[left].astype(np.int32), changed[left].astype(np.int32)
    take_back(field, int(pixels[at]), voting, votes, n_labels, label=new)
    clean = fresh(shape, k, inside)
    clean.open.reshape(shape[0], -1)[np.divmod(pixels, shape[1])] = False
    rebuild(clean, voting, votes, n_labels)
    same(field, clean)


def test_a_thin_arm_that_skips_a_ring_is_found():
    """Ten samples in a row of one corner: the region of the next sample is long, thin and slanted."""
    shape, k = (90, 90), 1
    generator = np.random.default_rng(5)
    for _ in range(40):
        slope = generator.uniform(0.2, 3.0)
        along = np.arange(0, 12)
        pixels = np.unique((40 + np.round(along * slope / 3)).astype(int) * 90 + 30 + along)
        field = fresh(shape, k, np.ones(shape, bool))
        for i, pixel in enumerate(generator.permutation(pixels)):
            place(field, int(pixel) // 90, int(pixel) % 90, i % 2, 2)
        d2 = keys_of(field)[..., 0] >> SHIFT
        y, x = np.mgrid[:90, :90]
        py, px = np.divmod(pixels, 90)
        wanted = ((y[..., None] - py) ** 2 + (x[..., None] - px) ** 2).min(axis=-1)
        open_ = np.ones(shape, bool)
        open_.ravel()[pixels] = False
        assert np.array_equal(d2[open_], wanted[open_])


@pytest.mark.parametrize("shape", [(4096, 3), (2, 4096)])
def test_the_longest_grids(shape):
    inside = np.ones(shape, bool)
    field = fresh(shape, 2, inside)
    pixels = np.array([0, shape[0] * shape[1] - 1])
    for pixel, label in zip(pixels, (1, 0), strict=True):
        place(field, int(pixel) // shape[1], int(pixel) % shape[1], label, 2)
    assert np.array_equal(keys_of(field), brute_force(shape, 2, pixels, np.array([1, 0]), inside))
    twin = copy_field(field)
    assert not any(np.shares_memory(a, b) for a, b in zip(field, twin, strict=True))
