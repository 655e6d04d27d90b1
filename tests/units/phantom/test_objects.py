"""Simulated objects: pure functions of name and seed, made as in the paper's 3.1.2."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.images import read_label_image
from slads_bluesky.phantom import make_object, object_from_labels, training_spectra


@pytest.fixture(scope="module")
def pbsn():
    return make_object("pbsn-128", seed=3)


def test_equal_name_and_seed_give_the_equal_object(pbsn):
    again = make_object("pbsn-128", seed=3)
    np.testing.assert_array_equal(again.labels, pbsn.labels)
    np.testing.assert_array_equal(again.templates, pbsn.templates)
    for pixel in (0, 777, 128 * 128 - 1):
        np.testing.assert_array_equal(again.spectrum(pixel), pbsn.spectrum(pixel))


def test_another_seed_gives_another_object(pbsn):
    other = make_object("pbsn-128", seed=4)
    assert (other.truth != pbsn.truth).mean() > 0.1
    assert (other.templates != pbsn.templates).any()


def test_ill_pixels_are_few_scattered_and_pure_noise(pbsn):
    ill = np.flatnonzero(pbsn.labels == 0)
    assert 0 < ill.size / pbsn.labels.size < 0.0013
    assert (pbsn.truth > 0).all()
    mean = np.mean([pbsn.spectrum(int(p)).mean() for p in ill[:5]])
    assert mean == pytest.approx(20, rel=0.02)


def test_a_good_pixel_has_one_of_its_phases_spectra_plus_poisson_noise(pbsn):
    pixel = int(np.flatnonzero(pbsn.labels == 2)[5])
    template = pbsn.templates[1, pbsn.choice.flat[pixel]]
    noise = pbsn.spectrum(pixel) - template
    assert noise.min() >= 0
    assert noise.mean() == pytest.approx(2, rel=0.1)
    assert noise.var() == pytest.approx(2, rel=0.2)


def test_visits_differ_in_noise_only(pbsn):
    pixel = int(np.flatnonzero(pbsn.labels == 1)[0])
    first, second = pbsn.spectrum(pixel, 0), pbsn.spectrum(pixel, 1)
    assert (first != second).any()
    assert abs(first - second).max() < 20


def test_no_two_pixels_share_their_noise(pbsn):
    pixels = np.flatnonzero((pbsn.labels == 1) & (pbsn.choice == 0))[:2]
    a, b = (pbsn.spectrum(int(p)) for p in pixels)
    assert (a != b).mean() > 0.3


def test_counts_are_those_of_a_real_detector(pbsn):
    totals = pbsn.templates.sum(axis=2)
    assert totals.mean() == pytest.approx(1.2e5, rel=0.05)
    assert pbsn.templates.shape == (2, 12, 2040)


def test_the_record_grows_monotonically_into_the_full_spectrum(pbsn):
    pixel = int(np.flatnonzero(pbsn.labels == 1)[9])
    growing = pbsn.acquisition(pixel)
    times = [0.0, 0.016, 0.5, 3.0, 3.3, 9.99, 10.0, 12.0, 20.0]
    counts = [growing.counts_at(t) for t in times]
    assert counts[0].sum() == 0
    for earlier, later in itertools.pairwise(counts):
        assert (later >= earlier).all()
    np.testing.assert_array_equal(counts[6], pbsn.spectrum(pixel))
    assert counts[2].sum() / counts[6].sum() == pytest.approx(0.05, rel=0.05)
    assert counts[8].sum() / counts[6].sum() == pytest.approx(2, rel=0.05)


def test_what_was_counted_by_a_time_does_not_depend_on_who_looked_before(pbsn):
    looked_often = pbsn.acquisition(100)
    for t in (7.0, 0.1, 2.2):
        looked_often.counts_at(t)
    np.testing.assert_array_equal(looked_often.counts_at(1.5), pbsn.acquisition(100).counts_at(1.5))


def test_training_spectra_are_not_those_of_any_object(pbsn):
    spectra = training_spectra("pbsn-128", seed=3)
    assert list(spectra) == list(pbsn.phases)
    assert all(s.shape == (24, 2040) for s in spectra.values())
    own = {t.tobytes() for phase in pbsn.templates for t in phase}
    assert not own & {s.tobytes() for phase in spectra.values() for s in phase}


@pytest.mark.parametrize("name", ["gold-128", "pbsn", "", "powder-"])
def test_an_unknown_object_is_named(name):
    with pytest.raises(ConfigError, match=f"unknown object '{name}'.*pbsn-128"):
        make_object(name)


@pytest.mark.parametrize("size", [7, 99999])
def test_a_size_that_cannot_be_is_named(size):
    with pytest.raises(ConfigError, match=f"32 to 4096, not {size}"):
        make_object(f"pbsn-{size}")


def test_a_pixel_outside_is_refused(pbsn):
    for pixel in (-1, 128 * 128):
        with pytest.raises(IndexError):
            pbsn.spectrum(pixel)
        with pytest.raises(IndexError):
            pbsn.acquisition(pixel)


def test_an_object_of_ones_own_labels(tmp_path):
    labels = np.ones((8, 9), np.uint8)
    labels[:, 4:] = 3
    labels[2, 2] = 0
    np.save(tmp_path / "a.npy", labels)
    made = object_from_labels(read_label_image(tmp_path / "a.npy"))
    assert made.labels[2, 2] == 0
    assert made.truth[2, 2] == 1
    assert made.phases == ("CaO", "LaO", "Si", "C")


def test_the_largest_object_fits_in_200_mb():
    code = (
        "import re; from pathlib import Path; from slads_bluesky.phantom import make_object;"
        "o = make_object('pbsn-1024'); [o.spectrum(p) for p in range(0, 1024**2, 9999)];"
        # not ru_maxrss, which a child inherits from the process that started it
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(out.stdout) < 200 * 1024
