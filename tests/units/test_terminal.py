"""Recorded text on a terminal: printed as it is, whatever brackets or letters it has."""

import io
import sys

import pytest
from rich.table import Table

from slads_bluesky.terminal import make_console, show_any_text, working

NAMES = ["x [/old]", "[red]x", "[link=http://a]", ":smile:", "[", "Fe2O3 [α]"]


@pytest.mark.parametrize("name", NAMES)
def test_console_with_brackets_in_a_name_prints_them(capsys, name):
    console = make_console()
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    console.print(table)
    console.print(f"sample {name}")
    with working(console, name) as show:
        show(name)
    assert capsys.readouterr().out.count(name) == 4


def test_console_into_a_pipe_breaks_no_line(capsys):
    make_console().print("word " * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminal_without_unicode_gets_a_question_mark(monkeypatch, encoding):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    show_any_text()
    table = Table()
    table.add_column("4 × 4 Kα …")
    make_console().print(table)
    sys.stdout.flush()
    assert b"4 " in sys.stdout.buffer.getvalue()
