"""What the documents' blocks meet: the world before, while and after a command, and what must be seen then."""

import re
import subprocess

import zmq
from readme_reader import wait

from slads_bluesky.record.runs import list_runs


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


def have_a_run(reader):
    """A reader who looks at runs has one."""
    if not list((reader.home / "data").rglob("journal/*.msgpack")):
        command = ["slads-bluesky", "demo", "pbsn-32", "--soft", "--fraction", "0.1"]
        subprocess.run(
            command, env=reader.environment, cwd=reader.home, check=True, capture_output=True, timeout=240
        )


def slow_down(reader):
    """Let a spectrum of 10 s take 10 ms, so that a map lasts longer than typing does."""
    path = reader.home / "profile" / "instrument.yml"
    text = path.read_text()
    assert "  time_scale: 0 " in text
    path.write_text(text.replace("  time_scale: 0 ", "  time_scale: 0.001 "))


def some_points(reader):
    """Wait until the run that is being taken has thirty points."""

    def there():
        runs = record(reader)
        if not runs or runs[-1].stop is not None:
            return False
        return sum(name == "event" for name, _ in runs[-1].documents()) > 30

    wait(there, lambda: f"30 points; {manager('status')}")


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


# ---- what must be seen after some of the blocks


def _by_hand(reader):
    assert re.search(r"SEM:EDS:mca1\.ELTM\s+\[?2\.?0?\]?", reader.said), reader.said


def _ten_lines(reader):
    answer = reader.ask(
        "dict(uid=uid, found=run.start['uid'], sample=run.start['sample'], operator=run.start['operator'], "
        "spectra=spectra.shape, shape=data.reconstruction.shape, n=data.n_measured, passed=bool(passed), "
        "at=beam.position, layer=type(beam).__name__, scan_ids=[run.start['scan_id'], RE.md['scan_id']], names=["
        "n for n in 'RE db bec beam eds sem x y make_agent adaptive_map list_map bps bp'.split() if n in globals()])"
    )
    assert answer["found"] == answer["uid"]
    assert (answer["sample"], answer["operator"]) == ("Pb-Sn 7", "Ada")
    assert answer["n"] == round(0.06 * 64 * 64)
    assert (answer["spectra"], answer["shape"]) == ([answer["n"], 2040], [64, 64])
    assert answer["passed"]
    assert answer["at"] == [10.0, -5.0]  # a map leaves the beam where it found it
    assert answer["layer"] == "SEMBeam"
    assert answer["scan_ids"][0] == answer["scan_ids"][1]
    assert len(answer["names"]) == 13
    assert reader.said.count(f"ID: '{answer['uid']}'") == 2  # shown when taken, and when replayed
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


BEFORE = {
    "start-re-manager": slow_down,
    **dict.fromkeys(
        (
            "slads-bluesky runs",
            "slads-bluesky view -1 --save",
            "slads-bluesky estimate",
            "slads-bluesky export",
            "slads-bluesky profile",
            "slads-bluesky quantify",
            "slads-bluesky replay",
            "slads-bluesky report",
            "slads-bluesky show",
        ),
        have_a_run,
    ),
}
MEANWHILE = {"slads-bluesky view -1 --zmq": take_a_map}
AFTER = {
    "qserver environment open": until(worker_environment_state="idle"),
    "qserver queue start": some_points,
    "qserver re pause": until(re_state="paused"),
    "qserver re resume": finish_the_queue,
}

SEEN = {
    "$ slads-bluesky simulate": _files("figures.json"),
    "$ export EPICS_CA_ADDR_LIST": _by_hand,
    "%wa": _ten_lines,
    "RE(collect_spectra": _collected,
    "$ qserver environment open": _queued,
    "$ slads-bluesky export": _files("map.npz", "map.nxs", "map.html"),
    "$ slads-bluesky view -1 --save": _files("map.png"),
    "$ slads-bluesky estimate": _all_is_well,
    "$ bluesky-0MQ-proxy": _files("live.png"),
    "$ slads-bluesky train sampler": _files("sampler.safetensors"),
    "$ slads-bluesky train classifier": _files("classifier.safetensors"),
}


def look(block, reader):
    """Check what must be seen after a block."""
    for start, seen in SEEN.items():
        if block.first.startswith(start):
            seen(reader)
    if "--verify" in block.text:
        assert "the same again" in reader.said
