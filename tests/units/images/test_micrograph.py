"""Micrographs: info strip, crop, grey levels that are not separable, preview, and the command."""

import logging

import numpy as np
import pytest
import tifffile
from PIL import Image
from sampling_fixtures import blobs
from typer.testing import CliRunner

from slads_bluesky.cli import app
from slads_bluesky.errors import ConfigError, DataError, SladsError
from slads_bluesky.images.micrograph import (
    info_strip,
    parse_crop,
    require_separable,
    segment_micrograph,
)
from slads_bluesky.images.segmentation import segment

RNG = np.random.default_rng(0)
TRUTH = blobs((120, 160), 8.0, 3, seed=1)
PICTURE = np.clip(np.array([0, 60, 130, 200])[TRUTH] + RNG.normal(0, 10, TRUTH.shape), 1, 254).astype(
    np.uint8
)


def with_strip(background, rows=14):
    """A picture and, below it, a strip with letters, as a microscope saves it."""
    strip = np.full((rows, PICTURE.shape[1]), background, np.uint8)
    strip[4:10, 8:60:3] = 255 - background
    strip[4:10, 100:130] = 255 - background
    return np.concatenate([PICTURE, strip])


@pytest.mark.parametrize("background", [0, 255])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_info_strip_is_cut_and_logged(tmp_path, caplog, background, suffix):
    path = tmp_path / f"bse{suffix}"
    image = with_strip(background)
    Image.fromarray(image).save(path) if suffix == ".png" else tifffile.imwrite(path, image)
    with caplog.at_level(logging.WARNING):
        grey, labels = segment_micrograph(path, 3)
    assert grey.shape == labels.shape == PICTURE.shape
    assert (labels == TRUTH).mean() > 0.95
    assert "strip of 14 rows" in caplog.text


def test_picture_without_strip_is_kept_whole():
    assert info_strip(PICTURE) == len(PICTURE)
    dark_below = PICTURE.copy()
    dark_below[-60:] = 3  # half of the picture: no strip
    assert info_strip(dark_below) == len(PICTURE)
    assert info_strip(PICTURE, scanned_rows=100) == 100


@pytest.mark.parametrize(
    "grey",
    [RNG.normal(100, 20, (90, 90)), np.linspace(0, 255, 90)[None] + RNG.normal(0, 3, (90, 90))],
    ids=["noise", "ramp"],
)
@pytest.mark.parametrize("phases", [2, 3])
def test_grey_levels_without_a_valley_are_refused(grey, phases):
    with pytest.raises(DataError, match=r"ramp\.tif: the grey levels of phases 1 and 2 are not separable"):
        require_separable(grey, segment(grey, phases), "ramp.tif")


def test_few_particles_of_many_grey_levels_are_separable():
    grey = RNG.normal(50, 5, (90, 90))
    grey[20:30, 20:50] = RNG.uniform(100, 250, (10, 30))
    require_separable(grey, segment(grey, 2), "particles.tif")


def test_crop_of_a_micrograph_is_taken_and_checked(tmp_path):
    np.save(tmp_path / "bse.npy", PICTURE)
    grey, _ = segment_micrograph(tmp_path / "bse.npy", 3, crop=parse_crop("10:110, :100"))
    np.testing.assert_array_equal(grey, PICTURE[10:110, :100])
    with pytest.raises(DataError, match=r"bse\.npy: the crop leaves"):
        segment_micrograph(tmp_path / "bse.npy", 3, crop=parse_crop("500:,:"))
    with pytest.raises(ConfigError, match="crop '5': must be"):
        parse_crop("5")


def test_segment_command_writes_labels_and_preview(tmp_path):
    Image.fromarray(with_strip(0)).save(tmp_path / "bse.png")
    base = ["segment", str(tmp_path / "bse.png"), "--phases", "3", "-o", str(tmp_path / "labels.npy")]
    result = CliRunner().invoke(app, [*base, "--preview", str(tmp_path / "look.png")])
    assert result.exit_code == 0, result.output
    assert "info strip of 14 rows cut" in result.output
    assert (np.load(tmp_path / "labels.npy") == TRUTH).mean() > 0.95
    with Image.open(tmp_path / "look.png") as look:
        assert look.size == (2 * TRUTH.shape[1], TRUTH.shape[0])
    Image.fromarray(RNG.integers(90, 110, (80, 80)).astype(np.uint8)).save(tmp_path / "flat.png")
    refused = CliRunner().invoke(
        app, ["segment", str(tmp_path / "flat.png"), "--phases", "2", "-o", str(tmp_path / "no.npy")]
    )
    assert isinstance(refused.exception, SladsError)
    assert not (tmp_path / "no.npy").exists()
