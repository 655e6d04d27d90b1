"""``slads-bluesky doctor`` over a real IOC, real records and real models, sound and broken."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

from slads_bluesky.cli import main
from slads_bluesky.devices.sim.ports import free_port
from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.instrument.diagnostics import check_record, check_versions
from slads_bluesky.record import Journal, close_catalog, open_catalog

PREFIX = "DOC:"


def invoke(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", *map(str, arguments)])
    return exit_.value.code


def hardware(directory, classifier, *, options="{}", sem="Beam:"):
    """Write the instrument file of a microscope that is the IOC of these tests."""
    file = directory / "instrument.yml"
    file.write_text(
        f"mode: hardware\ngrid: {{shape: [64, 64]}}\nclassifier: {{file: {classifier}}}\n"
        "devices:\n"
        f"  beam: {{class: SEMBeam, prefix: '{PREFIX}Beam:'}}\n"
        f"  eds: {{class: EDSDetector, prefix: '{PREFIX}EDS:mca1', options: {options}}}\n"
        f"  sem: {{class: Microscope, prefix: '{PREFIX}{sem}'}}\n"
        "catalog: {directory: mine}\n"
    )
    return file


@pytest.fixture
def check(tmp_path):
    """Run the command; give its exit code, and its check by their names."""

    def look(*arguments):
        code = invoke("--catalog", tmp_path / "record", *arguments, "--json", tmp_path / "found.json")
        found = json.loads((tmp_path / "found.json").read_text())
        assert found["passed"] == (code == 0) == all(result["passed"] for result in found["checks"])
        assert all(bool(result["hint"]) != result["passed"] for result in found["checks"])
        return code, {result["name"]: result for result in found["checks"]}

    return look


@pytest.fixture(scope="module")
def ioc():
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-64", prefix=PREFIX) as microscope:
        yield microscope


@pytest.fixture(scope="module")
def put(ioc):
    from ophyd import EpicsSignal

    signals = {}

    def set_it(name, value):
        if name not in signals:
            signals[name] = EpicsSignal(
                f"{PREFIX}{name}", name=name.replace(":", "_"), put_complete=True, timeout=20
            )
            signals[name].wait_for_connection(20)
        before = signals[name].get()
        signals[name].set(value).wait(10)
        return before

    yield set_it
    for signal in signals.values():
        signal.destroy()


@pytest.fixture(scope="module")
def classifiers(phantom, tmp_path_factory):
    """A classifier of the detector's axis, and one of another."""
    from slads_bluesky.spectra import EnergyAxis, PhaseClassifier

    folder = tmp_path_factory.mktemp("classifiers")
    axes = {"right": phantom.axis, "wrong": EnergyAxis(0.2, 0.01, 2040), "short": EnergyAxis(0, 0.02, 1000)}
    for name, axis in axes.items():
        made = PhaseClassifier.from_compositions({"tin": "Sn", "lead": "Pb"}, axis)
        made.save(folder / f"{name}.safetensors")
    return folder


def test_an_instrument_that_is_ready(ioc, check, classifiers, capsys):
    code, found = check(
        "--prefix", PREFIX, "--classifier", classifiers / "right.safetensors", "--timeout", 20
    )
    assert code == 0, found
    assert set(found) >= {"versions", "journal", "disk", "classifier", "beam", "eds", "sem", "blanker", "current",
                          "watchdog", "dose", "calibration"}  # fmt: skip
    assert "tin, lead" in found["classifier"]["message"]
    assert "2040 channels" in found["calibration"]["message"]
    assert "all checks passed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["wrong", "short"])
def test_a_classifier_of_another_calibration(ioc, check, classifiers, name):
    code, found = check(
        "--prefix", PREFIX, "--classifier", classifiers / f"{name}.safetensors", "--timeout", 20
    )
    assert code == 1
    assert [what for what, result in found.items() if not result["passed"]] == ["calibration"]
    values = {"wrong": ("-0.05", "0.2"), "short": ("2040", "1000")}[name]
    assert all(value in found["calibration"]["message"] for value in values)


def test_a_beam_of_another_energy_than_the_classifiers(put, check, classifiers):
    arguments = ("--prefix", PREFIX, "--classifier", classifiers / "right.safetensors", "--timeout", 20)
    before = put("Beam:HV", 20.0)
    try:
        code, found = check(*arguments)
    finally:
        put("Beam:HV", before)
    assert code == 1
    assert [what for what, result in found.items() if not result["passed"]] == ["beam energy"]
    assert found["beam energy"]["message"] == "20 kV, the classifier was made for 15 kV"


def test_a_detector_of_another_angle_than_the_classifiers(ioc, tmp_path, classifiers):
    file = hardware(
        tmp_path,
        classifiers / "right.safetensors",
        options="{elevation_angle_deg: 40, energy_resolution_ev: 126}",
    )
    assert invoke("--instrument", file, "--timeout", 20, "--json", tmp_path / "found.json") == 1
    found = {f["name"]: f for f in json.loads((tmp_path / "found.json").read_text())["checks"]}
    assert [what for what, result in found.items() if not result["passed"]] == ["elevation angle"]
    assert "40 °, the classifier was made for 28.5 °" in found["elevation angle"]["message"]
    assert found["resolution"]["passed"]
    file.write_text(file.read_text().replace("_deg: 40", "_deg: 400"))
    assert invoke("--instrument", file, "--timeout", 20) == 2


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("Beam:Blank", 0, "blanker"),
        ("Sim:Trip", 1, "current"),
        ("EDS:mca1.CALQ", 1e-6, "calibration"),
    ],
)
def test_an_instrument_that_is_not(put, check, name, value, what):
    before = put(name, value)
    try:
        code, found = check("--prefix", PREFIX, "--timeout", 20)
    finally:
        put(name, before)
    assert code == 1
    assert [key for key, result in found.items() if not result["passed"]] == [what]


def test_pvs_that_do_not_answer_are_named(ioc, check):
    code, found = check("--prefix", "NOBODY:", "--timeout", 0.5)
    assert code == 1
    assert "NOBODY:Beam:X" in found["beam"]["message"]
    assert "NOBODY:EDS:mca1.CALO" in found["eds"]["message"]
    assert f"127.0.0.1:{ioc.port}" in found["beam"]["hint"]
    assert "calibration" not in found


def test_what_an_instrument_file_names(ioc, tmp_path, classifiers):
    file = hardware(tmp_path, classifiers / "wrong.safetensors", sem="Nowhere:")
    assert invoke("--instrument", file, "--timeout", 5, "--json", tmp_path / "found.json") == 1
    found = {result["name"]: result for result in json.loads((tmp_path / "found.json").read_text())["checks"]}
    assert [what for what, result in found.items() if not result["passed"]] == ["sem", "calibration"]
    assert f"{PREFIX}Nowhere:HV" in found["sem"]["message"]
    assert str(tmp_path / "mine") in found["journal"]["message"]
    assert "hardware" in found["instrument"]["message"]


def test_a_classifier_file_that_is_not_one(check, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of the kind")
    for name in ("bad.safetensors", "missing.safetensors"):
        code, found = check("--classifier", tmp_path / name)
        assert code == 1
        assert name in found["classifier"]["message"]


def test_a_proxy(check):
    into, out = free_port(), free_port()
    code, found = check("--zmq", f"127.0.0.1:{into}", "--timeout", 0.3)
    assert code == 1
    assert str(into) in found["0MQ proxy"]["message"]
    start = f"from bluesky.callbacks.zmq import Proxy; Proxy('127.0.0.1:{into}', '127.0.0.1:{out}').start()"
    proxy = subprocess.Popen([sys.executable, "-c", start])
    try:
        code, found = check("--zmq", f"127.0.0.1:{into}", "--timeout", 60)
    finally:
        proxy.terminate()
        proxy.wait(10)
    assert code == 0
    assert found["0MQ proxy"]["passed"]


# ---- the record


def by_name(results):
    return {result.name: result for result in results}


def test_a_record_that_is_not_there_yet_leaves_nothing_behind(tmp_path):
    found = by_name(check_record(tmp_path / "new" / "record"))
    assert found["journal"].passed
    assert "will be made" in found["journal"].message
    assert list(tmp_path.iterdir()) == []


def test_a_record_in_use(recorded, tmp_path):
    with Journal(tmp_path / "journal") as journal:
        for name, doc in recorded.documents:
            journal(name, doc)
    close_catalog(open_catalog(tmp_path))
    with Journal(tmp_path / "journal") as journal:  # a run that was cut off
        for name, doc in recorded.documents[:30]:
            journal(
                name, {key: "x" + value[1:] if value == recorded.uid else value for key, value in doc.items()}
            )
    before = sorted(path.name for path in (tmp_path / "journal").iterdir())
    found = by_name(check_record(tmp_path))
    assert all(result.passed for result in found.values()), found
    assert "2 runs can be read; 1 were interrupted" in found["runs"].message
    assert "x" + recorded.uid[1:8] in found["runs"].message
    assert "1 run; 1 more" in found["catalog"].message
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == before


def test_a_record_that_is_damaged(recorded, tmp_path):
    with Journal(tmp_path / "journal") as journal:
        for name, doc in recorded.documents:
            journal(name, doc)
    (tmp_path / "journal" / "foreign.msgpack").write_bytes(b"\x00" * 100)
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "catalog.db").write_bytes(b"not a database at all" * 100)
    found = check_record(tmp_path)
    wrong = [result for result in found if not result.passed]
    assert [result.name for result in wrong] == ["journal", "catalog"]
    assert "foreign.msgpack" in wrong[0].message
    assert "rebuilt from the journal" in wrong[1].hint


@pytest.mark.parametrize("where", ["/proc/record", "file"])
def test_a_record_that_cannot_be_written(tmp_path, where):
    (tmp_path / "file").write_text("mine")
    found = check_record(tmp_path / where)
    assert [(result.name, result.passed) for result in found] == [("journal", False)]


# ---- versions


def test_versions_as_installed():
    (found,) = check_versions()
    assert found.passed
    assert f"slads-bluesky {importlib.metadata.version('slads-bluesky')}" in found.message


def test_a_package_that_is_missing_and_one_that_is_too_old(tmp_path, monkeypatch):
    about = tmp_path / "wanting-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: wanting\nVersion: 1.0\nRequires-Python: >=4\n"
        "Requires-Dist: numpy>=999\nRequires-Dist: no-such-package-at-all\nRequires-Dist: scipy\n"
        'Requires-Dist: not-asked-for; extra == "more"\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = by_name(check_versions("wanting"))
    assert set(found) == {"Python", "numpy", "no-such-package-at-all"}
    assert not any(result.passed for result in found.values())
    assert ">=999" in found["numpy"].message
    assert "pip install" in found["numpy"].hint


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--timeout", "0"], "--timeout"),
        (["--prefix", "a b"], "a b"),
        (["--prefix", "A:", "--instrument", "x.yml"], "--instrument"),
        (["--instrument", "nosuch.yml"], "nosuch.yml"),
        (["--zmq", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_checked(tmp_path, capsys, arguments, culprit):
    assert invoke("--catalog", tmp_path, *arguments) == 2
    assert culprit in capsys.readouterr().err
