"""The Open Beam Interface's bytes, and lists over a stand-in that speaks them, gating the IOC's X-ray processor."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from list_points import points_of

from slads_bluesky.devices import openbeam_protocol as wire
from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.openbeam import AHEAD_S, OpenBeamScan
from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.devices.status import QuickStatus
from slads_bluesky.errors import ConfigError, InstrumentError

PREFIX = "OBI:"


# ---- the bytes


def test_commands_are_the_bytes_of_the_gateware():
    # from the numbers of software/obi/commands/structs.py and low_level_commands.py
    assert wire.synchronize(0x1234) == bytes.fromhex("00 12 34")
    assert wire.flush() == b"\x20"
    assert wire.external_control(True) == b"\x31"
    assert wire.select_electrons() == b"\x41"
    assert wire.blank(True, inline=False) == b"\x51"
    assert wire.blank(False, inline=True) == b"\x52"
    assert list(wire.dwell(0x0102, 0x0304, 8)) == [bytes.fromhex("e0 01 02 03 04 00 07")]


@given(cycles=st.integers(0, 400_000))
def test_dwell_of_any_length_is_cut_into_commands_that_last_as_long(cycles):
    reader = wire.CommandReader()
    commands = [c for part in wire.dwell(5, 6, cycles) for c in reader.feed(part)]
    lengths = [c.numbers[2] + 1 for c in commands]
    assert sum(lengths) == max(cycles, wire.FEWEST_CYCLES)
    assert all(wire.FEWEST_CYCLES <= n <= wire.MOST_CYCLES for n in lengths)


@given(cuts=st.lists(st.integers(0, 40), max_size=6))
def test_reader_gives_the_same_commands_however_the_bytes_are_cut(cuts):
    data = (
        wire.blank(False, inline=True)
        + b"".join(wire.dwell(1, 2, 70_000))
        + wire.synchronize(7)
        + wire.flush()
    )
    whole = list(wire.CommandReader().feed(data))
    reader, edges = wire.CommandReader(), sorted({0, len(data), *(min(c, len(data)) for c in cuts)})
    parts = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert [c for part in parts for c in reader.feed(part)] == whole
    assert [c.kind.name for c in whole] == ["BLANK", "VECTOR_PIXEL", "VECTOR_PIXEL", "SYNCHRONIZE", "FLUSH"]


def test_reader_refuses_a_command_that_it_does_not_know():
    with pytest.raises(InstrumentError, match="no command of type 0x7"):
        list(wire.CommandReader().feed(b"\x70"))


def test_chunks_light_the_beam_for_the_dwell_and_end_blanked():
    scan = OpenBeamScan("127.0.0.1:1", field_um=32.0, settle_base_s=100e-6)
    points = points_of([0, 33, 500, 1023], dwell_s=12e-3)
    chunks = list(scan.chunks(points))
    assert [chunk.last for chunk in chunks][-1] == 4
    blanked, inline, lit_cycles, samples = True, None, [], 0
    for chunk in chunks:
        count = 0
        for command in wire.CommandReader().feed(chunk.commands):
            if command.kind is wire.Kind.BLANK:
                if command.flags & 2:
                    inline = bool(command.flags & 1)
                else:
                    blanked, inline = bool(command.flags & 1), None
            else:
                count += 1
                was, blanked, inline = blanked, blanked if inline is None else inline, None
                if not blanked:
                    if was:
                        lit_cycles.append(0)
                    lit_cycles[-1] += command.numbers[2] + 1
        assert count == chunk.samples
        samples += count
    assert blanked
    assert lit_cycles == [96_000] * 4  # 12 ms of 125 ns
    assert samples == 4 * (1 + 2)


def test_point_outside_the_field_is_named():
    scan = OpenBeamScan("127.0.0.1:1", field_um=[32.0, 16.0], flip_y=True)
    assert scan.codes(np.array([0.0]), np.array([-8.0])).tolist() == [[8192, 16383]]
    status = QuickStatus()
    scan.load(points_of([0, 1023]), status)
    with pytest.raises(
        InstrumentError, match=r"point 0 at \(-15.5, -15.5\) µm lies outside the field of 32 × 16"
    ):
        status.wait(1)


@pytest.mark.parametrize(
    ("prefix", "options", "culprit"),
    [
        ("localhost", {"field_um": 10.0}, "host:port"),
        ("localhost:99999", {"field_um": 10.0}, "host:port"),
        ("localhost:2224", {"field_um": "wide"}, "field_um"),
        ("localhost:2224", {"field_um": -1.0}, "field_um"),
        ("localhost:2224", {"field_um": 10.0, "centre_um": [1, 2, 3]}, "centre_um"),
        ("localhost:2224", {"field_um": 10.0, "settle_base_s": -1.0}, "settle"),
    ],
)
def test_scan_of_an_unusable_setting_is_refused_by_name(prefix, options, culprit):
    with pytest.raises(ConfigError, match=culprit):
        OpenBeamScan(prefix, **options)


def test_open_at_another_server_names_the_address():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer():
            peer, _ = listening.accept()
            peer.recv(100)
            peer.sendall(b"HTTP/1.1 400")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(InstrumentError, match="does not speak the Open Beam Interface"):
            OpenBeamScan(f"127.0.0.1:{port}", field_um=32.0).open()
        thread.join(5)
    with pytest.raises(InstrumentError, match=f"no Open Beam Interface server at 127.0.0.1:{port}"):
        OpenBeamScan(f"127.0.0.1:{port}", field_um=32.0).open()


# ---- over the stand-in


@pytest.fixture(scope="module")
def microscope():
    with SimulatedMicroscope("pbsn-32", prefix=PREFIX, time_scale=1.0, open_beam=True) as running:
        yield running


@pytest.fixture
def flyer(microscope):
    from slads_bluesky.devices import EDSDetector, SEMBeam
    from slads_bluesky.devices.listscan import EpicsListEngine, MappingEDS

    beam = SEMBeam(f"{PREFIX}Beam:", name="beam")
    detector = EDSDetector(f"{PREFIX}EDS:mca1", name="eds", beam=beam)
    scan = OpenBeamScan(f"127.0.0.1:{microscope.open_beam_port}", field_um=32.0)
    engine = EpicsListEngine(
        scan, MappingEDS(f"{PREFIX}EDS:Map:", name="map"), detector, beam, pixels_per_buffer=8
    )
    made = SparseFlyer(engine, detector, beam)
    made.stage()
    yield made
    made.unstage()


def visit(flyer, points):
    flyer.prepare(points).wait(5)
    flyer.kickoff().wait(5)
    flyer.complete().wait(30)
    return [row for page in flyer.collect_pages() for row in rows_of(page)]


def rows_of(page):
    data = page["data"]
    return [{key: data[key][i] for key in data} for i in range(len(page["time"]))]


def test_list_by_the_interface_gives_every_pixel_its_own_spectrum(flyer, microscope):
    from slads_bluesky.phantom.objects import make_object

    beam = flyer.engine._beam
    assert beam.blanker.get()
    points = points_of(range(0, 1024, 37), dwell_s=20e-3)  # 28: the last buffer of eight is not full
    rows = visit(flyer, points)
    assert flyer.missed == {}
    assert [row["scan_pixel"] for row in rows] == points.pixels.tolist()
    np.testing.assert_allclose([row["eds_real_time"] for row in rows], 20e-3, rtol=1e-6)
    np.testing.assert_allclose([row["beam_pixel_dose"] for row in rows], 20e-3, rtol=1e-6)  # 1 nA
    assert beam.blanker.get()
    # each spectrum is that of the phase under its own pixel
    truth = make_object("pbsn-32").labels.ravel()[points.pixels]
    spectra = np.array([row["eds_spectrum"] for row in rows], float)
    means = np.stack([spectra[truth == k].sum(0) + 0.5 for k in (1, 2)])
    means /= means.sum(1, keepdims=True)
    assert (np.argmax(spectra @ np.log(means).T, 1) + 1 == truth).mean() > 0.9
    again = visit(flyer, points_of([5, 6, 7], dwell_s=1e-3))
    assert [row["scan_pixel"] for row in again] == [5, 6, 7]


def test_abort_in_mid_list_blanks_and_keeps_what_was_visited(flyer):
    points = points_of(range(200), dwell_s=10e-3)
    flyer.prepare(points).wait(5)
    flyer.kickoff().wait(5)
    reached = threading.Event()
    flyer.on_news(reached.set)
    assert reached.wait(10)
    dose = flyer.engine.dose_nc
    flyer.stop()
    assert flyer.engine._beam.blanker.get()
    rows = [row for page in flyer.collect_pages() for row in rows_of(page)]
    assert 8 <= len(rows) < 200
    assert [row["scan_pixel"] for row in rows] == list(range(len(rows)))
    after = flyer.engine.dose_nc
    assert after - dose < 200 * 10e-3 / 2
    time.sleep(4 * AHEAD_S)
    assert flyer.engine.dose_nc == after  # nothing comes afterwards
    assert len(visit(flyer, points_of([1, 2, 3]))) == 3


@pytest.mark.parametrize("half", [socket.SHUT_RDWR, socket.SHUT_WR, socket.SHUT_RD])
def test_server_that_is_lost_in_a_list_ends_it_blanked_and_is_named(flyer, half):
    """Whichever half of the connection notices it first, reading or writing."""
    points = points_of(range(100), dwell_s=10e-3)
    flyer.prepare(points).wait(5)
    flyer.kickoff().wait(5)
    reached = threading.Event()
    flyer.on_news(reached.set)
    assert reached.wait(10)
    flyer.engine.scan._socket.shutdown(half)
    flyer.complete().wait(30)
    rows = [row for page in flyer.collect_pages() for row in rows_of(page)]
    assert 8 <= len(rows) < 100
    assert "127.0.0.1" in flyer.trouble
    assert set(flyer.missed) == set(range(len(rows), 100))
    assert flyer.engine._beam.blanker.get()
    assert len(visit(flyer, points_of([1, 2, 3]))) == 3  # connected again


def test_beam_that_trips_in_a_list_invalidates_only_what_it_hit(flyer, microscope):
    from ophyd import EpicsSignal

    trip = EpicsSignal(f"{PREFIX}Sim:Trip", name="trip", put_complete=True)
    trip.wait_for_connection(5)
    points = points_of(range(60), dwell_s=10e-3)
    flyer.prepare(points).wait(5)
    flyer.kickoff().wait(5)
    reached = threading.Event()
    flyer.on_news(reached.set)
    assert reached.wait(10)
    trip.set(1).wait(5)
    flyer.complete().wait(30)
    trip.set(0).wait(5)
    rows = [row for page in flyer.collect_pages() for row in rows_of(page)]
    lost = sorted(flyer.missed)
    assert len(rows) + len(lost) == 60
    assert lost == list(range(lost[0], 60))
    assert all("beam" in why for why in flyer.missed.values())
