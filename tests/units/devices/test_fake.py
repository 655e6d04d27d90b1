"""The ophyd devices with no EPICS at all, as `ophyd.sim.make_fake_device` makes them."""

from __future__ import annotations

import numpy as np
import pytest
from ophyd.sim import make_fake_device

from slads_bluesky.devices import EDSDetector, Microscope, SEMBeam
from slads_bluesky.errors import InstrumentError


@pytest.fixture
def beam():
    made = make_fake_device(SEMBeam)("F:", name="beam")
    for axis in (made.x, made.y):
        axis.sim_put(0.0)
        axis.sim_set_limits((-10.0, 10.0))
    made.dose.sim_put(0.0)
    made.pixel_dose.sim_put(0.0)
    made.current.sim_put(1.0)
    return made


def test_beam_set_blanks_before_it_moves(beam):
    seen = []
    for name, signal in (("blank", beam.blanker.setpoint), ("x", beam.x), ("y", beam.y)):
        signal.subscribe(lambda value, name=name, **_: seen.append((name, value)), run=False)
    status = beam.set((3.0, 4.0))
    assert status.done
    assert status.success
    assert seen == [("blank", 1), ("x", 3.0), ("y", 4.0)]
    assert beam.read()["beam_x"]["value"] == 3.0


def test_beam_set_outside_the_limits_is_refused(beam):
    with pytest.raises(InstrumentError, match="beam"):
        beam.set((30.0, 4.0))


def test_detector_trigger_with_a_fake_record_reads_counts_and_times(beam):
    eds = make_fake_device(EDSDetector)("F:mca1", name="eds", beam=beam)
    eds.channels.sim_put(16)
    eds.energy_offset.sim_put(0.0)
    eds.energy_width.sim_put(0.01)
    eds.energy_quadratic.sim_put(0.0)
    eds.spectrum.sim_put(np.arange(16))
    eds.live_time.sim_put(2.0)
    eds.real_time.sim_put(4.0)
    for preset in (
        eds.preset_live_time,
        eds.preset_real_time,
        eds.preset_counts,
        eds.preset_low,
        eds.preset_high,
    ):
        preset.sim_put(0)
    eds.stage()
    beam.dose.sim_put(4.0)
    eds.trigger().wait(10)
    reading = eds.read()
    assert reading["eds_counts"]["value"] == 120
    assert reading["eds_dead_time"]["value"] == 50.0
    eds.spectrum.sim_put(np.arange(16) - 1)
    beam.dose.sim_put(8.0)
    with pytest.raises(InstrumentError, match="eds: -1 counts in channel 0"):
        eds.trigger().wait(10)
    eds.unstage()


def test_detector_stage_quadratic_calibration_is_refused():
    eds = make_fake_device(EDSDetector)("F:mca1", name="eds")
    eds.channels.sim_put(16)
    eds.energy_quadratic.sim_put(1e-6)
    with pytest.raises(InstrumentError, match="quadratic"):
        eds.stage()


def test_microscope_read_gives_five_settings():
    sem = make_fake_device(Microscope)("F:", name="sem")
    for signal in (sem.high_voltage, sem.current, sem.working_distance, sem.field_width, sem.magnification):
        signal.sim_put(1.0)
    assert set(sem.read()) == {
        "sem_high_voltage", "sem_current", "sem_working_distance", "sem_field_width", "sem_magnification",
    }  # fmt: skip
