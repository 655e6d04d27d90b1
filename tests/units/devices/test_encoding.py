"""Units of any bytes, under both control layers, with only the packages that the README installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slads_bluesky.devices.encoding import unit_text
from slads_bluesky.devices.sim.ports import free_port
from slads_bluesky.devices.sim.pvs import list_pvs

HELPERS = Path(__file__).parents[2] / "helpers"

IOC = """
import sys
from slads_bluesky.devices.sim import ioc, pvgroup
for name in ("x", "x_rbv", "y", "y_rbv", "width"):
    getattr(pvgroup.SEMGroup, name).pvspec.cls_kwargs["units"] = sys.argv[1]
sys.exit(ioc.main(sys.argv[2:]))
"""

CLIENT = """
import readme_environment
from importlib.util import find_spec
try:
    import charset_normalizer
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the environment holds more than the README installs")
from slads_bluesky.devices import EDSDetector, Microscope, SEMBeam
import ophyd
beam = SEMBeam("MU:Beam:", name="beam", connection_timeout_s=20)
eds = EDSDetector("MU:EDS:mca1", name="eds", beam=beam, connection_timeout_s=20)
sem = Microscope("MU:Beam:", name="sem")
sem.wait_for_connection(timeout=20)
beam.stage(); eds.stage()
beam.set((1.5, -2.5)).wait(10)
eds.trigger().wait(20)
print(ophyd.cl.name, beam.position, int(eds.read()["eds_counts"]["value"]) > 100)
print(sem.describe()["sem_field_width"]["units"], beam.describe_configuration()["beam_field_width"]["units"])
eds.unstage(); beam.unstage()
"""


def environment(port, layer):
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("EPICS_", "OPHYD_", "PYEPICS_", "PYTHONIO"))
    }
    return {
        **kept, "EPICS_CA_ADDR_LIST": f"127.0.0.1:{port}", "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_REPEATER_PORT": str(free_port()), "OPHYD_CONTROL_LAYER": layer, "PYTHONPATH": str(HELPERS),
    }  # fmt: skip


@pytest.fixture(scope="module")
def serve():
    """``serve(unit)``: the port of an IOC whose positions have that unit."""
    running = {}

    def start(unit):
        if unit not in running:
            port = free_port()
            command = [sys.executable, "-c", IOC, unit, "--object", "pbsn-32", "--prefix", "MU:", "--port", str(port),
                       "--until-eof"]  # fmt: skip
            kept = {k: v for k, v in os.environ.items() if not k.startswith("EPICS_")}
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept
            )
            assert process.stdout.readline().startswith("ready")
            running[unit] = (process, port)
        return running[unit][1]

    yield start
    for process, _ in running.values():
        process.communicate()


@pytest.mark.parametrize("layer", ["pyepics", "caproto"])
@pytest.mark.parametrize("unit", ["um", "µm"])
def test_devices_with_a_micro_sign_of_one_byte_work_under_either_layer(serve, unit, layer):
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        env=environment(serve(unit), layer),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{layer} (1.5, -2.5) True", "µm µm"]


@pytest.mark.parametrize("layer", ["pyepics", "caproto"])
def test_devices_with_positions_in_mm_are_refused(serve, layer):
    code = "import readme_environment\nfrom slads_bluesky.devices import SEMBeam\n"
    code += "SEMBeam('MU:Beam:', name='beam', connection_timeout_s=20).stage()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(serve("mm"), layer),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "beam: MU:Beam:X_RBV is in mm, and must be in µm" in done.stderr


def test_doctor_under_pyepics_finds_the_simulated_microscope(serve, tmp_path):
    code = "import readme_environment\nfrom slads_bluesky.cli import main\n"
    code += f"main(['doctor', '--prefix', 'MU:', '--catalog', {str(tmp_path)!r}, '--timeout', '20'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(serve("µm"), "pyepics"),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "watchdog: the instrument blanks the beam" in done.stdout


def test_units_of_the_simulated_microscope_are_ascii():
    assert all(pv.units.isascii() for pv in list_pvs(""))


@pytest.mark.parametrize("text", ["um", "µm", "μm", "Âµm", " um "])
def test_unit_text_of_any_micrometre_is_one_text(text):
    assert unit_text(text) == "µm"
    assert unit_text("mm") == "mm"
