"""A vendor's spot jobs, of the shape of the Phenom's, driven by the same plan."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import vendor_interface
from bluesky.utils import RunEngineInterrupted
from vendor_interface import SpotJobBeam, SpotJobEDS, SpotResult

from slads_bluesky.devices.sim.exposure import Presets
from slads_bluesky.devices.sim.model import SimulatedSEM
from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.plans.adaptive import adaptive_map


class Jobs:
    """Stands in for a vendor's interface, over the simulated column."""

    current_na = 2.0

    def __init__(self, phantom):
        self.sem = SimulatedSEM(phantom, current_na=self.current_na)
        axis = phantom.axis
        self.n_channels, self.energy_kev = axis.n_channels, (axis.offset_kev, axis.width_kev)
        self.field_um = (float(phantom.shape[1]), float(phantom.shape[0]))
        self.hold = threading.Event()
        self.hold.set()
        self.cancelled = threading.Event()
        self.begun = threading.Event()
        self.jobs = []

    def run(self, x_um, y_um, max_time_s, max_counts):
        self.begun.set()
        self.jobs.append((x_um, y_um))
        while not self.hold.wait(0.01):
            if self.cancelled.is_set():
                self.cancelled.clear()
                return SpotResult(np.zeros(self.n_channels, np.int32), 0.0, 0.0)
        self.sem.blanked = False
        self.sem.move(x_um=x_um, y_um=y_um)
        exposure = self.sem.start(
            Presets(live_s=max_time_s, counts=max_counts, window=(0, self.n_channels - 1))
        )
        exposure.advance(exposure.end_live_s)
        record = exposure.finish()
        self.sem.blanked = True
        return SpotResult(record.counts, record.live_s, record.real_s)

    def cancel(self):
        self.cancelled.set()


@pytest.fixture
def jobs(phantom):
    return Jobs(phantom)


@pytest.fixture
def spot(jobs, classifier):
    beam = SpotJobBeam(jobs)
    return beam, SpotJobEDS(jobs, beam, classifier)


def test_spot_jobs_give_the_same_map_as_soft_devices(spot, soft, make_agent, RE, new_documents):
    runs = []
    for beam, eds in (spot, (soft.beam, soft.eds)):
        documents = new_documents()
        RE(adaptive_map(beam, eds, make_agent(40)), documents)
        runs.append([event["data"] for event in documents.events()])
        assert beam.blanker.get()
    for ours, theirs in zip(*runs, strict=True):
        assert np.array_equal(ours["eds_spectrum"], theirs["eds_spectrum"])
        for key in ("scan_pixel", "eds_label", "eds_verdict", "eds_live_time", "beam_x", "beam_y"):
            assert ours[key] == theirs[key]
        assert ours["beam_pixel_dose"] == pytest.approx(2.0 * theirs["beam_pixel_dose"])


def test_spot_job_paused_is_cancelled_and_run_again(spot, jobs, make_agent, RE, documents):
    beam, eds = spot
    jobs.hold.clear()

    def pause():
        jobs.begun.wait(10)
        RE.request_pause()

    threading.Thread(target=pause).start()
    with pytest.raises(RunEngineInterrupted):
        RE(adaptive_map(beam, eds, make_agent(3)), documents)
    jobs.hold.set()
    RE.resume()
    events = documents.events()
    assert len(events) == 3
    assert all(event["data"]["eds_counts"] > 0 for event in events)
    assert jobs.jobs[0] == jobs.jobs[1]


def test_spot_job_count_preset_limits_it(spot):
    beam, eds = spot
    eds.configure({"counts": 500})
    beam.blanker.set(False)
    eds.trigger().wait(10)
    assert 500 <= eds.reading.counts.sum() < 700


def test_spot_job_bad_input_is_refused(spot, classifier):
    beam, eds = spot
    with pytest.raises(InstrumentError, match=r"beam: x = 99\.0 µm lies outside the field, -32\.0 to 32\.0"):
        beam.set((99.0, 0.0))
    with pytest.raises(InstrumentError, match="eds: the beam is blanked"):
        eds.trigger().wait(10)
    with pytest.raises(InstrumentError, match="nothing was acquired"):
        eds.read()
    with pytest.raises(ConfigError, match="no such preset: real_time"):
        eds.configure({"real_time": 3.0})


def test_vendor_interface_example_maps_a_specimen(capsys, shared_cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    vendor_interface.main()
    assert "410 of 4096 pixels by spot jobs" in capsys.readouterr().out
