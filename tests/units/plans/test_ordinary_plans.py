"""The detector and the beam in bluesky's own plans, as a person at a beamline types them first."""

from __future__ import annotations

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
from waiting import wait_until

from slads_bluesky.errors import InstrumentError
from slads_bluesky.instrument.axes import beam_axes


def test_count_of_the_detector_lights_the_beam_to_acquire_only(instrument, RE, documents, phantom):
    beam, eds = instrument.beam, instrument.eds
    beam.set((3.5, -2.5)).wait(10)
    RE(bp.count([eds], 2), documents)
    for visit, event in enumerate(documents.events()):
        spectrum = phantom.spectrum(instrument.grid.pixel(3.5, -2.5), visit)
        assert np.array_equal(event["data"]["eds_spectrum"], spectrum)
    assert len(documents.events()) == 2
    assert beam.blanker.get()


@pytest.mark.parametrize("plan", ["scan", "list_scan", "grid_scan"])
def test_scan_over_the_axes_with_the_detector_measures_each_place(instrument, RE, documents, phantom, plan):
    x, y = beam_axes(instrument.beam)
    places = {"scan": 3, "list_scan": 2, "grid_scan": 4}
    arguments = {
        "scan": (x, -2.5, 2.5, y, -1.5, 1.5, 3),
        "list_scan": (x, [0.5, 4.5], y, [1.5, 3.5]),
        "grid_scan": (x, 0.5, 1.5, 2, y, 0.5, 1.5, 2),
    }
    lit = []
    RE.msg_hook = lambda msg: (
        lit.append(not instrument.beam.blanker.get()) if msg.command == "create" else None
    )
    RE(getattr(bp, plan)([instrument.eds], *arguments[plan]), documents)
    events = [event["data"] for event in documents.events()]
    assert len(events) == places[plan]
    for data in events:
        pixel = instrument.grid.pixel(data["beam_x"], data["beam_y"])
        assert np.array_equal(data["eds_spectrum"], phantom.spectrum(pixel))
    assert not any(lit)


def test_trigger_of_a_detector_that_is_not_staged_is_one_line(over_ca, RE):
    from slads_bluesky.devices import EDSDetector

    eds = EDSDetector(over_ca.eds.prefix, name="fresh", beam=over_ca.beam)
    with pytest.raises(InstrumentError, match="fresh: not staged"):
        RE(bps.trigger_and_read([eds]))


def test_detector_abandoned_in_mid_acquisition_leaves_the_beam_blanked(over_ca, sim):
    sim("Hang", 1)
    beam, eds = over_ca.beam, over_ca.eds
    eds.stage()
    status = eds.trigger()
    while beam.blanker.get():
        pass
    eds.stop()
    assert status.done
    wait_until(beam.blanker.get, 5)  # it is told so without waiting for its answer


def test_detector_that_hangs_is_given_up_with_the_beam_blanked(over_ca, sim):
    sim("Hang", 1)
    over_ca.eds.stage()
    with pytest.raises(InstrumentError, match=r"eds: it hangs: its clock has stood at 0 s"):
        over_ca.eds.trigger().wait(20)
    over_ca.beam.blanker.set(True).wait(10)
    over_ca.eds.trigger().wait(20)  # and the next one is all right
    over_ca.eds.unstage()
