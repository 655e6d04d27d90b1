"""A beam that was away in an acquisition: by its charge, blanker and place, at points, in lists and in frames."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from list_points import points_of

from slads_bluesky.devices import SEMBeam
from slads_bluesky.devices.beamwatch import LOOSE, BeamWatch, BlankerWatch
from slads_bluesky.devices.framewatch import FrameWatch
from slads_bluesky.devices.mapping import ListJudge, MappingBuffer
from slads_bluesky.devices.placewatch import PlaceWatch
from slads_bluesky.devices.pvnames import with_pv_names
from slads_bluesky.errors import InstrumentError
from slads_bluesky.plans.stubs import check_position


def run(watch, currents, real_s=0.1, idle_s=()):
    """Acquire at these mean currents, lit for longer by `idle_s`; return the indices of what was refused."""
    dose, refused = 0.0, []
    watch.start(dose, 1.0)
    for i, current in enumerate(currents):
        idle = idle_s[i] if len(idle_s) else 0.0
        dose += current * real_s + idle
        try:
            watch.check(dose, real_s, idle)
        except InstrumentError:
            refused.append(i)
    return refused


@pytest.mark.parametrize("missing", [0.01, 0.1, 0.19, 0.5])
def test_beam_watch_steady_current_any_missing_charge_is_refused(missing):
    assert run(BeamWatch(), [1.0] * 20 + [1.0 - missing] + [1.0] * 5) == [20]


def test_beam_watch_noisy_current_refuses_only_what_noise_does_not_explain():
    noisy = 1.0 + 0.02 * np.random.default_rng(0).normal(size=3000)
    assert run(BeamWatch(), noisy) == []
    noisy[2000] = 0.83
    assert run(BeamWatch(), noisy) == [2000]


def test_beam_watch_beam_lit_longer_than_the_acquisition_raises_no_alarm_and_hides_none():
    rng = np.random.default_rng(1)
    idle = np.where(np.arange(200) < 100, 0.02 * rng.random(200), 0.0)  # a busy client, then a quick one
    assert run(BeamWatch(), np.ones(200), idle_s=idle) == []
    currents = np.ones(200)
    currents[150] = 0.95
    assert run(BeamWatch(), currents, idle_s=idle) == [150]


def test_beam_watch_another_current_that_lasts_is_taken_after_one_refusal():
    assert run(BeamWatch(), [1.0] * 30 + [0.9] * 30) == [30]
    assert run(BeamWatch(), [1.0] * 30 + [0.7] * 3) == [30, 31, 32]  # beyond what a current may lose
    assert run(BeamWatch(), np.linspace(1.0, 0.5, 3000)) == []  # a drift


def test_beam_watch_first_acquisitions_are_compared_with_the_reported_current():
    assert run(BeamWatch(), [1.0 - LOOSE - 0.01]) == [0]
    assert run(BeamWatch(), [1.0 - LOOSE + 0.01]) == []


@pytest.mark.parametrize(
    ("events", "interrupted"),
    [
        (["light", (0, 1.0)], False),
        (["light", (0, 1.0), "read 1"], False),
        (["light", "read 1", (1, 0.5), (0, 1.0)], False),  # the monitor of the own blanking comes late
        (["light", "read 1", (0, 0.2), (1, 0.5), (0, 1.0)], False),  # and that of the point before
        (["light", (1, 2.0), "read 1"], True),  # the monitor was quicker than the answer
        (["light", (0, 1.0), "read 1", (1, 2.0)], True),
        (["light", (0, 1.0), "read 1", (1, 2.0), (0, 3.0)], True),  # blanked and lit again by somebody else
        (["light", (0, 1.0), "read 1", "light", (1, 2.0)], True),  # lit twice by this process
        (["light", "read 1", "blank", (1, 2.0)], False),
        (["light", "read 1", "blank", (1, 2.0), "light", "read 3", (0, 3.0)], False),
        (
            ["light", "read 1", (1, 2.0), "blank", "light", "read 0.3", (1, 0.2), (0, 0.3)],
            False,
        ),  # clock set back
    ],
)
def test_blanker_watch_blanked_later_than_it_was_opened_counts_as_interrupted(events, interrupted):
    watch = BlankerWatch()
    watch.state(1, 0.1)
    for event in events:
        if event in ("light", "blank"):
            watch.command(event == "light")
        elif isinstance(event, str):
            watch.opened(float(event.removeprefix("read ")))
        else:
            watch.state(*event)
    assert watch.interrupted == interrupted


@pytest.mark.parametrize("lit_again", [False, True])
def test_detector_beam_blanked_by_another_client_is_refused(beam, eds, fresh, lit_again):
    """The spectrum is whole, as its answer comes late: only the blanker's state says that the beam was away."""
    beam.set((1.5, 2.5)).wait(10)
    beam.blanker.set(False).wait(10)
    eds.trigger().wait(10)  # undisturbed
    fresh("Sim:Late").set(1.0).wait(10)
    try:
        seen = threading.Event()
        fresh("EDS:mca1.ACQG").subscribe(lambda value, **_: value and seen.set(), run=False)
        status = eds.trigger()
        assert seen.wait(10)
        fresh("Beam:Blank").set(1).wait(10)
        if lit_again:
            fresh("Beam:Blank").set(0).wait(10)
        with pytest.raises(InstrumentError, match="eds: the beam was blanked by somebody else"):
            status.wait(10)
    finally:
        fresh("Sim:Late").set(0.0).wait(10)
    beam.blanker.set(True).wait(10)
    beam.blanker.set(False).wait(10)
    eds.trigger().wait(10)
    beam.blanker.set(True).wait(10)


def test_list_point_with_missing_charge_is_invalid():
    judge = ListJudge("scan", "eds", "beam")
    judge.start(0.0, 1.0)
    judge.begin(points_of(np.arange(40)))
    real = np.full(40, 1e-3)
    charge = real.copy()
    charge[25] *= 0.93
    judge.take(MappingBuffer(0, np.ones((40, 16), np.int32), real, real, charge))
    assert list(judge.invalid) == [25]
    assert "beam current lost" in judge.invalid[25]


@pytest.mark.parametrize(
    ("events", "place"),
    [
        ([(3.0, 2.0), "open 2.5"], 3.0),
        ([(3.0, 2.0), "open 2.5", (11.0, 2.6)], 11.0),  # moved away, and not back
        ([(3.0, 2.0), "open 2.5", (11.0, 2.6), (3.0, 2.7)], 11.0),  # and back
        (
            [(3.0, 2.0), (11.0, 2.6), (3.0, 2.7), "open 2.5"],
            11.0,
        ),  # the monitors were quicker than the answer
        ([(3.0, 2.0), "open 2.5", (3.0, 2.7), (11.0, 2.6)], 11.0),  # the monitors came in another order
        ([(3.0, 2.0), (11.0, 2.2), "open 2.5", (3.0, 2.6)], 11.0),  # away before it was lit, back after
        ([(3.0, 2.0), (11.0, 2.2), (3.0, 2.3), "open 2.5"], 3.0),  # away and back before it was lit
        (["open 2.5"], 3.0),  # its own monitor has not come yet
        (["open 2.5", (7.0, 0.5), (7.0, 1.0)], 3.0),  # that of the point before comes late
        (["open 2.5", (3.0, 2.6)], 3.0),  # a readback that is slow, or has a clock of its own
        (
            [(3.0, 2.0), "open 2.5", "blanked 2.6", (11.0, 2.7), (4.0, 2.8)],
            3.0,
        ),  # moved after the acquisition
        ([(3.0, 2.0), "open 2.5", "blanked 0.9", (11.0, 2.6), (3.0, 2.7)], 11.0),  # that of an older blanking
        ([(3.0, 2.0), "open 2.5", (2.9, 2.6), (3.2, 2.7), (2.8, 2.8)], 3.2),  # a readback with noise
    ],
)
def test_place_watch_gives_the_place_farthest_off_while_the_beam_was_lit(events, place):
    watch = PlaceWatch()
    watch.send((7.0, 0.0))
    watch.heard("x", 7.0, 0.5)
    watch.opened(0.6)
    assert watch.farthest("x", 7.0, 1.0) == 7.0
    watch.send((3.0, 0.0))
    for event in events:
        if isinstance(event, str):
            word, at = event.split()
            {"open": watch.opened, "blanked": watch.blanked}[word](float(at))
        else:
            watch.heard("x", *event)
    assert watch.farthest("x", 3.0, 3.0) == place
    watch.send((5.0, 0.0))
    watch.opened(4.0)
    assert watch.farthest("x", 5.0, 4.5) == 5.0  # nothing is left of it


def test_place_watch_of_a_place_that_nobody_read_says_nothing_of_the_next_point():
    """Under pyepics the monitor of the point's own move often comes after the point."""
    watch = PlaceWatch()
    watch.begins("x", 1.0)
    watch.heard("x", 0.0, 1.0)  # where it was at first, brought late
    watch.heard("x", 8.0, 2.0)  # somebody moved it between two maps
    watch.send((3.0, 0.0))
    watch.opened(3.5)
    assert watch.farthest("x", 3.0, 3.0) == 3.0
    watch.heard("x", 3.0, 3.0)
    watch.heard("x", 11.0, 3.6)
    assert watch.farthest("x", 3.0, 3.7) == 11.0


def test_place_watch_of_a_beam_that_a_plan_moves_axis_by_axis_leaves_what_is_read():
    """`bp.scan([eds], beam.x, …)` does not send the beam; a late monitor must not bring the point before."""
    watch = PlaceWatch()
    watch.send((9.0, 0.0))
    for i, place in enumerate([9.0, 3.0, 4.0, 5.0, 6.0]):
        watch.opened(10.0 * i)
        assert watch.farthest("x", place, 10.0 * i - 1) == place
        watch.blanked(10.0 * i + 5)
        watch.heard("x", place, 10.0 * i - 1)


def test_place_watch_that_was_never_sent_or_lit_leaves_what_is_read():
    watch = PlaceWatch()
    watch.heard("x", 9.0, 1.0)
    assert watch.farthest("x", 2.0, 1.5) == 2.0
    watch.opened(2.0)
    watch.heard("x", 9.0, 3.0)
    assert watch.farthest("x", 2.0, 3.5) == 2.0
    watch.send((2.0, 2.0))
    watch.heard("x", 9.0, 4.0)
    assert watch.farthest("x", 2.0, 4.5) == 2.0  # moved while it was dark


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("back", [False, True])
def test_beam_moved_by_another_client_in_an_acquisition_is_read_where_it_was(beam, eds, fresh, axis, back):
    """The spectrum is whole and, if the beam was moved back, so is the readback: only the monitors show it."""
    sent, seen = (1.5, 2.5), threading.Event()
    fresh("EDS:mca1.ACQG").subscribe(lambda value, **_: value and seen.set(), run=False)

    def acquired(late_s, meanwhile):
        beam.set(sent).wait(10)
        beam.blanker.set(False).wait(10)
        fresh("Sim:Late").set(late_s).wait(10)
        seen.clear()
        status = eds.trigger()
        assert seen.wait(10)
        meanwhile()
        status.wait(10)
        beam.blanker.set(True).wait(10)
        return beam.read()

    def move():
        other = fresh(f"Beam:{axis.upper()}")
        other.set(11.5).wait(10)
        if back:
            other.set(sent["xy".index(axis)]).wait(10)

    try:
        check_position("beam", acquired(0.0, lambda: None), sent, 0.1)
        with pytest.raises(InstrumentError, match=f"beam: measured at {axis} = 11.5 µm instead of"):
            check_position("beam", acquired(1.0, move), sent, 0.1)
        check_position("beam", acquired(0.0, lambda: None), sent, 0.1)
    finally:
        fresh("Sim:Late").set(0.0).wait(10)


def test_beam_with_pvs_of_their_own_names_is_watched_by_them(fresh):
    swapped = {
        axis: {"read": f"DEVICES:Beam:{pv}_RBV", "write": f"DEVICES:Beam:{pv}"} for axis, pv in ("xY", "yX")
    }
    beam = with_pv_names(SEMBeam, swapped)("DEVICES:Beam:", name="beam")
    beam.connect(10)
    beam.watch()
    beam.set((1.5, 2.5)).wait(10)
    beam.blanker.set(False).wait(10)
    assert beam.blanker.read_open()
    fresh("Beam:Y").set(5.5).wait(10)
    fresh("Beam:Y").set(1.5).wait(10)
    beam.blanker.set(True).wait(10)
    limit = time.monotonic() + 20
    while beam.read()["beam_x"]["value"] != 5.5:
        assert time.monotonic() < limit, "nothing was heard of it"
    assert beam.read()["beam_y"]["value"] == 2.5


def test_frame_watch_sees_a_beam_that_was_not_there():
    def judged(*happened, charge_nc=1.0):
        watch = FrameWatch()
        watch.state(True, 0.5)
        watch.begin(1.0, 1.0)
        for what in happened:
            watch.current(what) if isinstance(what, float) else watch.state(*what)
        try:
            watch.check(charge_nc, 1.0)
        except InstrumentError as error:
            return str(error)
        watch.begin(1.0, 9.0)  # the next one is judged for itself
        watch.check(1.0, 1.0)
        return ""

    lit = [(False, 2.0), (True, 5.0)]
    assert judged(*lit) == judged() == judged((True, 0.9), (False, 1.0), *lit) == ""
    assert judged(*lit, 0.95) == judged(*lit, charge_nc=0.85) == ""
    assert "blanked by somebody else" in judged((False, 2.0), (True, 3.0), (False, 4.0), (True, 5.0))
    assert "beam current lost" in judged(*lit, 0.0, 1.0)
    assert "beam current lost" in judged(*lit, charge_nc=0.7)
    assert "no beam" in judged(*lit, charge_nc=0.0)
