"""The one signature of a progress callback, and its bar."""

import io

import pytest

from slads_bluesky import progress as module
from slads_bluesky.progress import part_of, tracker


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_part_of_maps_the_fraction_and_keeps_or_replaces_the_stage():
    shown = []
    whole = lambda stage, done: shown.append((stage, done))  # noqa: E731
    part_of(whole, 0.5, 1.0)("features", 0.0)
    part_of(whole, 0.0, 0.5, "adapting")("anything", 1.0)
    assert shown == [("features", 0.5), ("adapting", 0.5)]


def test_tracker_on_a_terminal_names_the_stage_literally(monkeypatch):
    monkeypatch.setattr(module, "SHOWN_AFTER_S", -1.0)
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with tracker("training x [/old]") as progress:
        progress("features [/red]", 1.0)
    import sys

    assert "training x [/old]: features [/red]" in sys.stderr.getvalue()


@pytest.mark.parametrize("fractions", [[], [0.0, 0.5, 1.0]])
def test_tracker_without_a_terminal_writes_nothing(capsys, fractions):
    with tracker("training") as progress:
        for fraction in fractions:
            progress("features", fraction)
    assert capsys.readouterr().err == ""
