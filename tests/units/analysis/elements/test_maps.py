"""Element maps of a simulated specimen with a zoned crystal."""

from dataclasses import replace

import numpy as np
import pytest

from slads_bluesky.analysis.elements.maps import SparseSpectra, map_elements
from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.evaluation.benchmarks.graded import AXIS, CONDITIONS, CRYSTAL, ELEMENTS, GradedSpecimen

SIZE = 32


@pytest.fixture(scope="module")
def specimen():
    return GradedSpecimen(SIZE)


@pytest.fixture(scope="module")
def sparse(specimen):
    rng = np.random.default_rng(0)
    pixels = np.sort(rng.choice(SIZE * SIZE, 160, replace=False))
    counts = rng.poisson(specimen.expected[pixels]).astype(np.int32)
    nothing = np.full(len(pixels), np.nan)
    labels = specimen.labels.ravel()[pixels].astype(np.int64)
    return SparseSpectra(
        counts, AXIS, pixels, nothing, nothing, labels, specimen.labels, ("glass", "crystal")
    )


@pytest.fixture(scope="module")
def maps(sparse):
    return map_elements(sparse, CONDITIONS, elements=ELEMENTS, ignored=())


def test_zoning_of_a_crystal_is_found_and_not_flattened(specimen, maps):
    inside = specimen.labels == CRYSTAL
    for symbol in ("Na", "Ca"):
        truth = specimen.mass_fraction(symbol)[inside]
        found = maps.mass_fraction[maps.index(symbol)][inside]
        assert np.corrcoef(found, truth)[0, 1] > 0.9, symbol
        assert maps.variations[CRYSTAL, symbol].sill > 0


def test_a_homogeneous_phase_stays_flat(specimen, maps):
    glass = maps.intensity[maps.index("Si")][specimen.labels != CRYSTAL]
    assert glass.std() < 0.02 * glass.mean()


def test_measured_pixels_are_flagged_and_known_better(sparse, maps):
    assert np.flatnonzero(maps.measured.ravel()).tolist() == sparse.pixels.tolist()
    crystal = maps.labels == CRYSTAL
    sd = maps.intensity_sd[maps.index("Ca")]
    assert np.median(sd[crystal & maps.measured]) < np.median(sd[crystal & ~maps.measured])


def test_maps_are_finite_and_fractions_sum_to_one(maps):
    assert np.isfinite(maps.intensity).all()
    assert np.isfinite(maps.mass_fraction_sd).all()
    assert maps.mass_fraction.sum(axis=0) == pytest.approx(1.0)


def test_maps_do_not_depend_on_the_order_of_the_pixels(sparse, maps):
    order = np.random.default_rng(1).permutation(len(sparse.pixels))
    shuffled = replace(
        sparse,
        **{
            name: getattr(sparse, name)[order]
            for name in ("spectra", "pixels", "live_time_s", "dose_nc", "votes")
        },
    )
    again = map_elements(shuffled, CONDITIONS, elements=ELEMENTS, ignored=())
    assert again.intensity == pytest.approx(maps.intensity, rel=1e-6, abs=1e-9)


def test_a_guide_image_of_another_shape_is_refused(sparse):
    with pytest.raises(ConfigError, match="guide image: shape"):
        map_elements(sparse, CONDITIONS, elements=ELEMENTS, image=np.zeros((3, 3)))


def test_too_few_counts_are_refused(sparse):
    few = replace(sparse, spectra=np.zeros_like(sparse.spectra))
    with pytest.raises(DataError, match="1000 counts"):
        map_elements(few, CONDITIONS, elements=ELEMENTS)
