"""What all tests share: one cache of trained models a session, and the order of their files."""

import faulthandler
import os
import shutil
import signal
import sys
from pathlib import Path

# before numpy and torch are loaded anywhere, here and in the processes that the tests start: the tests' workers are
# what keeps the cores busy, and threads that spin while they wait starve them
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

if (
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
):  # nohup's, which the processes that are sent it would inherit
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

if (
    os.environ.get("OPHYD_CONTROL_LAYER") == "pyepics"
):  # before anything makes a connection: see `reserve_ports`
    from slads_bluesky.devices.sim.process import reserve_ports

    reserve_ports(8)

import pytest
from hypothesis import settings

# SlipCover's probes (`bench coverage`) stay where they are: to take them out in the middle of a run, it reads the
# locals of every frame of every thread, which keeps alive what they refer to, and replaces code that is being run
probes = getattr(sys.modules.get("slipcover.pytest_plugin"), "_slipcover_instance", None)
if probes is not None:
    probes.d_miss_threshold = -1

settings.register_profile("no clock", deadline=None)  # no test fails because a machine is busy
settings.load_profile("no clock")

MAY_BE_SKIPPED = (
    "SLADS_TEST_DATA", "no spectra of several detectors", "no light elements", "no minerals",  # data, not committed
    "bluesky-kafka is installed",  # a test of its absence
    "no Qt here",  # hundreds of megabytes; the same test runs with Tk
)  # fmt: skip
"""In the reasons of skips that are fine in CI."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped test is a failed one: there, every program and package that a test wants is installed."""
    report = yield
    if report.skipped and os.environ.get("CI") in ("1", "true") and not hasattr(report, "wasxfail"):
        reason = str(call.excinfo.value) if call.excinfo else ""
        if not any(word in reason for word in MAY_BE_SKIPPED):
            report.outcome, report.longrepr = "failed", f"skipped, which CI does not allow: {reason}"
    return report


GRACE_S = 120
"""After its timeout, at which pytest-timeout fails a test, once, a test that still goes on ends its process."""

hang_log = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Let xdist take the files in our order, not by their numbers of tests, which say nothing of their time."""
    config.stash[hang_log] = os.dup(2)  # while nothing is captured
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    """End a process that hangs, with the stacks of its threads; xdist then names the test and goes on.

    The failure that pytest-timeout raises can be swallowed, or be followed by a cleanup that waits for ever.
    """
    return (yield from _ended_if_it_hangs(item))


pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """End a process that does not end: a thread that someone left behind is waited for without a limit."""
    faulthandler.dump_traceback_later(GRACE_S, exit=True, file=session.config.stash[hang_log])


def _ended_if_it_hangs(item):
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker is not None else float(item.config.getini("timeout"))
    faulthandler.dump_traceback_later(limit + GRACE_S, exit=True, file=item.config.stash[hang_log])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Put files that last first: a worker that begins one when the other has nothing left to do is waited for."""
    lasting = {}
    for item in items:
        lasting[item.path] = lasting.get(item.path, 0) + (item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: -lasting[item.path])


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """Folder that all processes of this test session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def shared_cache(session_folder):
    """Directory for XDG_CACHE_HOME: what one test has trained, the next one finds, in another process too.

    SLADS_TEST_CACHE names one that is kept between sessions; a model is trained again when its code changes.
    """
    cache = Path(os.environ.get("SLADS_TEST_CACHE") or session_folder / "cache")
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def pbsn_models(shared_cache):
    """Models for ``pbsn-64``, by the paper's method."""
    from slads_bluesky.simulation.models import prepare_models

    return prepare_models("pbsn-64", cache=shared_cache / "slads-bluesky" / "models")


@pytest.fixture(scope="session")
def model_cache(session_folder, shared_cache):
    """Cache of the models of `maps.take_map`, and of nothing else."""
    from slads_bluesky.simulation.models import prepare_models

    shared = shared_cache / "slads-bluesky" / "models"
    folder = session_folder / "map-models"
    folder.mkdir(exist_ok=True)
    prepare_models("pbsn-48", sampler="learned", cache=shared)  # the classifier is one for all sizes
    for path in shared.glob("paper-classifier-pbsn-*.safetensors"):
        if not (folder / path.name).exists():
            shutil.copy(path, folder / f".{os.getpid()}-{path.name}").rename(folder / path.name)
    return folder
