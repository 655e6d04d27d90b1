"""What IPython's prompt needs besides names: bluesky's magics, windows, and errors in one line."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

from ..callbacks.headless import is_headless
from ..errors import SladsError

__all__ = ["describe_error", "end_process", "prepare_prompt"]

PAUSED = "paused: RE.resume() continues; RE.stop(), RE.abort('why') or RE.halt() end the run"


def prepare_prompt() -> None:
    """Register bluesky's magics (``%wa``, ``%mov``, ``%movr``), show errors without a traceback, allow windows.

    Does nothing where there is no prompt: in a queue server's worker, in a script.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or is_headless():
        return
    from bluesky.magics import BlueskyMagics

    shell.register_magics(BlueskyMagics)
    shell.set_custom_exc(_shown_in_a_line(), _in_a_line)
    logging.getLogger("bluesky").addFilter(_is_news)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        try:
            shell.enable_matplotlib()
        except (ImportError, RuntimeError) as error:
            print(f"no windows: {error}")  # noqa: T201


def describe_error(error: BaseException) -> str:
    """One line for an error at the prompt; of a failed status the device's error, of a paused plan what to do."""
    from bluesky.utils import FailedStatus, RunEngineInterrupted

    while isinstance(error, FailedStatus) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, RunEngineInterrupted):
        return PAUSED
    text = " ".join(str(error).split("\n\n")[0].split()) if not isinstance(error, SladsError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _shown_in_a_line() -> tuple[type[BaseException], ...]:
    """Errors whose message is all that a user needs: ours, and those of ophyd and bluesky on instrument and plan."""
    from bluesky.run_engine import TransitionError  # type: ignore[attr-defined]
    from bluesky.utils import (
        FailedPause,
        FailedStatus,
        IllegalMessageSequence,
        RampFail,
        RunEngineInterrupted,
    )
    from ophyd.utils.errors import OpException

    return (
        SladsError, FailedStatus, RunEngineInterrupted, IllegalMessageSequence, FailedPause, RampFail,
        TransitionError, OpException,
    )  # fmt: skip


def _is_news(record: logging.LogRecord) -> bool:
    """Whether the prompt does not show it anyway: of an aborted run it shows the error, once and in one line."""
    return record.msg != "Run aborted"


def _in_a_line(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, **_: Any) -> None:
    """Show an error that a user can fix as one line; ``%tb`` still shows the traceback."""
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    print(describe_error(error))  # noqa: T201 (the prompt is where it belongs)


def end_process(number: int) -> None:
    """Let the process end after a signal has closed its run, where an exception alone would not.

    A queue server's worker reports every exception of a plan and lives on; IPython returns to its prompt.
    """
    if is_headless():
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    elif "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        shell.ask_exit()
