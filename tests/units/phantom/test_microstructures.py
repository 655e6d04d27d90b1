"""Label images: the boundary fraction that was asked for, every phase, no specks."""

import numpy as np
import pytest
from scipy import ndimage

from slads_bluesky.errors import ConfigError
from slads_bluesky.images import boundary_fraction
from slads_bluesky.phantom.microstructures import make_labels, target_boundary_fraction


@pytest.mark.parametrize(("kind", "size"), [("pbsn", 128), ("powder", 256), ("pbsn", 64), ("powder", 64)])
@pytest.mark.parametrize("seed", range(3))
def test_boundary_fraction_is_what_was_wanted(kind, size, seed):
    labels = make_labels(kind, size, seed)
    assert labels.shape == (size, size)
    assert set(np.unique(labels)) == set(range(1, 3 if kind == "pbsn" else 5))
    assert boundary_fraction(labels) == pytest.approx(target_boundary_fraction(kind, size), rel=0.1)


def test_targets_are_the_papers():
    assert target_boundary_fraction("pbsn", 128) == pytest.approx(0.12)
    assert target_boundary_fraction("powder", 256) == pytest.approx(0.085)
    assert target_boundary_fraction("pbsn", 1024) == pytest.approx(0.061)


@pytest.mark.parametrize("wanted", [0.03, 0.09])
def test_another_boundary_fraction_is_the_same_microstructure_at_another_scale(wanted):
    assert boundary_fraction(make_labels("pbsn", 256, 1, wanted=wanted)) == pytest.approx(wanted, rel=0.1)
    own = target_boundary_fraction("pbsn", 256)
    assert np.array_equal(make_labels("pbsn", 256, 1, wanted=own), make_labels("pbsn", 256, 1))
    with pytest.raises(ConfigError, match=r"0\.01 to 0\.25, not nan"):
        make_labels("pbsn", 64, wanted=float("nan"))


def test_train_and_test_never_share_an_image():
    test = [make_labels("pbsn", 64, s).tobytes() for s in range(5)]
    train = [make_labels("pbsn", 64, s, "train").tobytes() for s in range(5)]
    assert not set(test) & set(train)


def test_boundary_fraction_counts_both_sides():
    labels = np.ones((4, 6), int)
    labels[:, 3:] = 2
    assert boundary_fraction(labels) == pytest.approx(2 / 6)
    assert boundary_fraction(np.ones((3, 3), int)) == 0


def test_images_are_denoised():
    labels = make_labels("powder", 128, 1)
    for label in range(1, 5):
        patches, _ = ndimage.label(labels == label)
        assert np.bincount(patches.ravel())[1:].min() >= 4
