"""What all tests share: one cache of trained models a session."""

import os
from pathlib import Path

# before torch is loaded anywhere: threads that spin while they wait starve the processes that the tests start
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if (
    os.environ.get("OPHYD_CONTROL_LAYER") == "pyepics"
):  # before anything makes a connection: see `reserve_ports`
    from slads_bluesky.devices.sim.process import reserve_ports

    reserve_ports(8)

import pytest
from hypothesis import settings

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


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Directory for XDG_CACHE_HOME: what one test has trained, the next one finds, in another process too.

    SLADS_TEST_CACHE names one that is kept between sessions; a model is trained again when its code changes.
    """
    if kept := os.environ.get("SLADS_TEST_CACHE"):
        return Path(kept)
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def pbsn_models(shared_cache):
    """Models for ``pbsn-64``, by the paper's method."""
    from slads_bluesky.simulation.models import prepare_models

    return prepare_models("pbsn-64", cache=shared_cache / "slads-bluesky" / "models")
