"""A pause from another thread at the worst moment: nothing is lit, started or measured behind its back."""

from __future__ import annotations

import os
import random
import sys
import threading
import time

import numpy as np
import pytest
from list_points import points_of
from waiting import wait_until

from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.sim.model import SimulatedSEM
from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.devices.sim.soft import SoftBeam, SoftEDS
from slads_bluesky.devices.sim.softlist import SoftListEngine

N, DWELL_S = 40, 0.5e-3


class Engine(SoftListEngine):
    """Takes its time to load and to start, and knows how many lists run."""

    def __init__(self, sem):
        super().__init__(sem, pixels_per_buffer=4, time_scale=1.0)
        self.entered, self.go, self.aborted = threading.Event(), threading.Event(), threading.Event()
        self.go.set()
        self.running = self.most = 0
        self.load_s = 0.0

    def load(self, points, status):
        threading.Timer(self.load_s, status.set_finished).start()

    def run(self, points, take, started):
        self.entered.set()
        assert self.go.wait(10)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            super().run(points, take, started)
        finally:
            self.running -= 1

    def abort(self):
        super().abort()
        self.aborted.set()


@pytest.fixture
def flyer(phantom):
    sem = SimulatedSEM(phantom)
    made = SparseFlyer(Engine(sem), SoftEDS("eds", sem), SoftBeam("beam", sem))
    made.stage()
    yield made
    made.unstage()


def measured(flyer):
    pages = list(flyer.collect_pages())
    flyer.settled()
    return [pixel for page in pages for pixel in page["data"]["scan_pixel"]]


def test_pause_of_a_list_that_is_just_being_started_stops_it(flyer):
    engine = flyer.engine
    engine.go.clear()
    flyer.prepare(points_of(np.arange(200), dwell_s=50e-3)).wait(5)
    starting = flyer.kickoff()
    assert engine.entered.wait(5)
    pause = threading.Thread(target=flyer.pause)
    pause.start()
    assert engine.aborted.wait(5)  # which the hardware, that has not started, forgets
    engine.go.set()
    pause.join(5)
    assert not pause.is_alive()
    assert engine.running == 0
    assert starting.done
    assert flyer.judge.done.sum() < 10
    flyer.stop()


def test_pause_at_any_moment_of_a_start_measures_nothing_until_resumed_and_nothing_twice(flyer):
    """The list is loaded in one thread, started from that, paused in a second, resumed in a third."""
    rng = random.Random(0)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(150):
            flyer.engine.load_s = rng.uniform(0, 1e-3)
            flyer.prepare(points_of(np.arange(N), dwell_s=DWELL_S))
            flyer.kickoff()
            found = []
            for _ in range(2):
                time.sleep(rng.uniform(0, 1.5e-3))
                flyer.pause()
                assert flyer.engine.running == 0
                n = flyer.judge.done.sum()
                found += measured(flyer)
                time.sleep(2e-3)
                assert flyer.engine.running == 0
                assert flyer.judge.done.sum() == n == len(found)
                flyer.resume()
            flyer.complete().wait(10)
            assert found + measured(flyer) == list(range(N))
            assert flyer.engine.most == 1
    finally:
        sys.setswitchinterval(before)


def test_rows_of_a_list_that_was_given_up_are_not_the_next_ones(flyer, monkeypatch):
    monkeypatch.setattr("slads_bluesky.devices.flyer.HALT_S", 0.05)
    engine = flyer.engine
    engine.go.clear()
    flyer.prepare(points_of(np.arange(N), dwell_s=DWELL_S)).wait(5)
    flyer.kickoff()
    assert engine.entered.wait(5)
    stuck = flyer._thread
    flyer.stop()  # it does not
    flyer.prepare(points_of(np.arange(100, 110), dwell_s=DWELL_S)).wait(5)
    flyer.kickoff().wait(5)
    flyer.complete().wait(5)
    assert flyer.missed == dict.fromkeys(range(10), "flyer: the list before does not stop")
    engine.go.set()
    stuck.join(5)
    assert measured(flyer) == []


def test_point_that_a_pause_blanked_is_not_to_blame(flyer):
    """The beam is paused before the list is: the point under way is without charge."""
    take = flyer.judge.take
    for paused in (False, True):
        flyer.judge.take = lambda buffer: take(buffer._replace(charge_nc=0.0 * buffer.charge_nc))
        flyer.prepare(points_of([7], dwell_s=DWELL_S)).wait(5)
        flyer.kickoff().wait(5)
        flyer.complete().wait(5)
        if paused:
            flyer.pause()
        assert "no beam" in flyer.missed[0]
        assert flyer.lost == ({0} if paused else set())
    flyer.judge.take = take
    flyer.prepare(points_of([7], dwell_s=DWELL_S)).wait(5)
    flyer.kickoff().wait(5)
    flyer.complete().wait(5)
    assert flyer.missed == {}


def test_detector_abandoned_while_its_worker_lights_the_beam_leaves_it_blanked(eds, beam, monkeypatch):
    light, lit = beam.blanker.set, threading.Event()

    def set_late(blanked):
        if not blanked:
            eds.pause()  # from another thread, in between: it finds nothing to blank
            lit.set()
        return light(blanked)

    eds._abandoned = True  # so that the next one is started by the worker
    monkeypatch.setattr(beam.blanker, "set", set_late)
    eds.trigger()
    assert lit.wait(10)
    wait_until(beam.blanker.get, 5)
    time.sleep(0.3)
    assert beam.blanker.get()
    monkeypatch.undo()
    eds.trigger().wait(10)
    assert beam.blanker.get()


def test_list_goes_on_when_news_of_the_end_of_the_one_before_comes_late():
    """A list that is aborted at once may be over before either of its news has come."""
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-32", prefix="PAUSES:", time_scale=1.0):
        from slads_bluesky.devices import EDSDetector, SEMBeam
        from slads_bluesky.devices.listscan import EpicsListEngine, MappingEDS, PointListScan

        beam = SEMBeam("PAUSES:Beam:", name="beam")
        eds = EDSDetector("PAUSES:EDS:mca1", name="eds", beam=beam)
        scan, mapping = PointListScan("PAUSES:Scan:", name="scan"), MappingEDS("PAUSES:EDS:Map:", name="map")
        flyer = SparseFlyer(EpicsListEngine(scan, mapping, eds, beam, pixels_per_buffer=8), eds, beam)
        flyer.stage()
        flyer.prepare(points_of(np.arange(30), dwell_s=20e-3)).wait(10)
        flyer.kickoff().wait(10)
        for running in (True, False):
            flyer.engine._on_running(running)
        flyer.complete().wait(30)
        assert measured(flyer) == list(range(30))
        flyer.unstage()
