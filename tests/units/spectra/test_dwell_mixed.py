"""The stop rule for specimens whose boundaries mix phases."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.errors import ConfigError
from slads_bluesky.phantom import Imperfections, make_object, training_spectra
from slads_bluesky.spectra import PhaseClassifier
from slads_bluesky.spectra.dwell import SequentialTest
from slads_bluesky.spectra.dwell_mixed import MixtureTest, boundary_tolerance, mixture_dwell


@pytest.fixture(scope="module")
def classifier():
    spectra = training_spectra("pbsn", 0, 12)
    yields = tuple(float(counts.sum(axis=1).mean()) for counts in spectra.values())
    return PhaseClassifier.from_spectra(spectra, make_object("pbsn-32").axis, noise_lambda=2.0, yields=yields)


def _acquire(specimen, rule, classifier, pixels):
    beam, eds, _ = soft_microscope(specimen, classifier, stop_rule=rule)
    eds.configure({"live_time": 10.0, "abundances": True})
    eds.stage()
    for pixel in pixels:
        beam.set(beam.sem.grid.position(int(pixel)))
        eds.trigger().wait(5)
        yield eds.reading


def test_mixed_pixels_are_labelled_by_their_larger_part(classifier):
    specimen = make_object("pbsn-32", 2, Imperfections(blur_px=1.0))
    top = specimen.abundances.max(axis=0)
    pixels = np.flatnonzero(((top > 0.65) & (top < 0.95) & (specimen.labels > 0)).ravel())[:120]
    wanted = specimen.majority.ravel()[pixels]
    wrong = {}
    for name, rule in (("mixed", MixtureTest(classifier)), ("pure", SequentialTest(classifier))):
        readings = list(_acquire(specimen, rule, classifier, pixels))
        called = np.array([reading.judgement.label for reading in readings])
        wrong[name] = int(((called != wanted) & (called > 0)).sum())
        assert max(int(reading.counts.sum()) for reading in readings) < 20_000
    assert wrong["mixed"] <= 2
    assert wrong["pure"] > wrong["mixed"]


def test_an_acquisition_near_one_half_ends_once_its_abundance_is_known(classifier):
    specimen = make_object("pbsn-32", 2, Imperfections(blur_px=1.0))
    half = np.abs(specimen.abundances[0] - 0.5).ravel()
    pixels = [p for p in half.argsort()[:12] if specimen.labels.ravel()[p] > 0]
    rule = MixtureTest(classifier, abundance_sd=0.06)
    misses = []
    for pixel, reading in zip(pixels, _acquire(specimen, rule, classifier, pixels), strict=True):
        assert reading.live_s < 1.0
        assert reading.mixture.abundance_sd.max() <= 0.065 or reading.mixture.far_wrong <= 1e-3
        misses.append(abs(reading.mixture.abundances[0] - specimen.abundances[0].ravel()[pixel]))
    assert np.median(misses) < 0.12


def test_a_spectrum_of_two_phases_rarely_ends_as_a_pure_one_by_its_first_counts(classifier):
    specimen = make_object("pbsn-32", 2, Imperfections(blur_px=1.0))
    half = np.abs(specimen.abundances[0] - 0.5).ravel()
    pixels = [p for p in half.argsort()[:100] if specimen.labels.ravel()[p] > 0]
    few = [int(r.counts.sum()) < 100 for r in _acquire(specimen, MixtureTest(classifier), classifier, pixels)]
    assert np.mean(few) <= 0.04


def test_a_reading_has_abundances_only_where_they_were_asked_for(classifier):
    specimen = make_object("pbsn-32", 2)
    _, eds, _ = soft_microscope(specimen, classifier)
    before = set(eds.describe())
    eds.configure({"abundances": True})
    assert set(eds.describe()) - before == {
        "eds_majority", "eds_majority_probability", "eds_abundances", "eds_abundance_sd", "eds_unbounded",
        "eds_unbounded_sd",
    }  # fmt: skip
    eds.stage()
    eds.trigger()
    assert set(eds.read()) == set(eds.describe())


def test_nonsense_is_refused(classifier):
    with pytest.raises(ConfigError, match="abundances"):
        MixtureTest(object())
    with pytest.raises(ConfigError, match="position_sd"):
        boundary_tolerance(0.0)
    assert mixture_dwell(classifier, 0.0, 10.0) is None
