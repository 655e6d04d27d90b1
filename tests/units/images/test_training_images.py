"""Images that networks are trained on against the images of the benchmarks: none may be a part of another."""

import numpy as np
import pytest
from skimage.feature import match_template

from slads_bluesky.evaluation.benchmarks.objects import ROWS
from slads_bluesky.images.generated import KINDS
from slads_bluesky.phantom import make_labels

SIDE = 64
SAME = 0.6
"""Correlation of the boundaries from which on two images count as parts of one: a copy has 0.99, strangers 0.35."""


def boundaries(image):
    """Pixels with another label to the right or below, whatever the labels are called."""
    found = np.zeros(image.shape)
    found[:, :-1] += image[:, 1:] != image[:, :-1]
    found[:-1] += image[1:] != image[:-1]
    return (found > 0).astype(np.float64)


def likeness(part, whole):
    """Largest correlation of the boundaries of `part` with those of `whole`, over all places and symmetries."""
    best = -1.0
    for turns in range(4):
        for flipped in (False, True):
            placed = np.rot90(part, turns)
            placed = placed[::-1] if flipped else placed
            best = max(best, float(match_template(boundaries(whole), boundaries(placed)).max()))
    return best


@pytest.fixture(scope="module")
def benchmark_images():
    """The small objects of `bench sampling`, with seeds that it uses."""
    rows = [row for row in ROWS if row.size <= 256]
    return [make_labels(row.kind, row.size, 1 + number, "test") for row in rows for number in range(2)]


def test_likeness_of_a_turned_cut_with_other_labels_is_one(benchmark_images):
    whole = benchmark_images[0]
    cut = 3 - np.rot90(whole[20 : 20 + SIDE, 31 : 31 + SIDE], 3)[::-1]
    assert likeness(cut, whole) > SAME


@pytest.mark.parametrize("kind", list(KINDS))
def test_training_image_of_each_kind_is_no_part_of_a_benchmark(kind, benchmark_images):
    part = KINDS[kind][1](np.random.default_rng(7), 2 * SIDE)[:SIDE, :SIDE]
    assert part.min() < part.max()
    assert max(likeness(part, whole) for whole in benchmark_images) < SAME


@pytest.mark.parametrize("kind", ["pbsn", "powder"])
def test_training_labels_of_slads_are_no_part_of_a_benchmark(kind, benchmark_images):
    part = make_labels(kind, 128, 1, "train")[:SIDE, :SIDE]
    assert max(likeness(part, whole) for whole in benchmark_images) < SAME
