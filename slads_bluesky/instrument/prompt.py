"""What IPython's prompt needs besides names: bluesky's magics, and our errors as one line."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..callbacks.headless import is_headless
from ..errors import SladsError

__all__ = ["prepare_prompt"]


def prepare_prompt() -> None:
    """Register bluesky's magics (``%wa``, ``%mov``, ``%movr``), show our errors without a traceback, allow windows.

    Does nothing where there is no prompt: in a queue server's worker, in a script.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or is_headless():
        return
    from bluesky.magics import BlueskyMagics

    shell.register_magics(BlueskyMagics)
    shell.set_custom_exc((SladsError,), _in_a_line)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        try:
            shell.enable_matplotlib()
        except (ImportError, RuntimeError) as error:
            print(f"no windows: {error}")  # noqa: T201


def _in_a_line(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, **_: Any) -> None:
    """Show an error that a user can fix as one line; ``%tb`` still shows the traceback."""
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    print(f"{kind.__name__}: {error}")  # noqa: T201 (the prompt is where it belongs)
