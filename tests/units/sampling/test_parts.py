"""Initial mask, distortion, segmentation, image files, travel and static samplers."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.images import boundary_fraction, check_label_image, total_distortion
from slads_bluesky.images.files import read_label_image
from slads_bluesky.images.segmentation import segment
from slads_bluesky.sampling import (
    initial_pixels,
    knn_reconstruct,
)
from slads_bluesky.sampling.static import StaticSampler
from slads_bluesky.sampling.travel import travel_length, travel_order


@pytest.mark.parametrize("shape", [(128, 128), (37, 512), (400, 11), (1, 200)])
def test_the_initial_mask_is_spread_more_evenly_than_chance(shape):
    pixels = initial_pixels(shape, 0.05, seed=4)
    size = shape[0] * shape[1]
    assert pixels.dtype == np.int32
    assert pixels.size == round(0.05 * size)
    assert np.unique(pixels).size == pixels.size
    assert np.array_equal(pixels, initial_pixels(shape, 0.05, seed=4))
    assert not np.array_equal(pixels, initial_pixels(shape, 0.05, seed=5))
    everywhere = np.column_stack(np.divmod(np.arange(size), shape[1]))

    def gap(chosen):
        return cKDTree(everywhere[chosen]).query(everywhere)[0].mean()

    chance = np.random.default_rng(0).permutation(size)[: pixels.size]
    assert gap(pixels) < 0.97 * gap(chance)


def test_the_initial_mask_honours_a_mask_and_reaches_every_pixel():
    allowed = np.random.default_rng(1).random((30, 40)) < 0.02
    allowed[3, 3] = True
    pixels = initial_pixels((30, 40), 1.0, allowed=allowed)
    assert sorted(pixels.tolist()) == np.flatnonzero(allowed).tolist()
    assert initial_pixels((1000, 1000), 1e-9).size == 1
    with pytest.raises(ConfigError, match="not 0"):
        initial_pixels((3, 3), 0.0)
    with pytest.raises(DataError, match="empty"):
        initial_pixels((3, 3), 0.5, allowed=np.zeros((3, 3), bool))


def test_total_distortion_and_boundary_fraction_of_a_known_image():
    truth = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 1, 2, 2]], np.uint8)
    wrong = truth.copy()
    wrong[0, 0], wrong[2, 0] = 2, 2  # the second is ill in truth: no phase to be wrong about
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


def test_reconstruction_votes_without_ill_pixels_and_keeps_measured_ones(oracle, make_blobs):
    truth = make_blobs((14, 19), 2.0, 3, seed=2)
    generator = np.random.default_rng(0)
    measured = np.where(generator.random(truth.shape) < 0.2, truth.astype(np.int16), np.int16(-1))
    measured[generator.random(truth.shape) < 0.05] = 0
    samples = {(int(r), int(c)): int(measured[r, c]) for r, c in np.argwhere(measured > 0)}
    inside = np.ones(truth.shape, bool)
    wanted = oracle.reconstruct(truth.shape, samples, (1, 2, 3), 10, inside)
    found = knn_reconstruct(measured)
    assert all(found[at] == label for at, label in wanted.items())
    with pytest.raises(DataError, match="nothing to reconstruct"):
        knn_reconstruct(np.zeros((3, 3), np.int16))


def test_segmentation_finds_the_phases_of_a_noisy_picture(make_blobs):
    truth = make_blobs((96, 96), 6.0, 3, seed=1)
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
def test_label_images_from_files(tmp_path, make_blobs, suffix):
    truth = make_blobs((12, 9), 2.0)
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


def test_a_short_way_is_never_longer_and_visits_all():
    generator = np.random.default_rng(0)
    for n in (1, 2, 3, 7, 40):
        pixels = generator.choice(50 * 60, n, replace=False)
        order = travel_order(pixels, 60)
        assert sorted(order.tolist()) == list(range(n))
        assert order[0] == 0
        assert travel_length(pixels[order], 60) <= travel_length(pixels, 60) + 1e-9
    line = np.array([0, 9, 1, 8, 2, 7, 3, 6, 4, 5])
    assert travel_length(line[travel_order(line, 60)], 60) == 9.0


def test_the_static_estimate_is_about_right(make_blobs):
    truth = make_blobs((96, 96), 5.0, seed=3)
    for order in ("random", "low-discrepancy"):
        sampler = StaticSampler(truth.shape, order, labels=2, seed=1)
        for suggestion in sampler.suggest(900):
            sampler.ingest(suggestion.pixel, int(truth.ravel()[suggestion.pixel]))
        td = total_distortion(truth, sampler.reconstruct())
        assert 0.6 * td < sampler.distortion_estimate() < 1.6 * td
    with pytest.raises(ConfigError, match="'spiral'"):
        StaticSampler((3, 3), "spiral", labels=2)
