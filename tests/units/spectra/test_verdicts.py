"""Verdicts and posteriors of the default classifier, at low and high doses."""

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.evaluation.spectra.measured import half_and_half, nist_errors, read_dacite, read_nist
from slads_bluesky.evaluation.spectra.simulated import set_shapes, thinned
from slads_bluesky.protocols import UNCLASSIFIED
from slads_bluesky.spectra import EnergyAxis, PhaseClassifier, expected_counts
from slads_bluesky.spectra.likelihood.kernel import bin_starts, chi_square
from slads_bluesky.spectra.likelihood.templates import chi_square_moments

DOSES = [50, 200, 1000, 5000, 50_000]


def flagged(classifier, spectra):
    return np.isin(classifier.classify_batch(spectra)[2], ["mixed", "unknown", "ill"]).mean()


@pytest.mark.parametrize("name", ["powder", "alloy"])
@pytest.mark.parametrize("counts", DOSES)
def test_verdicts_good_spectra_are_accepted_at_every_dose(request, name, counts):
    classifier = request.getfixturevalue(name)
    rng = np.random.default_rng(counts)
    shapes = request.getfixturevalue(f"{name}_shapes").values()
    alarms = [flagged(classifier, thinned(shape, counts, 250, rng)) for shape in shapes]
    assert np.mean(alarms) <= 0.01


@pytest.mark.parametrize("name", ["powder", "alloy"])
@pytest.mark.parametrize("counts", DOSES)
def test_ill_unknown_and_blank_spectra_are_not(request, name, counts):
    classifier = request.getfixturevalue(name)
    rng = np.random.default_rng(counts)
    for shape in (np.ones(2040), *[expected_counts(e, classifier.axis) for e in ("Al", "Ti", "Cu")]):
        labels, _, verdicts = classifier.classify_batch(thinned(shape, counts, 50, rng))
        assert (verdicts != "ok").mean() >= 0.98
        assert (labels[verdicts != "mixed"] == UNCLASSIFIED)[verdicts[verdicts != "mixed"] != "ok"].all()
    assert classifier.classify(np.zeros(2040)) == (UNCLASSIFIED, pytest.approx(1e-3, rel=0.5), "low_counts")


def test_flat_is_ill_and_a_foreign_element_is_unknown(powder):
    rng = np.random.default_rng(0)
    assert powder.classify(rng.poisson(20.0, 2040)).verdict == "ill"
    foreign = rng.poisson(expected_counts("Cu", powder.axis, total_counts=2e4))
    assert powder.classify(foreign).verdict == "unknown"


@pytest.mark.parametrize("name", ["powder", "alloy"])
@pytest.mark.parametrize(("part", "least"), [(0.5, 0.99), (0.2, 0.9)])
def test_mixtures_are_found_from_5000_counts_on_with_their_abundances(request, name, part, least):
    classifier = request.getfixturevalue(name)
    first, second = list(request.getfixturevalue(f"{name}_shapes").values())[:2]
    rng = np.random.default_rng(3)
    spectra = thinned((1 - part) * first + part * second, 5000, 200, rng)
    labels, _, verdicts = classifier.classify_batch(spectra)
    assert (verdicts == "mixed").mean() >= least
    if part < 0.5:
        assert (labels[verdicts == "mixed"] == 1).all()
    parts = np.array([classifier.abundances(row) for row in spectra]).mean(axis=0)
    assert parts.sum() == pytest.approx(1.0)
    assert parts[1] == pytest.approx(part, abs=0.03)


def test_a_wrong_energy_scale_is_ill(powder, powder_shapes, axis):
    rng = np.random.default_rng(0)
    energies = axis.energies()
    stretched = np.interp(energies / 1.02, energies, powder_shapes["CaO"])
    for shape in (stretched, np.roll(powder_shapes["CaO"], 3)):
        verdicts = powder.classify_batch(thinned(shape, 20_000, 20, rng))[2]
        assert set(verdicts) == {"ill"}


def test_small_errors_of_the_energy_scale_are_absorbed(powder, powder_shapes, axis):
    rng = np.random.default_rng(0)
    energies = axis.energies()
    for gain, offset in ((2e-4, 0.0), (-2e-4, 0.0), (0.0, 7e-4)):
        moved = np.interp((energies - offset) / (1 + gain), energies, powder_shapes["CaO"])
        assert flagged(powder, thinned(moved, 20_000, 50, rng)) == 0.0


def test_the_count_rate_is_checked_where_the_live_time_is_known(powder, powder_shapes):
    rng = np.random.default_rng(0)
    shape = powder_shapes["Si"]
    assert powder.classify(rng.poisson(1.2e5 * shape), 10.0).verdict == "ok"
    assert powder.classify(rng.poisson(0.6e5 * shape), 10.0).verdict == "low_counts"
    assert powder.classify(rng.poisson(2.4e5 * shape), 10.0).verdict == "ill"
    assert powder.classify(rng.poisson(0.6e5 * shape), 5.0).verdict == "ok"
    assert powder.classify(rng.poisson(0.6e5 * shape)).verdict == "ok"


def test_too_few_counts_are_no_guess(alloy, alloy_shapes):
    rng = np.random.default_rng(0)
    labels, probability, verdicts = alloy.classify_batch(thinned(alloy_shapes["Sn"], 10, 300, rng))
    unsure = verdicts == "low_counts"
    assert 0.3 < unsure.mean() < 1.0
    assert (labels[unsure] == UNCLASSIFIED).all()
    assert (probability[unsure] < 0.95).all()
    assert (probability[verdicts == "ok"] >= 0.95).all()


def test_posteriors_come_true(alloy, alloy_shapes):
    rng = np.random.default_rng(5)
    values, right = [], []
    for phase, shape in enumerate(alloy_shapes.values()):
        for counts in (10, 20, 40):
            for row in thinned(shape, counts, 700, rng):
                posterior = alloy.posterior(row)[:-1]
                values.append(posterior.max())
                right.append(posterior.argmax() == phase)
    values, right = np.array(values), np.array(right)
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 0.99), (0.99, 1.01)):
        band = (values >= low) & (values < high)
        slack = 4 * np.sqrt(0.25 / band.sum()) if high < 0.99 else 4 * np.sqrt(0.03 / band.sum())
        assert abs(values[band].mean() - right[band].mean()) < slack


@pytest.mark.parametrize("counts", [20, 50, 200])
@pytest.mark.parametrize("name", ["Pb-Sn", "steels"])
def test_the_error_is_near_the_bayes_limit(name, counts, axis, alloy):
    rng = np.random.default_rng(counts)
    shapes = set_shapes(name, axis)
    classifier = alloy
    if name == "steels":
        spectra = {str(i): rng.poisson(1.2e5 * shape, (24, 2040)) for i, shape in enumerate(shapes)}
        classifier = PhaseClassifier.from_spectra(spectra, axis)
    wrong = {"limit": 0, "ours": 0}
    for phase, shape in enumerate(shapes):
        drawn = thinned(shape, counts, 1000, rng)
        wrong["limit"] += ((drawn @ np.log(shapes + 1e-15).T).argmax(axis=1) != phase).sum()
        wrong["ours"] += (np.array([classifier.posterior(r)[:-1].argmax() for r in drawn]) != phase).sum()
    assert wrong["ours"] <= 1.2 * wrong["limit"] + 3 * np.sqrt(wrong["limit"] + 1)


def test_moments_of_the_fit_are_those_of_poisson_counts():
    rng = np.random.default_rng(0)
    expected = np.concatenate([np.full(50, 0.03), np.full(30, 0.6), np.full(20, 12.0)])
    shape = expected / expected.sum()
    drawn = rng.poisson(expected, (20_000, 100)).astype(float)
    values = np.array([chi_square(row, expected.sum(), shape, np.zeros((2, 100))) for row in drawn])
    mean, deviation, skewness = chi_square_moments(expected)
    assert values.mean() == pytest.approx(mean, rel=0.01)
    assert values.std() == pytest.approx(deviation, rel=0.03)
    assert ((values - values.mean()) ** 3).mean() / values.std() ** 3 == pytest.approx(skewness, rel=0.15)


def test_bins_tile_the_channels_and_follow_the_resolution(axis):
    starts = bin_starts(axis, 126.0)
    widths = np.diff(starts)
    assert (starts[0], starts[-1]) == (0, 2040)
    assert widths.min() >= 1
    assert widths[-2] > widths[2]


def test_one_training_spectrum_or_one_phase_is_enough(axis, powder_shapes):
    rng = np.random.default_rng(0)
    single = PhaseClassifier.from_spectra({"Si": rng.poisson(1e5 * powder_shapes["Si"])}, axis)
    assert single.classify(rng.poisson(1e4 * powder_shapes["Si"])).verdict == "ok"
    assert single.classify(rng.poisson(1e4 * powder_shapes["C"])).label == UNCLASSIFIED


def test_measured_and_computed_phases_go_together_in_the_wanted_order(axis, powder_shapes):
    rng = np.random.default_rng(0)
    both = PhaseClassifier.from_both(
        {"Si": rng.poisson(1e5 * powder_shapes["Si"], (5, 2040))}, {"C": "C"}, axis, order=["C", "Si"]
    )
    assert both.phases == ("C", "Si")
    assert both.classify(rng.poisson(1e4 * powder_shapes["Si"])).label == 2
    assert both.classify(rng.poisson(1e4 * powder_shapes["C"])).label == 1
    with pytest.raises(ConfigError, match="order"):
        PhaseClassifier.from_both({}, {"C": "C"}, axis, order=["Si"])


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ({"resolution_ev": 10.0}, "resolution"),
        ({"false_alarm_rate": 0.0}, "false_alarm_rate"),
        ({"confidence": 1.0}, "confidence"),
        ({"nonsense": 1}, "nonsense"),
        ({"beam_energy_kev": 500.0}, "beam"),
        ({"live_time_s": 0.0}, "live_time"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, culprit, axis):
    with pytest.raises(ConfigError, match=culprit):
        PhaseClassifier.from_compositions({"Si": "Si", "C": "C"}, axis, **settings)


def test_a_composition_that_cannot_be_names_its_phase(axis):
    with pytest.raises(ConfigError, match=r"'odd'.*Xx"):
        PhaseClassifier.from_compositions({"Si": "Si", "odd": "Xx"}, axis)
    with pytest.raises(ConfigError, match="twice"):
        PhaseClassifier.from_both({"Si": np.ones(2040)}, {"Si": "Si"}, axis)
    with pytest.raises(DataError, match="no counts"):
        PhaseClassifier.from_compositions({"Si": "Si"}, axis).abundances(np.zeros(2040))


def test_real_materials_are_separated_by_computed_templates(real_data):
    standards = read_nist(real_data / "nist_msa")
    rows = nist_errors(standards, [50], 100, np.random.default_rng(0))
    assert rows[0]["error"] <= 0.01
    assert rows[0]["flagged"] <= 0.03


@pytest.mark.parametrize("counts", [50, 5000, 50_000])
def test_verdicts_real_good_spectra_are_accepted(real_data, counts):
    rng = np.random.default_rng(1)
    standards = read_nist(real_data / "nist_msa")
    classifier, rest = half_and_half(standards, real_data / "nist_msa", rng)
    alarms = [flagged(classifier, thinned(counts_of, counts, 60, rng)) for counts_of in rest.values()]
    assert np.mean(alarms) <= 0.03


def test_a_real_map_from_12_pixels_a_class(real_data):
    dacite = read_dacite(real_data / "p45_dacite.npz")
    errors = []
    for seed in range(3):
        classifier = dacite.train(np.random.default_rng(seed))
        use = np.random.default_rng(seed).choice(len(dacite.counts), 1500, replace=False)
        best = np.array([classifier.posterior(row)[:-1].argmax() for row in dacite.counts[use]])
        errors.append((best != dacite.labels[use]).mean())
    assert np.mean(errors) <= 0.07


def test_any_axis_will_do():
    axis = EnergyAxis(0.0, 0.02, 700)
    classifier = PhaseClassifier.from_compositions({"Fe": "Fe", "Ni": "Ni"}, axis, beam_energy_kev=20.0)
    counts = np.random.default_rng(0).poisson(
        expected_counts("Ni", axis, beam_energy_kev=20.0, total_counts=5000.0)
    )
    assert classifier.classify(counts)[::2] == (2, "ok")
