"""A dose that follows the sample: few counts where spectra differ, more where they do not, and no guesses."""

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.protocols import UNCLASSIFIED
from slads_bluesky.spectra.dwell import SequentialTest, count_preset

RATE = 12_000.0


def acquire(test, shape, rng, rate=RATE):
    """Let a spectrum grow until the test decides: decision, counts, live time."""
    test.reset()
    counts = np.zeros(len(shape), np.int64)
    total, step = 0, 2
    while True:
        counts += rng.multinomial(step, shape / shape.sum())
        total += step
        decision = test.update(counts, total / rate)
        if decision is not None:
            return decision, total, total / rate
        step = max(2, total // 20)


def test_the_error_is_kept_and_the_dose_is_small(alloy, alloy_shapes):
    test = SequentialTest(alloy, error=1e-2)
    rng = np.random.default_rng(0)
    wrong, used = [], []
    for label, shape in enumerate(alloy_shapes.values(), start=1):
        for _ in range(400):
            decision, total, _ = acquire(test, shape, rng)
            wrong.append(decision.label not in (label, UNCLASSIFIED))
            used.append(total)
            if decision.verdict == "ok":
                assert decision.probability >= 0.99
    assert np.mean(wrong) <= 2e-2
    assert np.mean(used) < 1.2e5 / 500


def test_easy_phases_take_fewer_counts_than_hard_ones(alloy, alloy_shapes, powder, powder_shapes):
    rng = np.random.default_rng(1)
    easy = [acquire(SequentialTest(powder), powder_shapes["Si"], rng)[1] for _ in range(30)]
    hard = [acquire(SequentialTest(alloy), alloy_shapes["Sn"], rng)[1] for _ in range(30)]
    assert np.mean(easy) < np.mean(hard)


def test_a_smaller_error_takes_more_counts(alloy, alloy_shapes):
    means = []
    for error in (1e-1, 1e-2, 1e-4):
        rng = np.random.default_rng(2)
        means.append(
            np.mean([acquire(SequentialTest(alloy, error), alloy_shapes["Sn"], rng)[1] for _ in range(60)])
        )
    assert means[0] < means[1] < means[2]


def test_ill_and_mixed_pixels_are_named_not_guessed(alloy, alloy_shapes):
    rng = np.random.default_rng(3)
    test = SequentialTest(alloy)
    assert {acquire(test, np.ones(2040), rng)[0].verdict for _ in range(20)} == {"ill"}
    equal = 0.5 * sum(alloy_shapes.values())
    found = [acquire(test, equal, rng)[0] for _ in range(20)]
    assert all(d.verdict == "mixed" or d.probability >= 0.999 for d in found)


def test_at_the_cap_the_uncertain_is_low_counts(alloy, alloy_shapes):
    rng = np.random.default_rng(4)
    test = SequentialTest(alloy, error=1e-6, cap_s=1e-3)  # about 12 counts
    found = [acquire(test, alloy_shapes["Sn"], rng) for _ in range(40)]
    assert all(live <= 1.2e-3 for _, _, live in found)
    assert {d.verdict for d, _, _ in found} == {"low_counts"}
    assert {d.label for d, _, _ in found} == {UNCLASSIFIED}


def test_a_dark_pixel_ends_at_the_cap(alloy):
    test = SequentialTest(alloy, cap_s=2.0)
    nothing = np.zeros(2040)
    assert test.update(nothing, 0.0) is None
    assert test.update(nothing, 1.99) is None
    assert test.update(nothing, 2.0)[::2] == (UNCLASSIFIED, "low_counts")


def test_pixels_do_not_remember_one_another(alloy, alloy_shapes):
    test = SequentialTest(alloy)
    first = acquire(test, alloy_shapes["Sn"], np.random.default_rng(5))
    acquire(test, np.ones(2040), np.random.default_rng(6))
    again = acquire(test, alloy_shapes["Sn"], np.random.default_rng(5))
    assert first == again


def test_presets_of_counts_lead_to_the_same_decision(alloy, alloy_shapes):
    rng = np.random.default_rng(7)
    test = SequentialTest(alloy)
    used, wrong = [], 0
    for _ in range(60):
        test.reset()
        counts = np.zeros(2040, np.int64)
        while True:
            counts += rng.multinomial(test.next_counts(), alloy_shapes["Sn"] / alloy_shapes["Sn"].sum())
            decision = test.update(counts, counts.sum() / RATE)
            if decision is not None:
                break
        used.append(counts.sum())
        wrong += decision.label == 1
    assert wrong <= 1
    assert np.mean(used) < 150


def test_first_look_of_easy_phases_is_at_fewer_counts_than_of_hard_ones(alloy, powder):
    easy, hard = SequentialTest(powder).next_counts(), SequentialTest(alloy).next_counts()
    assert easy < 12 < hard
    assert SequentialTest(alloy, 1e-2).next_counts() < hard  # a smaller certainty takes fewer counts


def test_a_planned_dose_ends_sooner_where_the_map_knows_the_phase(alloy, alloy_shapes):
    def taken(prior):
        test, rng = SequentialTest(alloy, 1e-2), np.random.default_rng(5)
        totals = []
        for _ in range(40):
            test.expect(60, prior)
            totals.append(acquire(test, alloy_shapes["Sn"], rng)[1])
        return np.mean(totals)

    label = list(alloy_shapes).index("Sn")
    n = len(alloy_shapes)
    likely = tuple(0.9 if i == label else 0.1 / (n - 1) for i in range(n))
    assert taken(likely) < taken((1.0 / n,) * n) < taken(()) == pytest.approx(60, abs=3)


def test_the_single_preset_gives_the_error(alloy, alloy_shapes):
    preset = count_preset(alloy, 1e-2)
    assert 40 < preset < 150
    assert count_preset(alloy, 1e-3) > preset
    assert count_preset(alloy, 1e-2) == preset
    rng = np.random.default_rng(8)
    wrong = []
    for phase, shape in enumerate(alloy_shapes.values()):
        drawn = rng.multinomial(preset, shape / shape.sum(), size=1500)
        wrong += [alloy.posterior(row)[:-1].argmax() != phase for row in drawn]
    assert np.mean(wrong) < 2e-2


def test_what_cannot_be_is_refused(alloy):
    for arguments in ({"error": 0.0}, {"error": 0.7}, {"cap_s": 0.0}, {"cap_s": float("inf")}):
        with pytest.raises(ConfigError, match="adaptive dwell"):
            SequentialTest(alloy, **arguments)
    with pytest.raises(ConfigError, match="count preset"):
        count_preset(alloy, 1.0)
    with pytest.raises(DataError, match="shape"):
        SequentialTest(alloy).update(np.zeros(5), 0.1)
