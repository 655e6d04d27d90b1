"""One simulated microscope for the tests of devices."""

from __future__ import annotations

import os

import pytest

from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.phantom.objects import make_object

PREFIX = "DEVICES:"


@pytest.fixture(scope="session")
def phantom():
    return make_object("pbsn-32")


@pytest.fixture(scope="session")
def microscope():
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-32", prefix=PREFIX, time_scale=0.0) as running:
        yield running


@pytest.fixture(scope="session")
def pv(microscope):
    """``pv("Beam:X")``: a connected signal."""
    from ophyd import EpicsSignal

    made = {}

    def get(name, **more):
        if name not in made:
            made[name] = EpicsSignal(f"{PREFIX}{name}", name=name, put_complete=True, timeout=20, **more)
            made[name].wait_for_connection(10)
        return made[name]

    return get


@pytest.fixture
def fresh(pv):
    """The microscope with a fresh specimen and nothing wrong."""
    pv("Sim:Reset").set(1).wait(10)
    for name, value in (("PLTM", 10.0), ("PRTM", 0.0), ("PCT", 0), ("PCTL", 0), ("PCTH", 2039)):
        pv(f"EDS:mca1.{name}").set(value).wait(10)
    return pv


@pytest.fixture
def beam(fresh):
    from slads_bluesky.devices import SEMBeam

    return SEMBeam(f"{PREFIX}Beam:", name="beam")


@pytest.fixture
def eds(beam):
    from slads_bluesky.devices import EDSDetector

    detector = EDSDetector(f"{PREFIX}EDS:mca1", name="eds", beam=beam)
    detector.stage()
    yield detector
    detector.unstage()
