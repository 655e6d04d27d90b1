"""What training spectra of few counts show of a phase: its elements and how far its lines scatter."""

import numpy as np
import pytest

from slads_bluesky.spectra import Detector, EnergyAxis, expected_counts
from slads_bluesky.spectra.likelihood.families import families_in
from slads_bluesky.spectra.likelihood.kernel import bin_starts, binned
from slads_bluesky.spectra.likelihood.nuisance import (
    COMPUTED,
    MEASURED,
    library_families,
    scale_directions,
)
from slads_bluesky.spectra.likelihood.scatter import scatter_of
from slads_bluesky.spectra.likelihood.templates import tempering_gains

AXIS = EnergyAxis(-0.05, 0.01, 1100)
STARTS = bin_starts(AXIS, 126.0, 0.12, 10.2)


@pytest.fixture(scope="module")
def library():
    return library_families(AXIS, STARTS, 10.0, 35.0, Detector())


def _shape(composition):
    row = binned(
        expected_counts(composition, AXIS, beam_energy_kev=10.0, takeoff_deg=35.0, total_counts=1.0), STARTS
    )
    return row / row.sum()


@pytest.mark.parametrize("shift_kev", [0.0, 0.006])
@pytest.mark.parametrize(
    ("composition", "elements"),
    [("NaAlSi3O8", {8, 11, 13, 14}), ("CaTiSiO5", {8, 14, 20, 22}), ({"Pb": 0.38, "Sn": 0.62}, {82, 50})],
)
def test_families_of_a_template_are_those_of_its_elements(library, composition, elements, shift_kev):
    axis = EnergyAxis(AXIS.offset_kev - shift_kev, AXIS.width_kev, AXIS.n_channels)
    counts = expected_counts(composition, axis, beam_energy_kev=10.0, takeoff_deg=35.0, total_counts=2e4)
    row = binned(np.random.default_rng(0).poisson(counts), STARTS) + 0.05
    shape = row / row.sum()
    found = families_in(shape, 2e4, library, np.array(scale_directions(shape, STARTS, AXIS, COMPUTED)))
    assert {f.z for f in found} == elements
    assert 0.3 < sum(float(f.counts.sum()) for f in found) <= 1.0


@pytest.mark.parametrize("counts", [300, 5000])
def test_scatter_of_lines_is_learnt_from_spectra_of_few_counts(library, counts):
    shape = _shape("NaAlSi3O8")
    silicon = next(f.counts for f in library if (f.z, f.shell) == (14, "K"))
    changes = np.array([0.05 * silicon, MEASURED.continuum * shape])
    rng = np.random.default_rng(1)
    strength = 1.0 + 0.3 * rng.standard_normal(24)
    rows = []
    for value in strength:
        moved = shape + 0.3 * (value - 1.0) * silicon
        rows.append(rng.multinomial(counts, np.maximum(moved, 0.0) / np.maximum(moved, 0.0).sum()))
    found = scatter_of(np.array(rows, float), shape, changes[:1])
    assert 0.05 * found[0] == pytest.approx(0.3 * strength.std(), rel=0.25)
    alike = rng.multinomial(counts, shape, size=24).astype(float)
    assert 0.05 * scatter_of(alike, shape, changes[:1])[0] < 0.03


def test_tempering_of_one_mislabelled_spectrum_is_bounded():
    good = np.tile([0.0, -50.0, 1000.0], (30, 1))
    wrong = np.array([[0.0, 5000.0, 1000.0]])
    alone = tempering_gains(good, 0.02)
    assert (alone.argmax(), tempering_gains(np.vstack([good, wrong]), 0.02).argmax()) == (0, 0)
    assert tempering_gains(np.vstack([good, wrong])).argmax() > 0
