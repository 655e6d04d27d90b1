"""Monitors that are silent while their PVs answer, over real Channel Access."""

from __future__ import annotations

import numpy as np
from list_points import points_of

from slads_bluesky.devices import EDSDetector
from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.listscan import EpicsListEngine, MappingEDS, PointListScan
from slads_bluesky.devices.monitors import MonitorCheck

PREFIX = "DEVICES:"


def silence(signal):
    """Let nothing of a PV's monitor reach its signal any more, as a client thread that has ended does."""
    signal._read_pv.clear_callbacks()


def test_monitor_check_silent_monitor_is_named_and_its_value_brought(fresh, beam, caplog):
    beam.wait_for_connection(timeout=10)
    heard = []
    beam.current.subscribe(lambda value, **_: heard.append(value))
    check = MonitorCheck("beam", lambda: [beam.current])
    assert check.look() == check.look() == []
    silence(beam.current)
    fresh("Sim:Trip").set(1).wait(10)
    assert check.look() == []  # it may be on its way
    assert check.look() == ["beam_current"]
    assert heard[-1] == 0.0
    assert "the monitor of DEVICES:Beam:Current is silent" in caplog.text
    assert check.look() == []  # said once for each value
    fresh("Sim:Trip").set(0).wait(10)
    check.look()
    check.look()
    assert heard[-1] == 1.0


def test_list_with_silent_monitors_is_asked_for(fresh, beam, monkeypatch, caplog):
    monkeypatch.setattr("slads_bluesky.devices.listscan.ASK_S", 0.1)
    eds = EDSDetector(f"{PREFIX}EDS:mca1", name="eds", beam=beam)
    scan, mapping = PointListScan(f"{PREFIX}Scan:", name="scan"), MappingEDS(f"{PREFIX}EDS:Map:", name="map")
    flyer = SparseFlyer(EpicsListEngine(scan, mapping, eds, beam, pixels_per_buffer=8), eds, beam)
    flyer.stage()
    for k in range(4):
        silence(getattr(mapping, f"spectra{k}"))
        silence(getattr(mapping, f"header{k}"))
    silence(scan.running)
    flyer.prepare(points_of(np.arange(20))).wait(10)
    flyer.kickoff().wait(10)
    flyer.complete().wait(30)
    assert flyer.trouble == ""
    assert [p for page in flyer.collect_pages() for p in page["data"]["scan_pixel"]] == list(range(20))
    assert "asked for what no monitor had brought" in caplog.text
    flyer.unstage()
