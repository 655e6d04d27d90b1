"""README.md is done as it stands: every block is run, in order, in one folder, or stands in a list with a reason.

What a reader would have at hand (images, a Redis) is laid out before; where a reader would wait for something or do
something else meanwhile, so does this test.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import tifffile
import typer
import zmq
from readme_blocks import README, blocks, spans
from readme_reader import Reader, answers_at, wait

from slads_bluesky.cli import app
from slads_bluesky.devices.sim.ports import free_port
from slads_bluesky.phantom import make_labels
from slads_bluesky.record.runs import list_runs

TEXT = README.read_text(encoding="utf-8")
BLOCKS = blocks(TEXT)

NOT_RUN = {
    "$ python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e . && .venv/bin/slads-bluesky demo":
    "an installation from nothing, which .ci/run makes; test_demo.py runs the demo",
    "$ python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest -n 2 "
    "--dist loadfile":
    "these very tests; .ci/run takes the command from the README",
}  # fmt: skip
"""First lines of the blocks that are not run, each with the reason; their commands are parsed all the same."""


def parse(arguments):
    """Let the command line parse arguments without doing anything; an error tells what is wrong with them."""
    group = typer.main.get_command(app)
    context, rest = group.make_context("slads-bluesky", list(arguments)), list(arguments)
    command = group
    while hasattr(command, "resolve_command") and rest:
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
    return context


def manager(method):
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger, client.rcvtimeo = 0, 10000
        client.connect("tcp://127.0.0.1:60615")
        client.send_json({"method": method, "params": {}})
        return client.recv_json()


def until(**wanted):
    """Wait until the RE manager is in a state."""

    def reached(reader):
        def there():
            status = manager("status")
            assert status["worker_environment_state"] != "failed", (
                reader.home / "server-60615.log"
            ).read_text()
            return all(status[key] == value for key, value in wanted.items())

        wait(there, lambda: f"{wanted} of the manager; {manager('status')}")

    return reached  # fmt: skip


def record(reader):
    return list_runs(reader.home / "data" / "slads-bluesky" / "record")


def slow_down(reader):
    """Let a spectrum of 10 s take 10 ms, so that a map lasts longer than typing does."""
    path = reader.home / "profile" / "instrument.yml"
    text = path.read_text()
    assert "  time_scale: 0 " in text
    path.write_text(text.replace("  time_scale: 0 ", "  time_scale: 0.001 "))


def some_points(reader):
    before = len(record(reader))
    wait(
        lambda: (
            len(runs := record(reader)) >= before
            and runs[-1].stop is None
            and sum(name == "event" for name, _ in runs[-1].documents()) > 30
        ),
        lambda: f"30 points; {manager('status')}",
    )


def finish_the_queue(reader):
    until(manager_state="idle", items_in_queue=0)(reader)
    results = [item["result"]["exit_status"] for item in manager("history_get")["items"]]
    assert results == ["completed", "completed"]
    manager("environment_close")
    until(worker_environment_exists=False)(reader)
    manager("manager_stop")


def take_a_map(reader, shell):
    """Somebody else maps a sample while this shell looks on."""
    wait(lambda: "waiting at" in shell.said, lambda: shell.said)
    session = reader.open_ipython(".venv/bin/ipython --profile-dir=profile")
    reader.type_to(session, "RE(map_sample('watched', fraction=0.03))")
    session.type("exit")
    session.leave()


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    for what, there in {"redis-server": shutil.which("redis-server"),
                        "bluesky-queueserver": importlib.util.find_spec("bluesky_queueserver")}.items():  # fmt: skip
        if not there and os.environ.get("CI") == "true":
            pytest.fail(f"{what} is not installed here, and CI must try the queue server")
        if not there:
            pytest.skip(f"{what} is not installed here")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with open(folder / "told", "w") as told, subprocess.Popen(command, cwd=folder, stdout=told) as process:
        wait(lambda: answers_at(port), (folder / "told").read_text)
        config = folder / "manager.yml"  # the machine's own Redis at the usual port is nobody's toy
        config.write_text(f"network: {{redis_addr: '127.0.0.1:{port}'}}\n")
        yield config
        process.terminate()


@pytest.fixture(scope="module")
def reader(tmp_path_factory, shared_cache, pbsn_models):
    home = tmp_path_factory.mktemp("readme")
    for seed, name in enumerate(("map.npy", "other.npy", "field1.npy", "field2.npy")):
        np.save(home / name, make_labels("pbsn", 32, seed, "train"))
    for seed, name in enumerate(("bse1.tif", "bse2.tif")):
        labels, noise = make_labels("powder", 32, seed, "train") % 3, np.random.default_rng(seed)
        tifffile.imwrite(home / name, (60 + 60 * labels + noise.normal(0, 8, labels.shape)).astype(np.uint8))
    reading = Reader(
        home,
        shared_cache,
        before={"start-re-manager": slow_down},
        meanwhile={"slads-bluesky view -1 --zmq": take_a_map},
        after={
            "qserver environment open": until(worker_environment_state="idle"),
            "qserver queue start": some_points,
            "qserver re pause": until(re_state="paused"),
            "qserver re resume": finish_the_queue,
        },
    )
    yield reading
    reading.leave()


# ---- what is to be seen after some of the blocks


def _by_hand(reader):
    assert re.search(r"SEM:EDS:mca1\.ELTM\s+\[?2\.?0?\]?", reader.said), reader.said


def _ten_lines(reader):
    told = reader.ask(
        "dict(uid=uid, found=run.start['uid'], sample=run.start['sample'], operator=run.start['operator'], "
        "spectra=spectra.shape, shape=data.reconstruction.shape, n=data.n_measured, passed=bool(passed), "
        "at=beam.position, layer=type(beam).__name__, scan_ids=[run.start['scan_id'], RE.md['scan_id']], names=["
        "n for n in 'RE db bec beam eds sem x y make_agent adaptive_map list_map bps bp'.split() if n in globals()])"
    )
    assert told["found"] == told["uid"]
    assert (told["sample"], told["operator"]) == ("Pb-Sn 7", "Ada")
    assert told["n"] == round(0.06 * 64 * 64)
    assert (told["spectra"], told["shape"]) == ([told["n"], 2040], [64, 64])
    assert told["passed"]
    assert told["at"] == [10.0, -5.0]  # a map leaves the beam where it found it
    assert told["layer"] == "SEMBeam"
    assert told["scan_ids"][0] == told["scan_ids"][1]
    assert len(told["names"]) == 13
    assert reader.said.count(f"ID: '{told['uid']}'") == 2  # shown when taken, and when replayed
    assert "beam_x" in reader.said  # %wa


def _collected(reader):
    assert (reader.home / "ours.safetensors").exists()
    assert "looks like" not in reader.said  # no spectrum of another phase than said


def _queued(reader):
    runs = record(reader)[-2:]
    assert [run.start["sample"] for run in runs] == ["Pb-Sn 7", "Pb-Sn 8"]
    assert [run.stop["num_events"]["primary"] for run in runs] == [410, 154]


def _files(*names):
    def there(reader):
        for name in names:
            assert (reader.home / name).stat().st_size > 300

    return there


def _all_is_well(reader):
    assert "all checks passed" in reader.said
    _files("map.png")(reader)


SEEN = {
    "$ slads-bluesky simulate": _files("figures.json"),
    "$ export EPICS_CA_ADDR_LIST": _by_hand,
    "%wa": _ten_lines,
    "RE(collect_spectra": _collected,
    "$ qserver environment open": _queued,
    "$ slads-bluesky runs": _files("map.npz", "map.html"),
    "$ slads-bluesky view": _all_is_well,
    "$ bluesky-0MQ-proxy": _files("live.png"),
    "$ slads-bluesky train sampler": _files("sampler.safetensors"),
    "$ slads-bluesky train classifier": _files("classifier.safetensors"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", [b for b in BLOCKS if b.first not in NOT_RUN], ids=str)
def test_a_block_does_what_it_says(block, reader, request):
    if "start-re-manager" in block.text:
        reader.environment["QSERVER_CONFIG"] = str(request.getfixturevalue("redis"))
    reader.read(block)
    for start, look in SEEN.items():
        if block.first.startswith(start):
            look(reader)


# ---- what is not run


@pytest.mark.parametrize("first", NOT_RUN)
def test_what_is_not_run_would_be_understood(first):
    block = next(block for block in BLOCKS if block.first == first)
    extras = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in (part for line in block.commands for part in line.split(" && ")):
        program, *arguments = shlex.split(command)
        name = program.removeprefix(".venv/bin/")
        if name == "slads-bluesky":
            parse(arguments)
            continue
        for extra in re.findall(r"\[(\w+)\]", command):
            assert extra in extras
        module = arguments[1] if arguments[0] == "-m" else name
        rest = arguments[2:] if arguments[0] == "-m" else arguments
        asked = [sys.executable, "-m", module, *rest, "--help"]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=README.parent, timeout=120)
        assert done.returncode == 0, done.stderr


def test_the_list_of_what_is_not_run_has_nothing_that_is_gone():
    assert set(NOT_RUN) <= {block.first for block in BLOCKS}
    assert {block.language for block in BLOCKS} == {"console", "python", "yaml"}


def test_every_command_that_the_text_names_is_one():
    named = [span for span in spans(TEXT) if span.startswith("slads-bluesky ")]
    assert named
    for span in named:
        words = shlex.split(span)[1:]
        if words[-1] != "…":
            parse(words)


def test_the_reference_names_every_command():
    table = TEXT.split("| command |")[1].split("\n\n")[0]
    rows = re.findall(r"`([\w …]+)`", table)
    group = typer.main.get_command(app)
    assert {row.split()[0] for row in rows} == set(group.commands)
    trained = {row.split()[1] for row in rows if row.startswith("train ")}
    assert trained == set(group.commands["train"].commands)


def test_blocks_are_found_with_their_sections():
    found = blocks("# T\n\n```console\n$ echo new\n```\n\n## U\n\n```yaml\na: 1\n```\n")
    assert [(b.language, b.section, b.line, b.first) for b in found] == [
        ("console", "T", 3, "$ echo new"),
        ("yaml", "U", 9, "a: 1"),
    ]
    assert found[0].commands == ["echo new"]
