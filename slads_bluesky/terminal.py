"""Consoles for text that comes from a record: printed as it is, on any terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["make_console", "show_any_text", "working"]

PIPE_WIDTH = 200
"""Columns of a table that is written into a pipe or a file: whole lines."""


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that takes no text for markup, and breaks no line that is not a table's.

    A sample may be named ``x [/old]``: rich would take the brackets for a style, and raise.

    Parameters
    ----------
    stderr : bool
        Write to standard error.
    """
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


@contextmanager
def working(console: Console, text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done while the context lasts; yields a function that changes the text."""
    from rich.text import Text

    with console.status(Text(text)) as status:
        yield lambda text: status.update(Text(text))


def show_any_text() -> None:
    """Let standard output and error print a ``?`` for what the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
