"""What every bench command prints and writes: tables, progress, the figures with their goals, the JSON file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files import check_writable, write_json
from ..figures import Figure, as_rows

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "bench_output"]

WIDTH_OF_A_PIPE = 140
"""Columns where there is no terminal: tables are not folded."""


class Output:
    """What one command collects and prints.

    Parameters
    ----------
    console : rich.console.Console
        Of the tables.
    """

    def __init__(self, console: Console) -> None:
        from rich.console import Console

        self.console = console
        self.results: dict[str, Any] = {}
        """What the JSON file holds beside the figures."""
        self.figures: list[Figure] = []
        """Rows of the last table, and of ``"figures"`` in the JSON file."""
        self._aside = Console(stderr=True, highlight=False)
        self._status: Any = None
        self._stage = ""
        self._began: tuple[float, float] | None = None

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], left: Sequence[str] = ()
    ) -> None:
        """Print a table; its first column and those named in `left` are aligned to the left.

        Floats are printed with four digits, None as a dash.
        """
        from rich.table import Table

        self._clear()
        table = Table(title=title, title_justify="left", title_style="bold")
        for i, column in enumerate(columns):
            table.add_column(column, justify="left" if i == 0 or column in left else "right")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self.console.print(table)

    def print(self, text: str) -> None:
        """Print a line of text."""
        self._clear()
        self.console.print(text)

    def progress(self, stage: str, done: float) -> None:
        """Show on stderr what is done now and the time left; into a log, a line for each new stage.

        Parameters
        ----------
        stage : str
            What is done now.
        done : float
            Fraction of all work that is done, 0 … 1.
        """
        now = time.monotonic()
        if self._began is None:
            self._began = (now, done)
        since, first = self._began
        elapsed, share = now - since, done - first
        # the first seconds are compilation and say nothing of the rest
        left = elapsed / share * (1.0 - done) if share > 0.02 and elapsed > 2 else None
        line = stage if left is None else f"{stage}; about {_duration(left)} left"
        if self._aside.is_terminal:
            if self._status is None:
                self._status = self._aside.status(line)
                self._status.start()
            self._status.update(line)
        elif stage != self._stage:
            self._aside.print(line, soft_wrap=True)
        self._stage = stage

    def _clear(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def bench_output(json_file: Path | None, title: str = "Figures") -> Iterator[Output]:
    """Give a command its output; afterwards print the table of its figures and write the JSON file.

    Parameters
    ----------
    json_file : Path or None
        Where results and figures are written; checked before any work is done.
    title : str
        Of the table of figures.

    Yields
    ------
    Output

    Raises
    ------
    ConfigError
        If `json_file` cannot be written.
    """
    from rich.console import Console

    check_writable(json_file)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=WIDTH_OF_A_PIPE)
    output = Output(console)
    try:
        yield output
    finally:
        output._clear()
    if output.figures:
        output.table(
            title,
            ("figure", "measured", "goal", "holds"),
            [(f.name, f.text, f.goal, _holds(f.holds)) for f in output.figures],
        )
    write_json(json_file, {**output.results, "figures": as_rows(output.figures)})


def _holds(holds: bool | None) -> str:
    return "" if holds is None else "yes" if holds else "NO"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
