"""A beam that was away in an acquisition: by its charge, by the state of the blanker, at points and in lists."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from list_points import points_of

from slads_bluesky.devices.beamwatch import LOOSE, BeamWatch, BlankerWatch
from slads_bluesky.devices.mapping import ListJudge, MappingBuffer
from slads_bluesky.errors import InstrumentError


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
