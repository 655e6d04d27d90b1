"""A function in a process of its own: its memory is its own figure, and nothing of one trial reaches the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import ParamSpec, TypeVar

from ...errors import InstrumentError

__all__ = ["forget_peak", "in_own_process"]

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
