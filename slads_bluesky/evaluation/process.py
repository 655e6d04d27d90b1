"""A function, or a module as a program, in a process of its own: its memory and its time are its own figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ..errors import InstrumentError

__all__ = ["forget_peak", "in_own_process", "run_module"]

P = ParamSpec("P")
T = TypeVar("T")


def in_own_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a fresh process and wait for it; what it raises is raised here.

    Parameters
    ----------
    function : callable
        Of a module's top level, with arguments and a result that can be pickled.
    *args, **kwargs
        Its arguments.

    Raises
    ------
    InstrumentError
        If the process died, as one does that is out of memory.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise InstrumentError(f"the process of {function.__name__}{args} died") from error


def run_module(module: str, *arguments: str) -> dict[str, Any]:
    """Run ``python -m module`` and return the JSON object that it prints as its last line.

    Parameters
    ----------
    module : str
        Full name of a module with a ``__main__`` part.
    *arguments : str
        Its command line.

    Returns
    -------
    dict

    Raises
    ------
    InstrumentError
        With the last line that the program wrote to stderr, if it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise InstrumentError(f"{module}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _end_with_parent() -> None:
    """Let this process end when its parent has, however that ended: nobody would take its result."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def forget_peak() -> None:
    """Let the peak of this process's memory (`memory.peak_rss_mb`) count from now on, where the kernel can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
