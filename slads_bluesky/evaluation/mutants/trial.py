"""One mutant tried: a fork of this process imports the changed module and runs tests on it.

What the tests import from elsewhere is imported once, before the first fork; nothing of this package is.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import resource
import select
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from typing import Any

__all__ = ["KILLED", "SURVIVED", "TIMED_OUT", "preload", "try_mutant"]

KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"

_PRELOADED = ("numpy", "scipy.stats", "numba", "bluesky", "event_model", "msgpack")


_PR_SET_PDEATHSIG = 1
BLOCKED = 5.0
"""How many times the limit of processor time may pass by the clock: tests that wait for each other use none."""


class _Source(SourceFileLoader):
    """A module from a source that is not the one in its file."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> Any:
        """Compile the changed source; no compiled file is read or written."""
        return compile(self._source, self.path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._loader, self._path = name, _Source(name, str(path), source), path

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find the changed module."""
        if fullname != self._name:
            return None
        return spec_from_loader(fullname, self._loader, origin=str(self._path), is_package=False)


def preload() -> None:
    """Import what tests need besides this package."""
    for name in _PRELOADED:
        importlib.import_module(name)


def try_mutant(
    name: str, path: Path, source: str, tests: Sequence[str], limit_s: float, *, compiled: bool = True
) -> tuple[str, float]:
    """Run tests on a changed module in a fork.

    Parameters
    ----------
    name, path, source : str, Path, str
        The module, its file and its changed source.
    tests : sequence of str
        Arguments of pytest.
    limit_s : float
        A mutant that takes more processor time, or `BLOCKED` times as long by the clock, counts as noticed. (By the
        clock alone, what else runs on the machine would decide.)
    compiled : bool
        Whether numba compiles what it is asked to: a minute for each mutant of a module that it compiles itself.

    Returns
    -------
    outcome : str
    cpu_s : float
        Processor time of the process that ran the tests, and of its children that have ended.
    """
    ends, answers = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        _end_with_parent()
        most = math.ceil(limit_s)
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))
        code = 3
        with contextlib.suppress(BaseException):
            code = _run(name, path, source, tests, compiled)
        os.write(answers, bytes([min(code, 255)]))
        os._exit(0)
    os.close(answers)
    try:
        ready, _, _ = select.select([ends], [], [], BLOCKED * limit_s)
        said = os.read(ends, 1) if ready else b""
    finally:
        os.close(ends)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
    out_of_time = not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU)
    outcome = TIMED_OUT if out_of_time else SURVIVED if said == b"\x00" else KILLED
    return outcome, usage.ru_utime + usage.ru_stime


def _end_with_parent() -> None:
    """Let the kernel kill this process with the one that forked it, which may be cut off (Linux; prctl(2))."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(name: str, path: Path, source: str, tests: Sequence[str], compiled: bool) -> int:
    import pytest

    own = [loaded for loaded in sys.modules if loaded.split(".")[0] == "slads_bluesky"]
    for loaded in own:  # this very module among them
        del sys.modules[loaded]
    sys.meta_path.insert(0, _Finder(name, path, source))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    with tempfile.TemporaryDirectory(prefix="slads-mutant-") as scratch:
        if "numba" in sys.modules:
            if "numba" in source:  # its cache knows a module by its file's date, not by what was compiled
                sys.modules["numba"].config.CACHE_DIR = scratch
            sys.modules["numba"].config.DISABLE_JIT = not compiled
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", f"--basetemp={scratch}/tmp"]
        return int(pytest.main([*options, *tests]))
