"""The flyer's verbs over the soft engine and over the IOC; buffers, overruns, trips, passes."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
from bluesky.protocols import EventPageCollectable, Flyable, Pausable, Preparable
from bluesky.utils import NoReplayAllowed
from event_model import compose_run
from list_points import points_of

from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.mapping import NEXT_PART
from slads_bluesky.devices.sim.model import SimulatedSEM
from slads_bluesky.devices.sim.soft import SoftBeam, SoftEDS
from slads_bluesky.devices.sim.softlist import SoftListEngine
from slads_bluesky.protocols import Classification

PREFIX = "DEVICES:"


class Counting:
    """A stop rule that decides label 1 from a number of counts on."""

    error, cap_s = 1e-3, 1.0

    def __init__(self, enough):
        self.enough = enough

    def reset(self):
        self.total = 0

    def update(self, counts, live_time_s):
        self.total = int(counts.sum())
        done = self.total >= self.enough or live_time_s >= self.cap_s
        return Classification(1, 1.0, "ok") if done else None

    def next_counts(self):
        return max(1, self.enough - self.total)


@pytest.fixture
def soft_flyer(phantom):
    sem = SimulatedSEM(phantom)
    return SparseFlyer(SoftListEngine(sem, pixels_per_buffer=8), SoftEDS("eds", sem), SoftBeam("beam", sem))


@pytest.fixture
def ca_flyer(beam, fresh):
    from slads_bluesky.devices import EDSDetector
    from slads_bluesky.devices.listscan import EpicsListEngine, MappingEDS, PointListScan

    detector = EDSDetector(f"{PREFIX}EDS:mca1", name="eds", beam=beam)
    engine = EpicsListEngine(
        PointListScan(f"{PREFIX}Scan:", name="scan"), MappingEDS(f"{PREFIX}EDS:Map:", name="map"),
        detector, beam, pixels_per_buffer=8,
    )  # fmt: skip
    fresh("Sim:Overrun").set(0).wait(10)
    return SparseFlyer(engine, detector, beam)


@pytest.fixture(params=["soft", "ioc"])
def flyer(request):
    made = request.getfixturevalue("soft_flyer" if request.param == "soft" else "ca_flyer")
    made.stage()
    yield made
    made.unstage()


def fly(flyer, points):
    """Visit a list; return its rows as one table."""
    flyer.prepare(points).wait(10)
    flyer.kickoff().wait(10)
    flyer.complete().wait(30)
    pages = list(flyer.collect_pages())
    return {key: np.concatenate([page["data"][key] for page in pages]) for key in pages[0]["data"]}


def test_flyer_speaks_bluesky_protocols(soft_flyer):
    for protocol in (Flyable, Preparable, EventPageCollectable, Pausable):
        assert isinstance(soft_flyer, protocol)


def test_list_gives_a_row_for_each_point_in_order(flyer):
    pixels = np.random.default_rng(0).permutation(1024)[:27]
    rows = fly(flyer, points_of(pixels))
    assert rows["scan_pixel"].tolist() == pixels.tolist()
    assert rows["eds_spectrum"].shape == (27, 2040)
    assert (rows["eds_counts"] == rows["eds_spectrum"].sum(1)).all()
    assert rows["eds_real_time"] == pytest.approx(np.full(27, 1e-3))
    assert rows["eds_live_time"] == pytest.approx(1e-3 - rows["eds_counts"] * 36e-6)
    assert rows["beam_pixel_dose"] == pytest.approx(np.full(27, 1e-3))
    assert rows["beam_dose"] == pytest.approx(1e-3 * np.arange(1, 28))
    assert (rows["beam_x"] == points_of(pixels).x_um).all()
    assert (rows["scan_decision"] == 3).all()
    assert flyer.missed == {}


def test_rows_are_what_describe_collect_says(flyer):
    flyer.prepare(points_of([1, 2, 3])).wait(10)
    flyer.kickoff().wait(10)
    flyer.complete().wait(30)
    (page,) = flyer.collect_pages()
    run = compose_run()
    descriptor = run.compose_descriptor(name="primary", data_keys=flyer.describe_collect())
    made = descriptor.compose_event_page(data=page["data"], timestamps=page["timestamps"], validate=False)
    assert made["seq_num"] == [1, 2, 3]
    assert set(page["data"]) == set(flyer.describe_collect())


def test_several_lists_one_after_the_other(flyer):
    for k in range(4):
        pixels = np.arange(20) + 40 * k
        assert fly(flyer, points_of(pixels))["scan_pixel"].tolist() == pixels.tolist()


def test_next_list_can_be_loaded_while_one_runs(flyer):
    first, second = points_of(np.arange(50)), points_of(np.arange(100, 130))
    flyer.prepare(first).wait(10)
    flyer.kickoff().wait(10)
    flyer.prepare(second).wait(10)
    flyer.complete().wait(30)
    flyer.kickoff().wait(10)
    flyer.complete().wait(30)
    (page,) = flyer.collect_pages()
    assert page["data"]["scan_pixel"] == [*range(50), *range(100, 130)]


def test_undecided_points_grow_over_passes(flyer):
    flyer.unstage()
    flyer._eds.stop_rule = Counting(30)
    flyer.stage()
    points, passes, rows = points_of(np.arange(40)), 0, []
    while len(points):
        flyer.prepare(points).wait(10)
        flyer.kickoff().wait(10)
        flyer.complete().wait(30)
        rows += [page["data"] for page in flyer.collect_pages()]
        again = np.array(flyer.undecided, np.int64)
        dwell = np.array([flyer.next_pass_s(int(points.pixels[i])) for i in again])
        points = points.take(again)
        points = points.with_dwell(dwell)
        passes += 1
        assert passes < 200
    counts = np.concatenate([row["eds_counts"] for row in rows])
    assert sorted(p for row in rows for p in row["scan_pixel"]) == list(range(40))
    assert (counts >= 30).all()
    assert max(p for row in rows for p in row["eds_passes"]) > 1
    real = np.concatenate([row["eds_real_time"] for row in rows])
    dose = np.concatenate([row["beam_pixel_dose"] for row in rows])
    assert dose == pytest.approx(real)


def test_overrun_loses_whole_buffers_and_says_which(ca_flyer, fresh):
    ca_flyer.stage()
    fresh("Sim:Overrun").set(1).wait(10)
    rows = fly(ca_flyer, points_of(np.arange(24)))
    assert rows["scan_pixel"].tolist() == list(range(8, 24))
    assert sorted(ca_flyer.missed) == list(range(8))
    assert set(ca_flyer.missed.values()) == {"no spectrum came"}
    ca_flyer.unstage()


def test_trip_invalidates_the_pixels_that_it_hit(soft_flyer):
    sem = soft_flyer.engine.sem
    soft_flyer.stage()
    take = soft_flyer.judge.take
    seen = []

    def taking(buffer):
        seen.append(buffer.first)
        sem.tripped = buffer.first == 8  # the buffer from 16 on has no beam
        take(buffer)

    soft_flyer.judge.take = taking
    rows = fly(soft_flyer, points_of(np.arange(32)))
    assert rows["scan_pixel"].tolist() == [*range(16), *range(24, 32)]
    assert sorted(soft_flyer.missed) == list(range(16, 24))


def test_pause_stops_and_resume_visits_the_rest(soft_flyer):
    soft_flyer.stage()
    paused = threading.Event()
    take = soft_flyer.judge.take

    def taking(buffer):
        take(buffer)
        if buffer.first == 16 and not paused.is_set():
            paused.set()
            soft_flyer.engine.abort()
            soft_flyer._held = True

    soft_flyer.judge.take = taking
    soft_flyer.prepare(points_of(np.arange(60))).wait(5)
    soft_flyer.kickoff().wait(10)
    assert paused.wait(10)
    soft_flyer.pause()
    assert soft_flyer.n_ready == 24
    (first,) = soft_flyer.collect_pages()
    with pytest.raises(NoReplayAllowed):
        soft_flyer.pause()
    soft_flyer.settled()
    soft_flyer.pause()
    status = soft_flyer.complete()
    assert not status.done
    soft_flyer.resume()
    status.wait(10)
    (page,) = soft_flyer.collect_pages()
    assert first["data"]["scan_pixel"] + page["data"]["scan_pixel"] == list(range(60))
    assert soft_flyer.missed == {}


def test_kickoff_without_a_list_fails(soft_flyer):
    soft_flyer.stage()
    assert "no list is prepared" in str(soft_flyer.kickoff().exception(1))


def test_stop_rules_of_pixels_are_their_own(soft_flyer):
    rule = Counting(10**9)
    soft_flyer._eds.stop_rule = copy.copy(rule)
    soft_flyer.stage()
    soft_flyer.prepare(points_of([1, 2])).wait(5)
    soft_flyer.kickoff().wait(10)
    soft_flyer.complete().wait(10)
    growing = soft_flyer.judge._growing
    assert growing[1].rule is not growing[2].rule
    assert growing[1].rule.total == growing[1].counts.sum()


def test_real_time_cap_of_a_pixel_forces_its_decision(soft_flyer):
    soft_flyer._eds.stop_rule = Counting(10**9)
    soft_flyer.stage()
    soft_flyer.configure({"real_time": 2e-3})
    points = points_of([5])
    for _ in range(2):
        soft_flyer.prepare(points).wait(5)
        soft_flyer.kickoff().wait(10)
        soft_flyer.complete().wait(10)
    (page,) = soft_flyer.collect_pages()
    assert page["data"]["eds_real_time"] == pytest.approx([2e-3])


def test_software_advance_gives_a_pixel_for_each_put(ca_flyer, fresh):
    ca_flyer.stage()
    mapping, beam = ca_flyer.engine.mapping, ca_flyer._beam
    mapping.advance_mode.set("Software").wait(10)
    mapping.arm.set(1).wait(10)
    beam.set((0.5, 0.5)).wait(10)
    beam.blanker.set(False).wait(10)
    for _ in range(3):
        mapping.next_pixel.set(1).wait(10)
    beam.blanker.set(True).wait(10)
    assert mapping.current_pixel.get() == 3
    buffer = mapping.buffer(
        mapping.spectra2.get(use_monitor=False), mapping.header2.get(use_monitor=False), 2040
    )
    assert buffer.first == 2
    assert buffer.spectra.shape == (1, 2040)
    mapping.advance_mode.set("Gate").wait(10)
    ca_flyer.unstage()


def test_passes_follow_how_long_decisions_take(soft_flyer):
    soft_flyer._eds.stop_rule = Counting(20)
    soft_flyer.stage()
    assert soft_flyer.first_pass_s(7e-3) == 7e-3  # nothing is known yet
    soft_flyer.prepare(points_of(np.arange(30), dwell_s=20e-3)).wait(5)
    soft_flyer.kickoff().wait(10)
    soft_flyer.complete().wait(10)
    assert soft_flyer.first_pass_s(7e-3) == pytest.approx(0.6 * 20e-3)
    soft_flyer.prepare(points_of([40], dwell_s=1e-3)).wait(5)
    soft_flyer.kickoff().wait(10)
    soft_flyer.complete().wait(10)
    assert soft_flyer.undecided == [0]
    assert soft_flyer.next_pass_s(40) == pytest.approx(NEXT_PART * 1e-3)
