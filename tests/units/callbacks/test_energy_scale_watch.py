"""A detector whose energy scale drifts is reported once a run, while it runs."""

import numpy as np
import pytest

from slads_bluesky.callbacks.energy_scale_watch import FIRST_COUNTS, EnergyScaleWatch


class Drifted:
    """A classifier that finds one drift, whatever the spectra."""

    n_channels = 8

    def __init__(self, drift, sd=1e-4):
        self.found, self.asked = (drift, sd), []

    def energy_drift(self, counts, label):
        self.asked.append((label, int(counts.sum())))
        return self.found


def run(watch, events):
    watch("start", {"uid": "run"})
    watch("descriptor", {"uid": "points", "name": "primary"})
    for label, verdict, counts in events:
        spectrum = np.full(8, counts // 8)
        data = {"eds_label": label, "eds_verdict": verdict, "eds_spectrum": spectrum}
        watch("event", {"descriptor": "points", "data": data})
    watch("stop", {})


@pytest.mark.parametrize(("drift", "warned"), [(0.005, 1), (-0.005, 1), (0.001, 0)])
def test_a_drift_is_reported_once_a_run_with_its_size(drift, warned):
    warnings, classifier = [], Drifted(drift)
    watch = EnergyScaleWatch(lambda: classifier, warnings.append)
    run(watch, [(1, "ok", 4000)] * 40)
    assert len(warnings) == warned
    assert all(f"{100 * drift:+.2f} %" in text for text in warnings)
    assert classifier.asked[0] == (1, FIRST_COUNTS)
    assert [total for _, total in classifier.asked] == [20_000, 40_000, 80_000, 160_000]
    run(watch, [(1, "ok", 4000)] * 10)
    assert len(warnings) == 2 * warned


def test_few_counts_other_verdicts_and_uncertain_drifts_are_not_reported():
    warnings, classifier = [], Drifted(0.005, sd=2e-3)
    run(EnergyScaleWatch(lambda: classifier, warnings.append), [(1, "ok", 4000)] * 40)
    assert warnings == []
    run(EnergyScaleWatch(lambda: Drifted(0.005), warnings.append), [(1, "ok", 80)] * 100)
    run(EnergyScaleWatch(lambda: Drifted(0.005), warnings.append), [(0, "unknown", 4000)] * 100)
    run(EnergyScaleWatch(lambda: None, warnings.append), [(1, "ok", 4000)] * 100)
    assert warnings == []
