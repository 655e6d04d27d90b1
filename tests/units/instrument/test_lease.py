"""The lock file of an instrument that cannot tell its users apart, between real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slads_bluesky.errors import InstrumentError
from slads_bluesky.instrument.lease import FileLease

HOLDER = """
import sys
from pathlib import Path
from slads_bluesky.instrument.lease import FileLease
lease = FileLease(Path(sys.argv[1]), "soft")
lease.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_file_lease_of_another_process_is_refused_until_it_is_killed(holder, tmp_path):
    lease = FileLease(tmp_path, "soft")
    with pytest.raises(InstrumentError, match=f"soft: the instrument is in use by process {holder.pid} of "):
        lease.acquire()
    another = FileLease(tmp_path, "SEM:Beam:")
    another.acquire()
    another.release()
    holder.kill()
    holder.wait()
    lease.acquire()
    lease.acquire()
    lease.release()
    lease.release()


def test_file_lease_is_held_while_a_plan_is_paused(tmp_path, soft_engine):
    from bluesky.utils import Msg, RunEngineInterrupted

    def pausing():
        yield Msg("checkpoint")
        yield Msg("pause")
        yield Msg("null")

    engine, other = soft_engine(tmp_path), soft_engine(tmp_path)
    with pytest.raises(RunEngineInterrupted):
        engine(pausing())
    with pytest.raises(InstrumentError, match="in use"):
        other([Msg("null")])
    engine.resume()
    other([Msg("null")])


@pytest.fixture
def soft_engine():
    from slads_bluesky.plans.engine import BeamSafeEngine

    def make(directory):
        engine = BeamSafeEngine({}, context_managers=[])
        engine.lease = FileLease(directory, "soft")
        return engine

    return make
