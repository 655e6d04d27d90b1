"""Figures with their goals: one row per figure, the same in every table and in every JSON file of a bench command."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Figure", "as_rows", "at_least", "at_most", "equal", "measured"]

Value = float | int | bool | str | None


@dataclass(frozen=True)
class Figure:
    """One measured figure beside the goal that its issue states."""

    name: str
    value: Value
    """None where a run did not reach what the figure counts."""
    goal: str
    """As the issue states it, such as ``≤ 0.3 ms``; empty for a figure without a goal."""
    holds: bool | None
    """Whether `value` reaches `goal`; None for a figure without a goal."""
    unit: str = ""

    @property
    def text(self) -> str:
        """The value with its unit, for a table."""
        if self.value is None:
            return "not reached"
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        if isinstance(self.value, float):
            return f"{self.value:.4g} {self.unit}".strip()
        return f"{self.value} {self.unit}".strip()


def at_most(name: str, value: float | None, limit: float, unit: str = "") -> Figure:
    """Return a figure that holds where it is reached and not above `limit`.

    Parameters
    ----------
    name : str
        What was measured.
    value : float or None
        None or NaN where it was not reached.
    limit : float
        Of the same unit.
    unit : str
        Follows value and limit in a table.

    Examples
    --------
    >>> at_most("journal, median", 0.03, 0.3, "ms")
    Figure(name='journal, median', value=0.03, goal='≤ 0.3 ms', holds=True, unit='ms')
    """
    known = _finite(value)
    return Figure(name, known, f"≤ {limit:g} {unit}".strip(), known is not None and known <= limit, unit)


def at_least(name: str, value: float | None, limit: float, unit: str = "") -> Figure:
    """Return a figure that holds where it is reached and not below `limit`; parameters as of `at_most`."""
    known = _finite(value)
    return Figure(name, known, f"≥ {limit:g} {unit}".strip(), known is not None and known >= limit, unit)


def equal(name: str, value: Value, wanted: Value) -> Figure:
    """Return a figure that holds where it is exactly `wanted`, such as a count of lost points or a yes."""
    goal = {True: "yes", False: "no"}[wanted] if isinstance(wanted, bool) else str(wanted)
    return Figure(name, value, goal, value == wanted)


def measured(name: str, value: Value, unit: str = "") -> Figure:
    """Return a figure without a goal."""
    return Figure(name, value, "", None, unit)


def as_rows(figures: list[Figure]) -> list[dict[str, Any]]:
    """Return the rows ``{"name", "value", "goal", "holds"}`` that JSON holds; the unit stands in the name.

    Examples
    --------
    >>> as_rows([at_most("writer, memory", 449.0, 1000, "MB")])
    [{'name': 'writer, memory, MB', 'value': 449.0, 'goal': '≤ 1000 MB', 'holds': True}]
    """
    rows = []
    for figure in figures:
        row = asdict(figure)
        unit = row.pop("unit")
        rows.append({**row, "name": f"{figure.name}, {unit}" if unit else figure.name})
    return rows


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
