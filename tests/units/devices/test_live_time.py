"""The measured live time reaches the classifier: half the counts in half the time are as many as there should be."""

import numpy as np
import pytest
from vendor_interface import SpotJobBeam, SpotJobEDS, SpotResult

from slads_bluesky.devices.reading import DetectorFacts
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.phantom.objects import make_object, training_spectra
from slads_bluesky.spectra import PhaseClassifier


@pytest.fixture(scope="module")
def phantom():
    return make_object("pbsn-64")


@pytest.fixture(scope="module")
def rated(phantom):
    """Learnt from spectra of 10 s, and knows that they are."""
    spectra = training_spectra("pbsn", 0, 12)
    return PhaseClassifier.from_spectra(spectra, phantom.axis, noise_lambda=1.0, live_time_s=10.0)


@pytest.fixture(scope="module")
def position(phantom):
    """A place well inside a phase."""
    from scipy.ndimage import distance_transform_edt

    return ScanGrid(phantom.shape).position(int(distance_transform_edt(phantom.truth == 1).argmax()))


def verdict(beam, eds, position, live_s):
    """Verdict and counts of one spectrum of so much live time."""
    eds.configure({"live_time": live_s})
    beam.set(position).wait(1)
    beam.blanker.set(False).wait(1)
    eds.stage()
    eds.trigger().wait(1)
    reading = eds.read()
    assert reading["eds_live_time"]["value"] == live_s
    return reading["eds_verdict"]["value"], reading["eds_counts"]["value"]


def test_verdict_half_the_live_time_at_the_same_rate_is_ok(phantom, rated, position):
    beam, eds, _ = soft_microscope(phantom, rated)
    whole, n_whole = verdict(beam, eds, position, 10.0)
    half, n_half = verdict(beam, eds, position, 5.0)
    assert (whole, half) == ("ok", "ok")
    assert n_half == pytest.approx(n_whole / 2, rel=0.05)
    assert (
        eds.classifier.classify(eds.reading.counts, 10.0).verdict == "low_counts"
    )  # the dwell that was asked for


class HalfSpeed:
    """A vendor's interface: a detector that counts for half of the time it says."""

    current_na, field_um = 1.0, (64.0, 64.0)

    def __init__(self, phantom):
        self.phantom, self.n_channels = phantom, phantom.axis.n_channels
        self.energy_kev = (phantom.axis.offset_kev, phantom.axis.width_kev)

    def run(self, x_um, y_um, max_time_s, max_counts):
        pixel = ScanGrid(self.phantom.shape).pixel(x_um, y_um)
        counts = self.phantom.acquisition(pixel).counts_at(max_time_s / 2)
        return SpotResult(counts, max_time_s, max_time_s)

    def cancel(self):
        raise AssertionError("nothing to cancel")


def test_verdict_half_the_rate_is_low_counts(phantom, rated, position):
    jobs = HalfSpeed(phantom)
    beam = SpotJobBeam(jobs)
    eds = SpotJobEDS(jobs, beam, rated)
    assert verdict_of(beam, eds, position) == "low_counts"
    untold = PhaseClassifier.from_spectra(training_spectra("pbsn", 0, 12), phantom.axis, noise_lambda=1.0)
    assert not untold.uses_live_time
    eds.configure({"classifier": untold})
    assert verdict_of(beam, eds, position) == "ok"  # by its shape alone


def verdict_of(beam, eds, position):
    beam.set(position).wait(10)
    beam.blanker.set(False).wait(10)
    eds.trigger().wait(10)
    return eds.read()["eds_verdict"]["value"]


def test_verify_of_a_run_classified_by_rates_passes(phantom, rated, tmp_path):
    from bluesky import RunEngine

    from slads_bluesky.agent import SladsAgent
    from slads_bluesky.analysis.load import load_map
    from slads_bluesky.plans.adaptive import adaptive_map
    from slads_bluesky.record.verify import verify

    def make_agent():
        return SladsAgent.from_configuration(
            {"grid": ScanGrid(phantom.shape).to_json(), "n_labels": 2, "fraction": 0.01, "seed": 0,
             "sampler": {"name": "random"}, "model_hashes": {"classifier": rated.sha256}}
        )  # fmt: skip

    documents, engine, jobs = [], RunEngine({}, context_managers=[]), HalfSpeed(phantom)
    beam = SpotJobBeam(jobs)
    plan = adaptive_map(beam, SpotJobEDS(jobs, beam, rated), make_agent(), dwell_s=None)
    engine(plan, lambda name, doc: documents.append((name, doc)))
    data = load_map([lambda: iter(documents)])
    assert (data.verdicts == "low_counts").mean() > 0.5
    assert verify(data, make_agent(), rated).passed


@pytest.mark.parametrize("wrong", [{"elevation_angle_deg": 0}, {"energy_resolution_ev": np.inf}])
def test_detector_facts_out_of_bounds_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"not (0|inf)"):
        DetectorFacts(**wrong)
