"""``slads-bluesky view``: the picture of a stored run, and of one that another process is taking."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from slads_bluesky.analysis.load import load_map
from slads_bluesky.callbacks.live.figure import MapFigure
from slads_bluesky.callbacks.live.state import MapState
from slads_bluesky.callbacks.publish.zmq import ZMQPublisher
from slads_bluesky.cli import main
from slads_bluesky.export.colours import PHASE_COLOURS
from slads_bluesky.record import Journal


@pytest.fixture(autouse=True)
def _no_display():
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["view", *map(str, arguments)])
    assert exit_.value.code == 0


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["view", *map(str, arguments)])
    assert exit_.value.code == 2
    return capsys.readouterr().err


def colours_in(picture, figure, name):
    """(rows, columns, 3): colour in the middle of each pixel of a panel, in the picture that was saved."""
    pixels = imread(picture)[..., :3]
    axes = figure.axes[name]
    rows, columns = figure.images[name].get_array().shape
    scale = pixels.shape[1] / figure.figure.bbox.width
    across, down = np.meshgrid((np.arange(columns) + 0.5) / columns, 1 - (np.arange(rows) + 0.5) / rows)
    x, y = axes.transAxes.transform(np.stack([across, down], -1).reshape(-1, 2)).T * scale
    return pixels[pixels.shape[0] - 1 - y.astype(int), x.astype(int)].reshape(rows, columns, 3)


def test_the_saved_picture_shows_the_data_of_the_run(recorded, tmp_path):
    run(
        recorded.uid[:8],
        "--catalog",
        recorded.directory,
        "--save",
        tmp_path / "map.png",
        "--json",
        tmp_path / "f",
    )
    data = load_map([lambda: iter(recorded.documents)])
    figures = json.loads((tmp_path / "f").read_text())
    assert figures["uid"] == recorded.uid
    assert figures["n_measured"] == data.n_measured == 250
    assert figures["exit_status"] == "success"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "map.png"]

    state = MapState(recorded.documents[0][1])
    for name, doc in recorded.documents[1:]:
        state.take(name, doc)
    layout = MapFigure()
    layout.show(state)
    shown = colours_in(tmp_path / "map.png", layout, "measured")
    rebuilt = colours_in(tmp_path / "map.png", layout, "reconstruction")
    expected = np.where(data.measured > 0, data.measured, data.reconstruction)
    inner = (slice(1, -1), slice(1, -1))  # the frame of the panel lies on the outermost pixels
    for label in (1, 2):
        colour = np.array(to_rgb(PHASE_COLOURS[label - 1]))
        for picture, labels in ((shown, data.measured), (rebuilt, expected)):
            found = np.abs(picture - colour).max(axis=-1) < 0.01
            np.testing.assert_array_equal(found[inner], (labels == label)[inner])


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_other_kinds_of_pictures(recorded, tmp_path, suffix):
    run("-1", "--catalog", recorded.directory, "--save", tmp_path / f"map.{suffix}")
    assert (tmp_path / f"map.{suffix}").read_bytes()[:5] in (b"%PDF-", b"<?xml")


def test_a_run_that_another_process_is_taking(recorded, tmp_path):
    """The journal grows in this process; the view follows it in another."""
    documents = list(recorded.documents)
    journal = Journal(tmp_path / "journal")
    for name, doc in documents[:60]:
        journal(name, doc)
    command = [
        sys.executable,
        "-m",
        "slads_bluesky",
        "view",
        recorded.uid,
        "--live",
        "--catalog",
        str(tmp_path),
    ]
    viewer = subprocess.Popen(
        [*command, "--save", str(tmp_path / "map.png"), "--json", str(tmp_path / "f.json")],
        env={**os.environ, "MPLBACKEND": "agg"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 90
    while not (tmp_path / "map.png").exists() and time.monotonic() < limit and viewer.poll() is None:
        time.sleep(0.05)
    first = (tmp_path / "map.png").read_bytes()  # a picture of the run while it is taken
    assert not (tmp_path / "f.json").exists()
    for name, doc in documents[60:]:
        journal(name, doc)
    out, err = viewer.communicate(timeout=90)
    assert viewer.returncode == 0, err
    assert "interrupted" not in out
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["n_measured"] == 250
    assert figures["exit_status"] == "success"
    assert (tmp_path / "map.png").read_bytes() != first


def test_a_run_whose_process_has_died_ends_the_view(recorded, tmp_path, capsys):
    with Journal(tmp_path / "journal") as journal:
        for name, doc in recorded.documents[:80]:
            journal(name, doc)
    run("-1", "--live", "--catalog", tmp_path, "--save", tmp_path / "map.png")
    assert "interrupted" in capsys.readouterr().out
    assert (tmp_path / "map.png").exists()


def test_a_run_over_0mq(recorded, tmp_path):
    from slads_bluesky.devices.sim.ports import free_port

    into, out = free_port(), free_port()
    code = f"from bluesky.callbacks.zmq import Proxy; Proxy('127.0.0.1:{into}', '127.0.0.1:{out}').start()"
    proxy = subprocess.Popen([sys.executable, "-c", code])
    done = threading.Event()

    def emit():
        with ZMQPublisher(f"127.0.0.1:{into}", patience_s=60) as publisher:
            while not done.is_set():  # until the viewer is there to hear it
                for name, doc in recorded.documents:
                    publisher(name, doc)
                publisher.flush()
                done.wait(1)

    emitter = threading.Thread(target=emit)
    emitter.start()
    try:
        run(
            recorded.uid[:6],
            "--zmq",
            f"127.0.0.1:{out}",
            "--save",
            tmp_path / "map.png",
            "--json",
            tmp_path / "f",
        )
    finally:
        done.set()
        emitter.join(30)
        proxy.terminate()
        proxy.wait(10)
    assert json.loads((tmp_path / "f").read_text())["n_measured"] == 250


def test_what_cannot_be_viewed(recorded, tmp_path, capsys):
    where = ["--catalog", recorded.directory]
    assert "--save" in refused(capsys, "-1", *where)
    assert "no/such" in refused(capsys, "-1", *where, "--save", "no/such/folder/x.png")
    assert ".gold" in refused(capsys, "-1", *where, "--save", tmp_path / "x.gold")
    assert "nosuchrun" in refused(capsys, "nosuchrun", *where, "--save", tmp_path / "x.png")
    assert "host:port" in refused(capsys, "-1", "--zmq", "nowhere", "--save", tmp_path / "x.png")
    assert "missing.safetensors" in refused(
        capsys, "-1", *where, "--save", tmp_path / "x.png", "--classifier", "missing.safetensors"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_no_map(tmp_path, capsys):
    from bluesky import RunEngine
    from bluesky.plans import count
    from ophyd.sim import det

    with Journal(tmp_path / "journal") as journal:
        engine = RunEngine({}, context_managers=[])
        engine.subscribe(journal)
        engine(count([det]))
    error = refused(capsys, "-1", "--catalog", tmp_path, "--save", tmp_path / "x.png")
    assert "'count' is no map" in error
    assert not (tmp_path / "x.png").exists()
