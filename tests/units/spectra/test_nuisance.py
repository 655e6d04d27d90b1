"""Nuisances in the model (classifiers of version 2): what they absorb, what they must not, and files of version 1."""

import json

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.spectra import Detector, EnergyAxis, PhaseClassifier, expected_counts, load_classifier
from slads_bluesky.spectra.likelihood.computed import composition_sd, computed_phase
from slads_bluesky.spectra.likelihood.few_counts import few_bins, fit_few
from slads_bluesky.spectra.likelihood.marginal import fit_phase, log_occam
from slads_bluesky.spectra.likelihood.nuisance_judge import _worth_fitting, judge_nuisance
from slads_bluesky.spectra.likelihood.settings import ClassifierSettings
from slads_bluesky.spectra.physics.composition import Composition
from slads_bluesky.spectra.physics.spectrum import emitted_photons, family_photons

COMPOSITIONS = {"Al2O3": "Al2O3", "CaF2": "CaF2", "Fe": "Fe", "SiO2": "SiO2"}


@pytest.fixture(scope="module")
def minerals(axis):
    """A classifier from compositions alone."""
    return PhaseClassifier.from_compositions(COMPOSITIONS, axis)


def test_fit_at_its_maximum_gains_nothing_by_other_amplitudes(minerals):
    model = minerals._engine._model
    rng = np.random.default_rng(0)
    counts = rng.multinomial(3000, model.shape[0]).astype(float)
    theta, mu = np.zeros(model.low.shape[1]), np.empty(model.shape.shape[1])
    arguments = (
        counts,
        3000.0,
        model.shape[0],
        model.directions[0],
        model.fisher[0],
        model.low[0],
        model.high[0],
    )
    best = fit_phase(*arguments, model.precision[0], 60, theta, mu)
    assert mu.sum() == pytest.approx(1.0)
    assert (theta >= model.low[0]).all()
    assert (theta <= model.high[0]).all()

    def posterior(amplitudes):
        spectrum = np.maximum(model.shape[0] + amplitudes @ model.directions[0], 1e-3 * model.shape[0])
        return counts @ np.log(spectrum / spectrum.sum()) - 0.5 * (amplitudes**2).sum()

    assert posterior(theta) == pytest.approx(best, abs=1e-6)
    for _ in range(300):
        other = np.clip(theta + rng.normal(0.0, 0.3, len(theta)), model.low[0], model.high[0])
        assert posterior(other) <= best + 0.05


@pytest.mark.parametrize("total", [5, 60, 700])
def test_fit_of_few_counts_finds_what_the_fit_of_all_bins_finds(minerals, total):
    """From its start to its end, of right and of wrong phases; where a bin is at its floor it says so."""
    model, rng = minerals._engine._model, np.random.default_rng(total)
    wholes = 0
    for bins in rng.multinomial(total, model.shape[1], size=5).astype(float):
        filled = few_bins(bins, float(total), True)
        assert (bins[filled] > 0).all()
        assert bins[filled].sum() == total
        for phase in range(len(model.shape)):
            found = []
            rest = (
                model.shape[phase], model.directions[phase], model.fisher[phase], model.low[phase],
                model.high[phase], model.precision[phase], 12,
            )  # fmt: skip
            for first in ((bins, float(total), filled), (bins, float(total))):
                theta, mu = np.zeros(model.low.shape[1]), np.empty(model.shape.shape[1])
                fit = fit_few if len(first) == 3 else fit_phase
                value = fit(*first, *rest, theta, mu)
                found.append((value, mu))
            (value, ended, whole), mu = found[0]
            if whole:
                wholes += 1
                assert value == pytest.approx(found[1][0], abs=0.02)
                np.testing.assert_allclose(mu, found[1][1], atol=1e-3)
            assert ended or total > 60
    assert wholes >= 5  # of the right phase, at least
    assert len(few_bins(bins, float(total), False)) == 0


def test_evidence_of_computed_phases_is_that_of_as_many_counts_as_they_are_worth(axis):
    """A wrong composition is judged by its prior at any dose, not by which phase the model misfits least."""
    pair = PhaseClassifier.from_compositions(
        {"glass": {"Si": 0.46, "O": 0.53, "Ca": 0.01}, "SiO2": "SiO2"}, axis
    )
    model = pair._engine._model
    shape = 0.5 * model.shape[0] + 0.5 * model.shape[1]
    for total in (5000.0, 3e6):
        share = 1.0 / (1.0 + total * model.numbers[0])
        log = []
        for phase in range(2):
            theta, mu = np.zeros(model.low.shape[1]), np.empty(len(shape))
            value = fit_phase(
                total * share * shape, total * share, model.shape[phase], model.directions[phase],
                model.fisher[phase], model.low[phase], model.high[phase], model.precision[phase], 40, theta, mu,
            )  # fmt: skip
            log.append(value - log_occam(total * share, model.eigenvalues[phase]))
        posterior = pair._engine.judge(total * shape, total)[3]
        assert np.log(posterior[0] / posterior[1]) == pytest.approx(log[0] - log[1], abs=0.05)


def test_families_add_up_to_the_lines_of_the_material():
    material = Composition.parse("CaF2")
    families = family_photons(material, 4100, 15.0, 35.0)
    assert set(families) == {(9, "K"), (20, "K"), (20, "L")}
    whole = emitted_photons(material, 4100, 15.0, 35.0)
    assert (whole + 1e-15 >= sum(families.values())).all()


@pytest.mark.parametrize("name", list(COMPOSITIONS))
@pytest.mark.parametrize("counts", [200, 5000, 50_000])
def test_carbon_contamination_is_no_evidence_for_an_unknown(minerals, axis, name, counts):
    carbon = expected_counts("C", axis, total_counts=1.0) * (np.abs(axis.energies() - 0.277) < 0.1)
    shape = expected_counts(COMPOSITIONS[name], axis, total_counts=1.0) + 0.08 * carbon / carbon.sum()
    drawn = np.random.default_rng(1).multinomial(counts, shape / shape.sum(), size=30)
    labels, _, verdicts = minerals.classify_batch(drawn)
    assert (verdicts == "ok").mean() >= 0.9
    assert set(labels[verdicts == "ok"]) == {list(COMPOSITIONS).index(name) + 1}


@pytest.mark.parametrize("strobe", [0.4, 3.0])
def test_a_strobe_peak_changes_nothing(minerals, axis, strobe):
    rng = np.random.default_rng(2)
    zero_peak = np.exp(-0.5 * (axis.energies() / 0.025) ** 2)
    for label, spec in enumerate(COMPOSITIONS.values(), start=1):
        counts = rng.poisson(expected_counts(spec, axis, total_counts=2000.0))
        with_peak = counts + rng.poisson(strobe * 2000.0 * zero_peak / zero_peak.sum())
        assert minerals.classify(with_peak) == minerals.classify(counts)
        assert minerals.classify(counts)[::2] == (label, "ok")


@pytest.mark.parametrize("counts", [1000, 10_000, 50_000])
@pytest.mark.parametrize("kilovolt", [5.0, 15.0, 25.0])
def test_no_light_element_is_called_another(axis, counts, kilovolt):
    classifier = PhaseClassifier.from_compositions(
        {e: e for e in ("B", "C", "N", "O")}, axis, beam_energy_kev=kilovolt
    )
    rng = np.random.default_rng(3)
    detector = Detector(resolution_ev=128.0)
    for label, element in enumerate(("B", "C", "N", "O"), start=1):
        shape = expected_counts(element, axis, beam_energy_kev=kilovolt, detector=detector, total_counts=1.0)
        labels, _, verdicts = classifier.classify_batch(rng.multinomial(counts, shape / shape.sum(), size=10))
        assert set(labels[verdicts == "ok"]) <= {label}
        assert (verdicts == "ok").mean() >= 0.9


def test_a_wrong_energy_scale_is_not_absorbed(minerals, axis):
    rng = np.random.default_rng(4)
    moved = EnergyAxis(axis.offset_kev + 0.08, axis.width_kev, axis.n_channels)
    counts = rng.poisson(expected_counts("CaF2", moved, total_counts=5000.0))
    assert minerals.classify(counts).verdict != "ok"
    drifted = EnergyAxis(axis.offset_kev, axis.width_kev * 1.002, axis.n_channels)
    counts = rng.poisson(expected_counts("CaF2", drifted, total_counts=5000.0))
    assert minerals.classify(counts)[::2] == (2, "ok")


def test_another_composition_of_the_same_elements_is_not_ok(axis):
    """Plagioclases: 10 % anorthite was measured, 50 % is met."""
    rng = np.random.default_rng(5)

    def spectra(anorthite, n, counts):
        formula = {
            "Na": 1 - anorthite,
            "Ca": anorthite,
            "Al": 1 + anorthite,
            "Si": 3 - anorthite,
            "O": 8,
        }
        text = "".join(f"{element}{amount:.4g}" for element, amount in formula.items())
        return rng.multinomial(counts, expected_counts(text, axis, total_counts=1.0), size=n)

    known = {
        "plagioclase": spectra(0.1, 12, 100_000),
        "quartz": rng.poisson(expected_counts("SiO2", axis, total_counts=1e5), (12, axis.n_channels)),
    }
    classifier = PhaseClassifier.from_spectra(known, axis)
    for counts, most in ((1000, 0.05), (5000, 0.0)):
        assert (classifier.classify_batch(spectra(0.5, 40, counts))[2] == "ok").mean() <= most
        assert (classifier.classify_batch(spectra(0.1, 40, counts))[2] == "ok").mean() >= 0.9


def test_files_of_version_1_keep_their_arithmetic_and_hash(axis, tmp_path):
    first = PhaseClassifier.from_compositions(COMPOSITIONS, axis, model=1)
    first.save(tmp_path / "first")
    again = load_classifier(tmp_path / "first")
    assert again.sha256 == first.sha256
    assert again.nuisance is None
    assert again.bin_starts[0] == 0
    assert again.bin_starts[-1] == axis.n_channels
    description = first._description()
    assert "model" not in description["settings"]
    assert "beam_kev" in description["settings"]
    drawn = np.random.default_rng(6).poisson(
        expected_counts("Fe", axis, total_counts=500.0), (5, axis.n_channels)
    )
    np.testing.assert_array_equal(again.classify_batch(drawn)[1], first.classify_batch(drawn)[1])
    assert json.loads(json.dumps(description)) == description


def test_settings_and_nuisances_must_go_together(minerals):
    with pytest.raises(ConfigError, match="model 1"):
        PhaseClassifier(
            minerals.phases, minerals.axis, minerals.templates, ClassifierSettings(model=1), minerals.nuisance
        )


# ---- real detectors


@pytest.mark.parametrize("name", ["K309 (Bruker)", "NIST 20 kV", "ADM-6005a (Bruker)"])
def test_real_detectors_compositions_alone_suffice(real_data, name):
    from slads_bluesky.evaluation.spectra.detectors import composition_only

    if not (real_data / "bruker_k309").is_dir():
        pytest.skip(f"no spectra of several detectors in {real_data}")
    found = composition_only(real_data, name, [200, 5000], 25, np.random.default_rng(7))
    for tally in found.values():
        assert np.mean([row["ok"] for row in tally.values()]) >= 0.95
        assert sum(row["wrong"] for row in tally.values()) == 0.0


@pytest.mark.parametrize("counts", [1000, 10_000, 50_000])
def test_real_carbon_and_boron_are_themselves(real_data, counts):
    from slads_bluesky.evaluation.spectra.detectors import DETECTOR_SETS, read_detector_set

    if not (real_data / "light_elements").is_dir():
        pytest.skip(f"no light elements in {real_data}")
    rng = np.random.default_rng(8)
    axis, spectra = read_detector_set(real_data, DETECTOR_SETS["light elements 25 kV"], rng)
    classifier = PhaseClassifier.from_compositions(
        {e: e for e in ("B", "C", "N", "O")},
        axis,
        beam_energy_kev=25.0,
        takeoff_deg=35.0,
        resolution_ev=130.0,
    )
    for label, name in ((1, "B"), (2, "C")):
        drawn = rng.multinomial(counts, spectra[name] / spectra[name].sum(), size=20)
        labels, _, verdicts = classifier.classify_batch(drawn)
        assert set(labels[verdicts == "ok"]) <= {label}


def test_real_minerals_left_out_are_not_called_others(real_data):
    from slads_bluesky.evaluation.spectra.detectors import left_out

    if not (real_data / "edax_minerals").is_dir():
        pytest.skip(f"no minerals in {real_data}")
    found = left_out(real_data, "minerals (EDAX)", [1000], 15, np.random.default_rng(9))
    assert np.mean([row["ok"] for row in found["1000"].values()]) <= 0.05


def test_a_small_flat_background_that_training_did_not_have_is_ok(powder, powder_shapes):
    rng = np.random.default_rng(10)
    for label, shape in enumerate(powder_shapes.values(), start=1):
        counts = rng.poisson(1.2e5 * shape, (10, len(shape))) + rng.poisson(2.0, (10, len(shape)))
        labels, _, verdicts = powder.classify_batch(counts)
        assert set(verdicts) == {"ok"}
        assert set(labels) == {label}


def test_charge_losses_of_a_real_detector_are_part_of_a_computed_phase(axis):
    """Lines with shoulders and soft lines too low, a carbon coat and much pile-up: still the phase, at every dose."""
    from slads_bluesky.spectra.likelihood.kernel import bin_starts
    from slads_bluesky.spectra.likelihood.nuisance import _pile_up, typical_response

    starts = bin_starts(axis, 126.0, 0.12, 15.3)
    classifier = PhaseClassifier.from_compositions(COMPOSITIONS, axis)
    rng = np.random.default_rng(5)
    carbon = expected_counts("C", axis, total_counts=1.0) * (np.abs(axis.energies() - 0.277) < 0.1)
    carbon = np.roll(carbon / carbon.sum(), -2)
    for label, spec in enumerate(COMPOSITIONS.values(), start=1):
        shape = expected_counts(spec, axis, total_counts=1.0)
        bins = np.add.reduceat(shape[starts[0] : starts[-1]], starts[:-1] - starts[0])
        bins = typical_response(typical_response(bins / bins.sum(), starts, axis), starts, axis)
        bins = np.maximum(bins + 0.04 * _pile_up(bins, starts, axis), 0.0)
        real = np.zeros(axis.n_channels)
        real[starts[0] : starts[-1]] = np.repeat(bins / np.diff(starts), np.diff(starts))
        real = real / real.sum() + 0.08 * carbon
        for counts in (200, 5000, 50_000):
            drawn = rng.multinomial(counts, real / real.sum(), size=6)
            labels, _, verdicts = classifier.classify_batch(drawn)
            assert set(labels[verdicts == "ok"]) <= {label}
            assert (verdicts == "ok").mean() >= 0.8


def test_files_without_the_response_setting_keep_theirs(minerals):
    description = minerals.settings.to_json()
    del description["response"]
    assert ClassifierSettings.from_json(description).response == 1
    assert minerals.settings.response == 2


@pytest.mark.parametrize("counts", [10, 60, 400, 30_000])
def test_phases_left_unfitted_change_no_verdict(minerals, axis, counts):
    """The envelope of the nuisances only saves time: with every phase fitted, all is the same."""
    model = minerals._engine._model
    assert model.numbers[2] == 1.0
    every = model._replace(numbers=np.array([*model.numbers[:2], 0.0, *model.numbers[3:]]))
    rng = np.random.default_rng(6)
    theta, mu = np.empty(model.low.shape), np.empty(model.shape.shape)
    one, other = np.empty(len(model.shape) + 1), np.empty(len(model.shape) + 1)
    skipped = 0
    for shape in [*model.shape, 0.5 * (model.shape[0] + model.shape[2])]:
        for bins in rng.multinomial(counts, shape, size=4).astype(float):
            outside = minerals._engine._outside @ bins
            skipped += int((~_worth_fitting(bins, float(counts), 1.0, model, one)).sum())
            found = judge_nuisance(bins, float(counts), outside, model, one, theta, mu)
            assert judge_nuisance(bins, float(counts), outside, every, other, theta, mu) == found
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)
    assert skipped > 0 or counts < 60


@pytest.mark.parametrize(("cut", "least"), [(0.0, 0.12), (0.1, 0.12), (0.25, 0.25), (0.4, 0.4)])
def test_low_level_discriminator_is_found_in_the_training_spectra(axis, cut, least):
    rng = np.random.default_rng(7)
    live = axis.energies() > cut
    spectra = {
        name: rng.poisson(live * (expected_counts(spec, axis, total_counts=5e4) + 5.0), (6, axis.n_channels))
        for name, spec in COMPOSITIONS.items()
    }
    found = PhaseClassifier.from_spectra(spectra, axis)
    assert found.settings.low_kev == pytest.approx(least, abs=0.021)
    assert PhaseClassifier.from_spectra(spectra, axis, low_kev=0.2).settings.low_kev == 0.2
    assert found.classify(spectra["Fe"][0])[::2] == (list(COMPOSITIONS).index("Fe") + 1, "ok")


@pytest.mark.parametrize("counts", [30, 300, 5000, 100_000])
def test_plain_spectra_get_the_verdict_that_the_whole_judgement_gives(minerals, powder, counts):
    found = 0
    for classifier in (minerals, powder):
        rng = np.random.default_rng(counts)
        for shape in classifier.templates.shape:
            for bins in rng.multinomial(counts, shape, size=10).astype(float):
                phase = classifier._engine.plainly_of(bins, float(counts))
                if phase < 0:
                    continue
                found += 1
                best, probability, flag, _ = classifier._engine.judge(bins, float(counts))
                assert (best, flag) == (phase, 0)
                assert probability > 1.0 - 1e-9
    assert found > 20 or counts < 1000


def test_stated_compositions_are_less_certain_where_an_element_is_rare():
    assert composition_sd(0.5) < 0.05 < composition_sd(0.05) < composition_sd(0.01) <= 0.5


def test_line_families_of_a_computed_phase_lie_where_its_lines_lie(minerals, axis):
    """Charge losses move lines and continuum alike, or a line's strength would stand in for its place."""
    settings = ClassifierSettings()
    phase = computed_phase("Al2O3", axis, settings.bin_starts(axis), settings)
    lines = sum(family.counts for family in phase.families)
    assert (phase.shape - lines).min() > -1e-3 * phase.shape.max()
    oxygen = next(family for family in phase.families if family.z == 8)
    assert oxygen.counts.argmax() == phase.shape[: len(phase.shape) // 8].argmax()
