"""Label images: distortion, checks, compact labels, small patches, segmentation and files."""

import numpy as np
import pytest
from sampling_fixtures import blobs

from slads_bluesky.errors import DataError
from slads_bluesky.images import (
    boundary_fraction,
    check_label_image,
    compact_labels,
    drop_small_patches,
    read_label_image,
    segment,
    total_distortion,
)
from slads_bluesky.images.labels import number_labels


def test_total_distortion_and_boundary_fraction_of_a_known_image():
    truth = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 1, 2, 2]], np.uint8)
    wrong = truth.copy()
    wrong[0, 0], wrong[2, 0] = 2, 2  # the second is unclassified in truth: no phase to be wrong about
    assert total_distortion(truth, wrong) == pytest.approx(1 / 11)
    assert boundary_fraction(truth) == pytest.approx(6 / 11)
    mask = np.zeros(truth.shape, bool)
    mask[0] = True
    assert total_distortion(truth, wrong, mask) == pytest.approx(1 / 4)
    with pytest.raises(DataError, match=r"\(3, 4\).*\(3, 3\)"):
        total_distortion(truth, truth[:, :3])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((2, 3, 4), np.uint8), "2 dimensions, it has 3"),
        (np.ones((3, 3)), "integer labels, it holds float64"),
        (np.zeros((0, 3), np.uint8), "is empty"),
        (np.zeros((3, 3), np.uint8), "label 0 only"),
        (np.full((3, 3), 300), "300 to 300"),
        (np.full((3, 3), True), "holds bool"),
    ],
)
def test_what_is_no_label_image_is_named(image, message):
    with pytest.raises(DataError, match=message):
        check_label_image(image, "x.npy")


def test_compact_labels_of_labels_with_gaps_counts_from_0():
    image = np.array([[200, 7, 0], [-1, 7, 3]], np.int16)
    values, compact = compact_labels(image)
    assert values.tolist() == [3, 7, 200]
    assert compact.tolist() == [[2, 1, -1], [-1, 1, 0]]
    assert np.array_equal(values[compact[image > 0]], image[image > 0])


def test_small_patches_get_the_label_of_the_nearest_larger_one():
    image = np.ones((12, 12), np.uint8)
    image[:, 8:] = 2
    clean = image.copy()
    image[3, 3:6] = 2  # 3 pixels
    image[9, 10] = 1
    assert np.array_equal(drop_small_patches(image, 4), clean)
    assert np.array_equal(drop_small_patches(image, 3)[3, 3:6], [2, 2, 2])
    assert np.array_equal(drop_small_patches(image, 1000), image)  # nothing would be left


def test_segmentation_finds_the_phases_of_a_noisy_picture():
    truth = blobs((96, 96), 6.0, 3, seed=1)
    noisy = np.array([0, 40, 110, 200])[truth] + np.random.default_rng(0).normal(0, 12, truth.shape)
    found = segment(noisy, 3)
    assert total_distortion(truth, found) < 0.03
    assert total_distortion(truth, segment(noisy, 3, window=1, smallest=1)) > 0.0
    colour = np.repeat(noisy[..., None], 3, axis=2)
    assert np.array_equal(segment(colour, 3), found)
    with pytest.raises(DataError, match=r"flat\.tif has too few grey levels"):
        segment(np.zeros((9, 9)), 2, name="flat.tif")
    with pytest.raises(DataError, match="not finite"):
        segment(np.full((9, 9), np.nan), 2)
    with pytest.raises(DataError, match="phases must lie in"):
        segment(noisy, 1)


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif"])
def test_label_images_from_files(tmp_path, suffix):
    truth = blobs((12, 9), 2.0)
    path = tmp_path / f"labels{suffix}"
    if suffix == ".npy":
        np.save(path, truth)
    elif suffix == ".png":
        from PIL import Image

        Image.fromarray(truth).save(path)
    else:
        import tifffile

        tifffile.imwrite(path, truth)
    assert np.array_equal(read_label_image(path), truth)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=f"labels{suffix}"):
        read_label_image(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_label_image(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"not '\.txt'"):
        read_label_image(tmp_path / "a.txt")


def test_number_labels_of_any_numbers_gives_labels_from_1_in_their_order_or_by_frequency():
    numbers = np.array([[70000, 3, 3], [3, 12, 12]])
    assert number_labels(numbers).tolist() == [[3, 1, 1], [1, 2, 2]]
    assert number_labels(numbers, most_frequent_first=True).tolist() == [[3, 1, 1], [1, 2, 2]]
    assert number_labels(-numbers, most_frequent_first=True).tolist() == [[3, 1, 1], [1, 2, 2]]
    assert number_labels(-numbers).tolist() == [[1, 3, 3], [3, 2, 2]]
    assert number_labels(numbers).dtype == np.uint8
