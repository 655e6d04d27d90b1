"""Grey-level frames: what is one, its noise, its planes, and how it is registered."""

import numpy as np
import pytest
from scipy import ndimage

from slads_bluesky.errors import DataError
from slads_bluesky.images.background import frame_background
from slads_bluesky.images.frames import (
    check_frame,
    fit_frame,
    grey_planes,
    line_offsets,
    noise_level,
    read_frame,
)
from slads_bluesky.images.registration import displaced, frame_displacement, label_displacement


def blobs(side=64, seed=0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), 4, mode="wrap")
    return (field > 0).astype(np.int64) + 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.zeros(5), "grey-level image"),
        (np.array([["a"]]), "grey-level image"),
        (np.ones((4, 4)), "same grey"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.arange(4.0).reshape(2, 2), "fewer than 3"),
    ],
)
def test_check_frame_of_what_is_none_raises(bad, reason):
    with pytest.raises(DataError, match=reason):
        check_frame(bad)


def test_check_frame_of_another_shape_names_both():
    with pytest.raises(DataError, match=r"4 × 6 pixels, the grid 6 × 4"):
        check_frame(np.arange(24.0).reshape(4, 6), (6, 4))


def test_read_frame_averages_colours_and_names_the_file(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.save(tmp_path / "rgb.npy", np.stack([grey, grey, grey, grey * 0], axis=2))
    assert np.array_equal(read_frame(tmp_path / "rgb.npy"), grey)
    np.save(tmp_path / "flat.npy", grey * 0)
    with pytest.raises(DataError, match=r"flat\.npy"):
        read_frame(tmp_path / "flat.npy")


def test_fit_frame_with_an_offset_moves_the_field():
    frame = np.zeros((20, 20), np.float32)
    frame[8, 11] = 1
    assert fit_frame(frame, (20, 20), scale=(1, 1), offset=(3, -2))[11, 9] == pytest.approx(1)


@pytest.mark.parametrize("sigma", [0.2, 5.0])
def test_noise_level_of_a_noisy_two_level_frame_is_its_noise(sigma):
    frame = 10 * blobs(128) + np.random.default_rng(1).normal(size=(128, 128)) * sigma
    assert noise_level(frame.astype(np.float32)) == pytest.approx(sigma, rel=0.3)


def test_line_offsets_of_jumping_lines_are_taken_off_and_else_none():
    rng = np.random.default_rng(2)
    frame = blobs(96) + 0.1 * rng.normal(size=(96, 96))
    assert not line_offsets(frame.astype(np.float32), 0.1).any()
    jumps = rng.normal(size=96)
    jumps -= ndimage.gaussian_filter1d(jumps, 8.0, mode="nearest")
    found = line_offsets((frame + jumps[:, None]).astype(np.float32), 0.1)
    assert np.std(found - jumps) < 0.3 * np.std(jumps)


def test_grey_planes_separate_the_phases_better_than_the_frame():
    truth = blobs(96)
    frame = truth + np.random.default_rng(3).normal(size=truth.shape) / 2
    planes = grey_planes(check_frame(frame))
    wrong = {
        name: np.mean((p > np.median(p)) != (truth > 1)) for name, p in planes.items() if name != "rough"
    }
    assert max(wrong.values()) < np.mean((frame > 1.5) != (truth > 1))
    assert min(wrong.values()) < 0.06


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 1)])
def test_label_displacement_from_two_hundred_labels_is_found(shift):
    truth = blobs(96)
    frame = np.roll(truth, shift, axis=(0, 1)) + np.random.default_rng(3).normal(size=truth.shape) / 3
    pixels = np.random.default_rng(4).choice(truth.size, 200, replace=False)
    found = label_displacement(frame.astype(np.float32), pixels, truth.ravel()[pixels])
    assert (found.y, found.x) == pytest.approx(shift, abs=0.6)


def test_label_displacement_under_a_shaded_and_charging_frame_is_found_to_a_third_of_a_pixel():
    rng, truth = np.random.default_rng(5), blobs(96)
    frame = ndimage.shift(truth.astype(float), (2.4, -1.3), order=1, mode="nearest")
    frame += np.linspace(-1, 1, 96) + 0.4 * ndimage.gaussian_filter1d(rng.normal(size=96), 2)[:, None] * 3
    plane = grey_planes(check_frame(frame + rng.normal(size=truth.shape) / 3))["smooth"]
    pixels = rng.choice(truth.size, 200, replace=False)
    found = label_displacement(plane, pixels, truth.ravel()[pixels])
    assert (found.y, found.x) == pytest.approx((2.4, -1.3), abs=0.34)


@pytest.mark.parametrize("n_levels", [1, 2, 4])
def test_frame_background_of_levels_under_shading_and_charging_is_taken_off(n_levels):
    rng = np.random.default_rng(n_levels)
    levels = 3.0 * (np.kron(rng.integers(0, n_levels, (8, 8)), np.ones((8, 8))))
    added = 4 * np.linspace(-1, 1, 64) ** 2 + ndimage.gaussian_filter1d(rng.normal(size=64), 3)[:, None] * 2
    left = added - frame_background(levels + added + rng.normal(size=added.shape), np.zeros(64))
    assert np.std(left) < 0.25 * np.std(added)


def test_label_displacement_of_an_unrelated_frame_with_few_labels_is_none():
    frame = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    pixels = np.arange(0, 64 * 64, 200)
    found = label_displacement(frame, pixels, blobs().ravel()[pixels])
    assert (found.y, found.x) == (0, 0)


def test_displaced_plane_lies_under_the_map():
    plane = np.arange(30, dtype=np.float32).reshape(5, 6)
    assert displaced(plane, 1, -2)[2, 3] == plane[3, 1]


def test_frame_displacement_of_two_shapes_raises():
    with pytest.raises(DataError, match="cannot be registered"):
        frame_displacement(np.zeros((4, 4), np.float32), np.zeros((4, 5), np.float32))
