"""Another energy scale: templates moved to it, a drift within bounds absorbed, and reported from summed spectra."""

import numpy as np
import pytest

from slads_bluesky.errors import DataError
from slads_bluesky.spectra import EnergyAxis, PhaseClassifier, expected_counts
from slads_bluesky.spectra.likelihood.settings import ClassifierSettings

POWDER = {"CaO": "CaO", "LaO": "LaO", "Si": "Si", "C": "C"}


def read_too_high(axis, gain, total):
    """Expected spectra of a detector that reads every energy `gain` too high."""
    true = EnergyAxis(axis.offset_kev / (1.0 + gain), axis.width_kev / (1.0 + gain), axis.n_channels)
    return {name: expected_counts(spec, true, total_counts=total) for name, spec in POWDER.items()}


@pytest.mark.parametrize(("offset_kev", "width_kev", "n"), [(-0.045, 0.01005, 2040), (-0.05, 0.00996, 1800)])
def test_on_axis_moved_classifier_knows_spectra_of_the_other_scale(powder, offset_kev, width_kev, n):
    axis = EnergyAxis(offset_kev, width_kev, n)
    moved = powder.on_axis(axis)
    rng = np.random.default_rng(1)
    for label, spec in enumerate(POWDER.values(), start=1):
        shape = expected_counts(spec, axis, total_counts=1.0)
        drawn = rng.multinomial(100_000, shape / shape.sum(), size=10)
        labels, _, verdicts = moved.classify_batch(drawn)
        assert (labels[verdicts == "ok"] == label).all()
        assert (verdicts == "ok").mean() >= 0.9
    assert moved.sha256 == powder.on_axis(axis).sha256 != powder.sha256


def test_on_axis_own_scale_is_itself_and_another_detectors_refused(powder, axis):
    assert powder.on_axis(axis) is powder
    with pytest.raises(DataError, match=r"energy axis of -50 eV \+ i × 20 eV, expected"):
        powder.on_axis(EnergyAxis(-0.05, 0.02, axis.n_channels))
    assert powder.on_axis(EnergyAxis(-0.05, 0.02, 1000), force=True).n_channels == 1000


@pytest.mark.parametrize("gain", [-0.005, 0.005])
@pytest.mark.parametrize("counts", [300, 5000, 100_000])
def test_drift_of_half_a_percent_is_absorbed(powder, axis, counts, gain):
    rng = np.random.default_rng(2)
    for label, shape in enumerate(read_too_high(axis, gain, 1.0).values(), start=1):
        drawn = rng.multinomial(counts, shape / shape.sum(), size=10)
        labels, _, verdicts = powder.classify_batch(drawn)
        assert (labels[verdicts == "ok"] == label).all()
        assert (verdicts == "ok").mean() >= 0.9


def test_drift_beyond_the_setting_is_not_absorbed(powder, axis):
    rng = np.random.default_rng(3)
    counts = rng.poisson(read_too_high(axis, 0.02, 1e5)["LaO"])
    assert powder.classify(counts).verdict != "ok"


def test_drift_is_found_in_the_sum_of_spectra(powder, axis):
    rng = np.random.default_rng(4)
    for gain in (0.0, 0.003, 0.005):
        for label, shape in enumerate(read_too_high(axis, gain, 1e6).values(), start=1):
            found, sd = powder.energy_drift(rng.poisson(shape), label)
            assert found == pytest.approx(gain, abs=max(4.0 * sd, 4e-4))
    assert powder.energy_drift(np.zeros(axis.n_channels), 1) is None


def test_drift_of_files_from_before_is_none():
    described = ClassifierSettings().to_json()
    del described["drift"]
    assert ClassifierSettings.from_json(described).drift == 0.0
    assert "drift" not in ClassifierSettings.from_json(described).to_json()


def test_drift_verdicts_do_not_depend_on_the_spectra_before(powder, axis, tmp_path):
    """A replay asks a classifier read from its file, in another order."""
    rng = np.random.default_rng(5)
    drawn = np.array([rng.poisson(shape) for shape in read_too_high(axis, 0.005, 3e4).values()])
    powder.save(tmp_path / "c")
    again = PhaseClassifier.load(tmp_path / "c")
    first = [powder.classify(row) for row in drawn]
    assert [again.classify(row) for row in drawn[::-1]][::-1] == first
