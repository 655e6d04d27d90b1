"""A detector's calibration: what it finds in spectra of known materials, its file, and the command."""

import dataclasses
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from slads_bluesky.cli import app
from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra import Detector, EnergyAxis, PhaseClassifier, expected_counts, load_classifier
from slads_bluesky.spectra.io.emsa import write_emsa
from slads_bluesky.spectra.likelihood.calibration import calibrate
from slads_bluesky.spectra.likelihood.common_values import MaterialFit, common_values
from slads_bluesky.spectra.likelihood.computed import DetectorCalibration
from slads_bluesky.spectra.likelihood.holdout import validated
from slads_bluesky.spectra.likelihood.nuisance import COMPUTED

KNOWN = {"Fe": "Fe", "Al2O3": "Al2O3", "CaF2": "CaF2"}
STATED = EnergyAxis(-0.05, 0.01, 1700)
TRUE = EnergyAxis(-0.056, 0.00996, 1700)
"""A detector whose channels are 0.4 % narrower than it states, and begin 6 eV lower."""


def spectra(compositions, counts=300_000, seed=0):
    """Spectra of a detector unlike the stated one: scale, 134 eV instead of 126 eV, more carbon."""
    rng = np.random.default_rng(seed)
    detector = Detector(resolution_ev=134.0)
    carbon = expected_counts("C", TRUE, detector=detector, total_counts=1.0)
    carbon *= np.abs(TRUE.energies() - 0.277) < 0.1
    out = {}
    for name, spec in compositions.items():
        shape = (
            expected_counts(spec, TRUE, detector=detector, total_counts=1.0) + 0.05 * carbon / carbon.sum()
        )
        out[name] = (spec, rng.multinomial(counts, shape / shape.sum()))
    return out


@pytest.fixture(scope="module")
def calibration():
    return calibrate(spectra(KNOWN), STATED)


def test_calibration_finds_energy_scale_width_and_contamination(calibration):
    found, energies = calibration.true_axis(STATED).energies(), TRUE.energies()
    assert (
        np.abs(found - energies)[50:650].max() < 0.006
    )  # a twentieth of a line; no material has a line above
    assert calibration.true_resolution_ev(126.0) == pytest.approx(134.0, abs=2.5)
    assert COMPUTED.carbon * calibration.mean["carbon"] == pytest.approx(0.05 / 1.05, abs=0.012)
    assert all(0.0 < sd <= 1.0 for sd in calibration.sd.values())


def test_calibrated_shapes_are_nearer_to_the_detectors(calibration):
    compositions = {"SiO2": "SiO2", "MgO": "MgO", "Ti": "Ti"}
    plain = PhaseClassifier.from_compositions(compositions, STATED)
    better = PhaseClassifier.from_compositions(compositions, STATED, calibration=calibration)
    for label, (_, counts) in enumerate(spectra(compositions, seed=1).values(), start=1):
        assert better.classify(counts)[::2] == (label, "ok")
        bins, total = better._binned(counts)
        misfit = [
            float(((bins / total - c.templates.shape[label - 1]) ** 2 / c.templates.shape[label - 1]).sum())
            for c in (plain, better)
        ]
        assert misfit[1] < 0.5 * misfit[0]


def test_calibration_file_is_read_as_written_and_checked(calibration, tmp_path):
    path = tmp_path / "detector.json"
    calibration.save(path)
    again = DetectorCalibration.load(path)
    assert dataclasses.asdict(again) == dataclasses.asdict(calibration)
    content = json.loads(path.read_text())
    for wrong in (
        {"kind": "x"},
        {**content, "version": 3},
        {**content, "gain": "much"},
        {**content, "sd": {"nothing": 1.0}},
        {**content, "more": 1},
        {**content, "more\nand more": 1},
        [],
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ConfigError, match=r"detector\.json") as raised:
            DetectorCalibration.load(path)
        assert "\n" not in str(raised.value)


def test_calibration_file_of_version_1_has_the_same_amplitudes_in_the_new_units(calibration, tmp_path):
    path = tmp_path / "detector.json"
    calibration.save(path)
    first = {
        **json.loads(path.read_text()),
        "version": 1,
        "mean": {"carbon": 2.0, "tail": 1.0},
        "sd": {"line": 0.4},
    }
    path.write_text(json.dumps(first))
    found = DetectorCalibration.load(path)
    assert COMPUTED.carbon * found.mean["carbon"] == pytest.approx(0.04 * 2.0)
    assert COMPUTED.line * found.sd["line"] == pytest.approx(0.25 * 0.4)
    assert found.mean["tail"] == 1.0


def test_calibration_of_too_little_is_refused_by_name():
    with pytest.raises(ConfigError, match="two known"):
        calibrate({"Fe": ("Fe", np.ones(1700))}, STATED)
    with pytest.raises(DataError, match=r"'Fe'.*counts"):
        calibrate({"Fe": ("Fe", np.ones(1700)), "Ni": ("Ni", np.full(1700, 9))}, STATED)
    with pytest.raises(ConfigError, match="Xx"):
        calibrate({"Fe": ("Xx", np.full(1700, 9)), "Ni": ("Ni", np.full(1700, 9))}, STATED)


def test_calibrate_detector_command_and_the_classifier_that_uses_it(tmp_path):
    lines = ["materials:"]
    for name, (spec, counts) in spectra(KNOWN).items():
        write_emsa(
            tmp_path / f"{name}.msa",
            counts,
            STATED,
            title=name,
            when=datetime(2026, 1, 1, tzinfo=UTC),
            beam_energy_kev=15.0,
            takeoff_deg=28.5,
        )
        lines.append(f"  {name}: {{composition: {spec}, files: [{name}.msa]}}")
    (tmp_path / "known.yml").write_text("\n".join(lines) + "\n")
    arguments = ["calibrate-detector", str(tmp_path / "known.yml"), "-o", str(tmp_path / "detector.json")]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "j")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "j").read_text())["resolution_ev"] == pytest.approx(134.0, abs=2.5)
    (tmp_path / "phases.yml").write_text(
        "phases:\n  silica: {composition: SiO2}\n  titanium: {composition: Ti}\ndetector: detector.json\n"
        "axis: {offset_kev: -0.05, width_kev: 0.01, n_channels: 1700}\n"
    )
    result = CliRunner().invoke(
        app, ["train", "classifier", "--phases", str(tmp_path / "phases.yml"), "-o", str(tmp_path / "m")]
    )
    assert result.exit_code == 0, result.output
    _, counts = spectra({"silica": "SiO2"}, seed=2)["silica"]
    assert load_classifier(tmp_path / "m").classify(counts)[::2] == (1, "ok")


def shows(amplitude, information, names=("continuum",)):
    """What a material shows of some nuisances: its own maximum, before the prior draws it to 0."""
    size = len(names)
    information = np.asarray(information, float).reshape(size, size)
    drawn = np.linalg.solve(information + np.eye(size), information @ np.atleast_1d(amplitude))
    return MaterialFit(tuple(names), drawn, information, 1.0)


def test_common_values_of_what_materials_do_not_show_stay_as_uncertain_as_they_were():
    value, sd = common_values([shows(a, 1e-3) for a in (10.0, -20.0, 0.0)], ["continuum"])
    assert abs(value[0]) < 0.1
    assert sd[0] > 0.95


def test_common_values_of_materials_that_agree_are_theirs_and_of_others_are_wide():
    agree, narrow = common_values([shows(a, 100.0) for a in (1.9, 2.0, 2.1)], ["continuum"])
    assert agree[0] == pytest.approx(1.95, abs=0.1)
    assert narrow[0] < 0.6
    _, wide = common_values([shows(a, 100.0) for a in (-2.0, 2.0, 0.0)], ["continuum"])
    assert wide[0] == 1.0


def test_common_values_of_one_line_each_are_found_together():
    """A single line shows the sum of gain and offset only; lines at two energies show both."""
    truth, fits = np.array([1.5, -1.0]), []
    for energy in (0.3, 1.0, 3.0):
        direction = np.array([energy, 1.0])
        fits.append(shows(truth, 400.0 * np.outer(direction, direction), ("gain", "offset")))
    found, _ = common_values(fits, ["gain", "offset"])
    assert np.abs(found - truth).max() < 0.25


def test_common_values_that_are_not_learnt_stay_where_they_were_and_bias_no_other():
    truth = np.array([1.5, -1.0])
    fits = [shows(truth, 400.0 * np.outer(d, d), ("gain", "offset")) for d in ([0.3, 1.0], [3.0, 1.0])]
    found, sd = common_values(fits, ["gain", "offset"], {"offset": -1.0})
    assert found == pytest.approx(truth, abs=0.3)
    assert found[1] == -1.0
    assert sd[1] == 1.0


def test_hold_out_keeps_what_predicts_the_others_and_drops_what_does_not():
    """The materials agree on the continuum; each has another tail, and what two have misleads about the third."""
    names = ("continuum", "tail", "line")
    tails = (-1.5, 1.5, -1.5, 1.5)
    fits = [shows((2.0 + 0.1 * t, t, 0.3 * t), 100.0 * np.eye(3), names) for t in tails]
    found = validated(fits, {})
    assert "continuum" not in found.dropped
    assert "tail" in found.dropped
    assert found.gain > 0.0


def test_hold_out_of_materials_that_contradict_each_other_learns_nothing():
    fits = [shows((3.0 * s, 3.0 * s, 3.0 * s), 100.0 * np.eye(3), ("gain", "low", "line")) for s in (-1, 1)]
    assert set(validated(fits, {}).dropped) == {"gain", "low", "line"}


def test_hold_out_compares_with_the_value_without_a_calibration():
    """Seen from a scale that has been moved by 2, no calibration is at -2, where these materials are."""
    fits = [shows((-2.0 + e, 0.0), 100.0 * np.eye(2), ("gain", "line")) for e in (-1.2, 0.0, 1.2)]
    kept = validated(fits, {"gain": 0.0}).gain
    assert kept > validated(fits, {"gain": -2.0}).gain


def test_a_material_with_a_wrong_composition_makes_no_calibration_worse_than_none():
    """Called Al2O3, it is pure aluminium with twice the carbon: the others are still predicted as well as before."""
    known = spectra(KNOWN)
    known["Al2O3"] = ("Al2O3", spectra({"Al": "Al"}, seed=3)["Al"][1])
    calibration = calibrate(known, STATED)
    compositions = {"SiO2": "SiO2", "MgO": "MgO", "Ti": "Ti"}
    plain = PhaseClassifier.from_compositions(compositions, STATED)
    better = PhaseClassifier.from_compositions(compositions, STATED, calibration=calibration)
    rng = np.random.default_rng(4)
    for label, (_, counts) in enumerate(spectra(compositions, seed=1).values(), start=1):
        for total in (200, 2000):
            drawn = rng.multinomial(total, counts / counts.sum(), size=10)
            good = [(c.classify_batch(drawn)[0] == label).mean() for c in (plain, better)]
            assert good[1] >= good[0]
