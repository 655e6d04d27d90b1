"""Maps taken unattended: a real Redis, a real RE manager, the profile's own startup directory."""

import contextlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq
from watch_page import Served, text_until

from slads_bluesky.errors import InstrumentError
from slads_bluesky.queueing.manager import Manager as Client
from slads_bluesky.queueing.operator import Operator
from slads_bluesky.record import journal_directory, open_catalog, read_journal
from slads_bluesky.record.runs import list_runs
from slads_bluesky.streams import events_by_stream

PROFILE = Path(__file__).parents[2] / "profile"
PATIENCE_S = 200


def _missing(what):
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed here, and CI must try the queue server")
    pytest.skip(f"{what} is not installed here")


def _free_port():
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _answers_at(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(condition, why):
    deadline = time.monotonic() + PATIENCE_S
    while not (result := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{why}: not within {PATIENCE_S} s")
        time.sleep(0.1)
    return result


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = shutil.which("redis-server")
    if server is None:
        _missing("redis-server")
    port = _free_port()
    folder = tmp_path_factory.mktemp("redis")
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with open(folder / "log", "w") as log, subprocess.Popen(command, cwd=folder, stdout=log) as process:
        _wait(lambda: _answers_at(port), "redis")
        yield f"127.0.0.1:{port}"
        process.terminate()


class Manager:
    """A client of the RE manager, and its record."""

    def __init__(self, port, record, log, pid):
        self.port, self.record, self.log, self.pid = port, record, log, pid

    @property
    def worker(self):
        """Process id of the worker: the descendant of the manager that has the catalog's writer as its child."""
        waiting = [self.pid]
        while waiting:
            parent = waiting.pop()
            children = [file.read_text().split() for file in Path(f"/proc/{parent}/task").glob("*/children")]
            for child in map(int, itertools.chain(*children)):
                if b"catalog.follower" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return parent
                waiting.append(child)
        raise AssertionError("no worker")

    def ask(self, method, **parameters):
        """One request by the manager's protocol: JSON-RPC over 0MQ."""
        with zmq.Context() as context, context.socket(zmq.REQ) as client:
            client.linger, client.rcvtimeo = 0, 10000
            client.connect(f"tcp://127.0.0.1:{self.port}")
            client.send_json({"method": method, "params": parameters})
            return client.recv_json()

    def do(self, method, **parameters):
        answer = self.ask(method, **parameters)
        assert answer["success"], answer["msg"] + self.log.read_text()[-3000:]
        return answer

    def add(self, name, **arguments):
        item = {"item_type": "plan", "name": name, "kwargs": arguments}
        return self.ask("queue_item_add", item=item, user="tester", user_group="primary")

    def wait(self, **wanted):
        def reached():
            status = self.ask("status")
            assert status["worker_environment_state"] != "failed", self.log.read_text()
            return all(status[key] == value for key, value in wanted.items())

        return _wait(reached, f"{wanted} of the manager\n{self.log.read_text()[-3000:]}")

    def events(self, n_runs):
        """Points in the journal of the newest of so many runs, as they are being written."""
        runs = list_runs(self.record) if journal_directory(self.record).is_dir() else []
        return sum(name == "event" for name, _ in runs[-1].documents()) if len(runs) == n_runs else 0


@pytest.fixture(scope="module")
def manager(redis, tmp_path_factory, shared_cache, pbsn_models):
    if importlib.util.find_spec("bluesky_queueserver") is None:
        _missing("bluesky-queueserver")
    home = tmp_path_factory.mktemp("queue")
    profile = home / "profile"
    shutil.copytree(PROFILE, profile, ignore=shutil.ignore_patterns("history*", "log", "pid", "security"))
    control, info = _free_port(), _free_port()
    environment = {
        **os.environ, "XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(shared_cache),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    environment.pop("SLADS_INSTRUMENT", None)
    command = [
        str(Path(sys.executable).with_name("start-re-manager")),
        "--startup-dir", str(profile / "startup"), "--redis-addr", redis,
        "--user-group-permissions", str(profile / "user_group_permissions.yaml"),
        "--zmq-control-addr", f"tcp://127.0.0.1:{control}", "--zmq-info-addr", f"tcp://127.0.0.1:{info}",
    ]  # fmt: skip
    log = home / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=home, stdout=output, stderr=output, start_new_session=True
        )
    manager = Manager(control, home / "data" / "slads-bluesky" / "record", log, process.pid)
    try:
        _wait(lambda: process.poll() is not None or _answers(manager), "the RE manager")
        assert process.poll() is None, log.read_text()
        manager.do("environment_open")
        manager.wait(manager_state="idle", worker_environment_state="idle")
        yield manager
        if manager.ask("status")["worker_environment_exists"]:
            manager.do("environment_close")
            manager.wait(worker_environment_exists=False)
        manager.do("manager_stop")
        with contextlib.suppress(subprocess.TimeoutExpired):  # a manager whose worker died may take longer
            process.wait(30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(manager):
    with contextlib.suppress(Exception):
        return manager.ask("status")["manager_state"] == "idle"


def test_the_plans_are_offered_with_limits_defaults_and_descriptions(manager):
    plans = manager.do("plans_allowed", user_group="primary")["plans_allowed"]
    assert set(plans) == {"map_sample", "resume_map", "raster_map", "collect_spectra"}
    for plan in plans.values():
        assert plan["description"]
        assert all(parameter["description"] for parameter in plan["parameters"])
    fraction = next(p for p in plans["map_sample"]["parameters"] if p["name"] == "fraction")
    assert (fraction["default"], fraction["max"]) == ("0.15", "1")


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("map_sample", {"sample": "steel", "fraction": 1.5}, "fraction"),
        ("map_sample", {"sample": "steel", "rows": 9000}, "rows"),
        ("map_sample", {"fraction": 0.1}, "missing a required argument: 'sample'"),
        ("map_sample", {"sample": 7}, "sample"),
        ("map_sample", {"sample": "steel", "frction": 0.1}, "unexpected keyword argument 'frction'"),
        ("collect_spectra", {"phase": "Sn", "positions": [[1, 2, 3]]}, "positions.0"),
        ("adaptive_map", {}, "not in the list of allowed plans"),
    ],
)
def test_a_bad_argument_is_refused_at_the_queue(manager, name, arguments, words):
    answer = manager.add(name, **arguments)
    assert not answer["success"]
    assert words in answer["msg"]
    assert manager.do("queue_get")["items"] == []


def test_a_map_is_queued_paused_resumed_finished_and_found_in_the_catalog(manager):
    assert manager.add("map_sample", sample="Pb-Sn 7", fraction=0.08)["success"]
    manager.do("queue_start")
    _wait(lambda: manager.events(1) > 50, "fifty points")
    manager.do("re_pause", option="immediate")
    manager.wait(manager_state="paused", re_state="paused")
    paused_at = manager.events(1)
    assert 50 < paused_at < 300
    manager.do("re_resume")
    manager.wait(manager_state="idle")
    done = manager.do("history_get")["items"][-1]["result"]
    assert done["exit_status"] == "completed", done
    run = open_catalog(manager.record)[done["run_uids"][0]]
    assert run.start["sample"] == "Pb-Sn 7"
    assert run.stop["exit_status"] == "success"
    pixels = run["primary"]["scan_pixel"].read()
    assert len(pixels) == len(set(pixels.tolist())) == round(0.08 * 64 * 64)


def test_samples_are_mapped_one_after_the_other_unattended(manager):
    before = len(list_runs(manager.record))
    for sample, (x, y) in {"north": (0, -16), "south": (0, 16)}.items():
        answer = manager.add(
            "map_sample", sample=sample, fraction=0.1, rows=16, columns=16, centre_x_um=x, centre_y_um=y
        )
        assert answer["success"], answer["msg"]
    assert manager.add("raster_map", sample="corner", rows=4, columns=5)["success"]
    assert manager.add("collect_spectra", phase="Sn", positions=[[0, 0], [5, 5]], spectra=6)["success"]
    manager.do("queue_start")
    _wait(lambda: len(list_runs(manager.record)) == before + 4, "four runs")
    manager.wait(manager_state="idle")
    assert [item["result"]["exit_status"] for item in manager.do("history_get")["items"][-4:]] == [
        "completed"
    ] * 4
    runs = list_runs(manager.record)[-4:]
    assert [run.start.get("sample", run.start.get("phase")) for run in runs] == [
        "north",
        "south",
        "corner",
        "Sn",
    ]
    assert [run.stop["num_events"]["primary"] for run in runs] == [26, 26, 20, 6]
    assert [run.start["scan_id"] for run in runs] == [before + 1 + i for i in range(4)]
    for run, wanted in zip(runs[:2], (-16, 16), strict=True):
        ys = [
            doc["data"]["beam_y"]
            for name, doc in run.documents()
            if name == "event" and "beam_y" in doc["data"]
        ]
        assert wanted - 8 <= min(ys) < max(ys) <= wanted + 8


def test_a_map_that_was_aborted_is_gone_on_with(manager):
    before = len(list_runs(manager.record))
    assert manager.add("map_sample", sample="cut off", fraction=0.06)["success"]
    manager.do("queue_start")
    _wait(lambda: manager.events(before + 1) > 45, "some points")
    manager.do("re_pause", option="immediate")
    manager.wait(manager_state="paused", re_state="paused")
    manager.do("re_abort")
    manager.wait(manager_state="idle")
    cut_off = list_runs(manager.record)[-1]
    assert cut_off.exit_status == "abort"
    manager.do("queue_clear")  # an aborted plan goes back to the front of the queue
    assert manager.add("resume_map", run=cut_off.uid[:8])["success"]
    manager.do("queue_start")
    manager.wait(manager_state="idle", items_in_queue=0)
    whole = list_runs(manager.record)[-1]
    assert (whole.parent, whole.start["sample"]) == (cut_off.uid, "cut off")
    assert whole.exit_status == "success"
    pixels = []
    for run in (cut_off, whole):
        pixels += {
            doc["data"]["scan_pixel"]
            for name, doc in run.documents()
            if name == "event" and "scan_pixel" in doc["data"]
        }
    assert len(pixels) == len(set(pixels)) == round(0.06 * 64 * 64)


def test_the_worker_is_headless(manager):
    assert "MapProgress" not in manager.log.read_text()
    assert json.loads((manager.record / "metadata.json").read_text())["scan_id"] == len(
        list_runs(manager.record)
    )
    assert next(iter(read_journal(list_runs(manager.record)[-1].source)))[0] == "start"


@pytest.fixture(scope="module")
def page_server(manager, tmp_path_factory):
    log = tmp_path_factory.mktemp("page") / "log"
    server = Served(manager.record, log, "--queue", f"tcp://127.0.0.1:{manager.port}")
    yield server
    server.stop()


def test_operator_checks_queues_and_steers_on_the_page_and_what_they_do_is_in_the_runs(
    manager, page_server, browse
):
    """In Chromium: the form, what does not fit, the preview, the queue, start, pause, resume, abort and stop."""
    before = len(list_runs(manager.record))
    page = browse(page_server.url)
    text_until(page, "#q_state", "idle")
    page.fill("#who", "Ada")
    page.fill("#form input[name=sample]", "too large")
    page.fill("#form input[name=rows]", "256")
    page.fill("#form input[name=columns]", "256")
    page.click("#add")
    text_until(page, "#notice.bad", "does not lie in the field")
    assert manager.do("queue_get")["items"] == []
    operator = Operator(Client(f"tcp://127.0.0.1:{manager.port}"), manager.record)
    with pytest.raises(InstrumentError, match="no map whose phases are found"):
        operator.phase("merge", 3, "Ada", other=1)
    operator.manager.close()
    page.fill("#form input[name=rows]", "0")
    page.click("#check")
    text_until(page, "#notice.bad", "rows must be 1")
    page.fill("#form input[name=rows]", "16")
    page.fill("#form input[name=columns]", "16")
    page.fill("#form input[name=fraction]", "0.1")
    page.click("#check")
    text_until(page, "#before", "26 points")
    first = re.search(r"first +(\d+) pixels", page.locator("#before pre").text_content())
    assert page.locator("#before .mask rect").count() == int(first[1]) > 0
    page.click("#doctor")
    text_until(page, "#before", "journal")
    page.click("#before button[aria-label='Put away']")
    page.wait_for_selector("#before", state="hidden")
    for sample in ("taken out", "first"):
        page.fill("#form input[name=sample]", sample)
        page.click("#add")
        text_until(page, "#q_items", sample)
    page.click("#q_items button[aria-label='Remove taken out']")
    page.wait_for_function("!document.querySelector('#q_items').textContent.includes('taken out')")
    page.click("button[data-act=start]")
    manager.wait(manager_state="idle", items_in_queue=0)
    text_until(page, "#sample", "first")
    page.wait_for_selector("#status.success")
    text_until(page, "#actions", "Ada: start")

    for name in ("rows", "columns"):
        page.fill(f"#form input[name={name}]", "")
    page.fill("#form input[name=fraction]", "0.9")
    for how, ending in (("abort", "abort"), ("stop", "stopped")):
        page.fill("#form input[name=sample]", f"to {how}")
        if how == "stop":
            page.click("#form summary")
            page.fill("#form input[name=phases]", "discover")
        page.click("#add")
        text_until(page, "#q_items", f"to {how}")
        page.click("button[data-act=start]")
        page.wait_for_selector("button[data-act=pause]:not([disabled])")
        text_until(page, "#sample", f"to {how}")
        if how == "stop":
            # new points arrive between press and release, and a warning that would move the button off the mouse
            page.hover("#phases button[aria-label^=Change] >> nth=0")
            page.mouse.down()
            measured = page.evaluate("slads.state.run.n")
            page.wait_for_function("was => slads.state.run.n > was", arg=measured)
            page.evaluate(
                "slads.receive(JSON.stringify({run: {...slads.state.run, warnings: Array(9).fill('moved')}}))"
            )
            page.mouse.up()
            page.wait_for_selector("#phase[open]")
            page.fill("#phase_name", "tin")
            page.click("button[data-phase-act=name]")
            text_until(page, "#phases", "tin")
        page.click("button[data-act=pause]")
        page.wait_for_selector("#q_state.paused")
        if how == "abort":
            page.click("button[data-act=resume]")
            page.wait_for_selector("#q_state.measuring")
        page.click(f"button[data-act={how}]")
        page.wait_for_selector(f"#status.{ending}")
        manager.wait(manager_state="idle")
        manager.do("queue_clear")  # an aborted plan goes back to the front of the queue
    runs = list_runs(manager.record)[before:]
    assert [run.start["sample"] for run in runs] == ["first", "to abort", "to stop"]
    actions = [_actions(run) for run in runs]
    done = [[action["operator_action"] for action in of_run] for of_run in actions]
    assert done == [
        ["queue", "queue", "remove", "start"],
        ["queue", "start", "pause", "resume", "abort"],
        ["queue", "start", "phases", "pause", "stop"],
    ]
    assert {action["operator_who"] for of_run in actions for action in of_run} == {"Ada"}
    assert runs[0].stop["num_events"]["primary"] == 26


def _actions(run):
    return [
        doc["data"]
        for _, stream, doc in events_by_stream(run.documents())
        if stream == "operator" and "data" in doc
    ]


def test_a_worker_that_is_terminated_in_mid_map_closes_its_run_and_ends(manager):
    """The last of these tests: the manager is then asked to forget the worker, as it does for any that died."""
    before = len(list_runs(manager.record))
    assert manager.add("map_sample", sample="terminated", fraction=0.3)["success"]
    manager.do("queue_start")
    _wait(lambda: manager.events(before + 1) > 45, "some points")
    worker = manager.worker
    os.kill(worker, signal.SIGTERM)
    _wait(lambda: list_runs(manager.record)[-1].exit_status != "unfinished", "the stop document")
    cut_off = list_runs(manager.record)[-1]
    assert (cut_off.exit_status, cut_off.stop["reason"]) == ("abort", "SIGTERM received")
    assert cut_off.count_events() == cut_off.stop["num_events"]["primary"]
    status = Path(f"/proc/{worker}/status")
    _wait(lambda: not status.exists() or "State:\tZ" in status.read_text(), "the end of the worker")
    manager.do("environment_destroy")
    manager.wait(worker_environment_exists=False, manager_state="idle")
