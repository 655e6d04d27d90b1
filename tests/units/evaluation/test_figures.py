"""Figures with their goals: when they hold, and the rows that JSON holds."""

import pytest

from slads_bluesky.evaluation.figures import as_rows, at_least, at_most, equal, measured


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (at_most("a", 1.0, 1.0), True),
        (at_most("a", 1.1, 1.0), False),
        (at_most("a", None, 1.0), False),
        (at_most("a", float("nan"), 1.0), False),
        (at_least("a", 2.0, 1.0), True),
        (at_least("a", 0.5, 1.0), False),
        (equal("a", 0, 0), True),
        (equal("a", 1, 0), False),
        (equal("a", False, True), False),
        (measured("a", 3.0), None),
    ],
)
def test_figure_against_its_goal_holds_or_not(figure, holds):
    assert figure.holds is holds


def test_as_rows_of_figures_have_name_value_goal_holds():
    rows = as_rows([at_most("journal", 0.03, 0.3, "ms"), equal("lost", 0, 0), at_least("speed", None, 5)])
    assert rows == [
        {"name": "journal, ms", "value": 0.03, "goal": "≤ 0.3 ms", "holds": True},
        {"name": "lost", "value": 0, "goal": "0", "holds": True},
        {"name": "speed", "value": None, "goal": "≥ 5", "holds": False},
    ]
