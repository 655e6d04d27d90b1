"""The simulated microscope as a process: started, found, missed."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from slads_bluesky.devices.sim.ports import free_port
from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.errors import ConfigError, InstrumentError


def test_microscope_start_unknown_object_reports_its_standard_error():
    microscope = SimulatedMicroscope("granite-64", prefix="DEAD:")
    with pytest.raises(InstrumentError, match="died at start: ConfigError: unknown object 'granite-64'"):
        microscope.start()
    assert not microscope.running


def test_microscope_start_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InstrumentError, match=f"no free port: {port} is taken"):
            free_port(port)
        with pytest.raises(InstrumentError, match=f"{port} is taken"):
            SimulatedMicroscope("pbsn-32", prefix="TAKEN:", port=port).start()


def test_free_port_none_left_is_an_error(monkeypatch):
    def refuse(self, address):
        raise OSError("all taken")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InstrumentError, match="no free port on 127"):
        free_port()


def test_microscope_start_prefix_in_use_is_refused(microscope):
    with pytest.raises(InstrumentError, match=f"serves DEVICES: already, on port {microscope.port}"):
        SimulatedMicroscope("pbsn-32", prefix="DEVICES:").start()


@pytest.mark.parametrize("wrong", ["", "S EM:"])
def test_microscope_prefix_not_a_word_is_refused(wrong):
    with pytest.raises(ConfigError, match="PV prefix"):
        SimulatedMicroscope("pbsn-32", prefix=wrong)


def test_microscope_check_after_a_crash_reports_the_exit_code(microscope):
    from ophyd import EpicsSignal

    with SimulatedMicroscope("pbsn-32", prefix="GONE:") as other:
        other.check()
        leave = EpicsSignal("GONE:Sim:Exit", name="leave")
        leave.wait_for_connection(10)
        leave.put(1)
        other._process.wait(10)
        with pytest.raises(InstrumentError, match="exited with code 3"):
            other.check()
        assert not other.running
        port = other.port
        other.stop()
        other.start()  # the same again, at the same place
        assert other.port == port


def test_microscope_ends_with_its_parent_process():
    code = (
        "from slads_bluesky.devices.sim.process import SimulatedMicroscope as S\n"
        "import os\n"
        "m = S('pbsn-32'); m.start(); print(m.pid, flush=True); os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60, env=_clean())
    assert done.returncode == 9
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(10)


def test_microscope_is_outside_the_terminals_process_group(microscope):
    assert os.getpgid(microscope.pid) != os.getpgid(0)


def test_ioc_module_imports_nothing_heavy():
    """Neither torch nor the catalog is imported by it, nor ophyd by what starts it."""
    heavy = "{'torch', 'databroker', 'tiled', 'ophyd', 'numba', 'bluesky'}"
    code = (
        "import sys, slads_bluesky.devices.sim.ioc as i, slads_bluesky.devices.sim.process\n"
        "i.open_specimen('pbsn-32', 0)\n"
        f"sys.exit(' '.join({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=60, env=_clean())
    assert done.stderr.decode().strip() == ""


@pytest.mark.parametrize("layer", ["pyepics", "caproto"])
def test_devices_either_control_layer_measures_the_same(layer):
    code = f"""
from slads_bluesky.devices.sim.process import SimulatedMicroscope
with SimulatedMicroscope("pbsn-32", control_layer="{layer}"):
    import ophyd
    from slads_bluesky.devices import EDSDetector, SEMBeam
    assert ophyd.cl.name == "{layer}"
    beam = SEMBeam("SEM:Beam:", name="beam")
    eds = EDSDetector("SEM:EDS:mca1", name="eds", beam=beam)
    beam.stage(); eds.stage()
    for position in ((-3.5, 0.5), (7.5, 2.5)):
        beam.set(position).wait(10)
        beam.blanker.set(False).wait(10)
        eds.trigger().wait(10)
        beam.blanker.set(True).wait(10)
        print(beam.position, int(eds.reading.counts.sum()), int((eds.reading.counts * range(2040)).sum()))
    eds.unstage(); beam.unstage()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=90, env=_clean())
    assert done.returncode == 0, done.stderr.decode()
    from slads_bluesky.phantom.objects import make_object

    phantom = make_object("pbsn-32")
    expected = ""
    for x, y, pixel in ((-3.5, 0.5, 16 * 32 + 12), (7.5, 2.5, 18 * 32 + 23)):
        counts = phantom.spectrum(pixel)
        expected += f"({x}, {y}) {counts.sum()} {(counts * range(2040)).sum()}\n"
    assert done.stdout.decode() == expected


def test_microscope_restarted_with_the_same_name_is_found_at_once():
    code = """
from slads_bluesky.devices.sim.process import SimulatedMicroscope
kept, asked = [], []
for turn in range(2):
    with SimulatedMicroscope("pbsn-32", port=0):
        from caproto.threading.pyepics_compat import PV
        from slads_bluesky.devices import SEMBeam
        from slads_bluesky.devices.connect import connect
        kept.append(SEMBeam("SEM:Beam:", name="beam"))
        connect(kept[-1], 20.0)
        print(kept[-1].position, len(asked))
        broadcaster = PV.default_context().broadcaster
        search_now = broadcaster.search_now
        broadcaster.search_now = lambda: (asked.append(1), search_now())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=90, env=_clean())
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == "(0.0, 0.0) 0\n(0.0, 0.0) 1\n"


def _clean():
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EPICS_", "OPHYD_"))}
    return {**kept, "OMP_NUM_THREADS": "1"}
