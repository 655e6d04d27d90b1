"""The live view in a real window, on a screen of its own; skipped where neither a virtual screen nor Tk is."""

import os
import subprocess
import sys
import threading

import pytest
import small_map

from slads_bluesky.record import Journal


def started(script, screen, *arguments, **more):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, env=screen, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )


WHILE_A_PLAN_RUNS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from bluesky import RunEngine
from small_map import FirstLook, make_agent
from slads_bluesky.callbacks.live import LiveView
from slads_bluesky.callbacks.windows import ResponsiveWindows
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.phantom import make_object
from slads_bluesky.plans.adaptive import adaptive_map

phantom = make_object("pbsn-64")
beam, eds, sem = soft_microscope(phantom, FirstLook(phantom))
engine = RunEngine({}, context_managers=[], during_task=ResponsiveWindows())
view, drawn, pictures = LiveView(window=True, share=1.0), threading.Event(), []
show = view.figure.show

def spy(state):
    show(state)
    pictures.append((state.n_measured, threading.current_thread() is threading.main_thread()))
    drawn.set()

def wait_once(name, doc):
    if name == "event" and view.state.n_measured == 100:
        assert drawn.wait(60)  # the plan waits: a window that stands still would never draw

view.figure.show = spy
engine.subscribe(view)
engine.subscribe(wait_once)
engine(adaptive_map(beam, eds, make_agent(phantom, 200), dwell_s=1.0))
assert view.flush()
assert view.off == "", view.off
print(0 < pictures[0][0] <= 100, pictures[-1][0], all(main for _, main in pictures))
"""


def test_a_window_grows_while_the_plan_runs(screen):
    helpers = os.path.dirname(small_map.__file__)
    with started(WHILE_A_PLAN_RUNS, screen, helpers) as process:
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert output.splitlines()[-1] == "True 200 True"


ANOTHER_PROCESS = """
import sys
import matplotlib.pyplot as plt
from slads_bluesky.cli import main

show = plt.show

def show_a_moment(block=None):
    if block is False:  # as plt.pause asks while a run is followed
        return show(block=False)
    figure = plt.gcf()
    figure.savefig(sys.argv[1])
    timer = figure.canvas.new_timer(interval=300)
    timer.add_callback(lambda: plt.close("all"))
    timer.start()
    show()  # until the window is closed

plt.show = show_a_moment
print("looking", flush=True)
main(["view", *sys.argv[2:]])
"""


@pytest.mark.parametrize("live", [True, False])
def test_a_window_of_its_own_for_a_run(screen, recorded, tmp_path, live):
    """A run that another process takes is followed to its end; a stored one is there at once."""
    record, part = tmp_path / "record", threading.Event()
    with Journal(record / "journal") as journal:
        for name, doc in recorded.documents[:100]:
            journal(name, doc)
        if not live:
            for name, doc in recorded.documents[100:]:
                journal(name, doc)
        how = ["--live"] if live else []
        arguments = (
            tmp_path / "seen.png",
            recorded.uid[:8],
            "--catalog",
            record,
            *how,
            "--json",
            tmp_path / "f",
        )
        with started(ANOTHER_PROCESS, screen, *arguments) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "looking\n"
            if live:
                part.wait(2.0)  # let it look at a run that stands still for a moment
                for name, doc in recorded.documents[100:]:
                    journal(name, doc)
            output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert '"n_measured": 250' in (tmp_path / "f").read_text()
    assert (tmp_path / "seen.png").stat().st_size > 20000
