"""Messages of errors: one line, whatever they quote; and what counts as a device that is away."""

from __future__ import annotations

import pytest

from slads_bluesky.errors import (
    ConfigError,
    DataError,
    DeviceAwayError,
    InstrumentError,
    ModelFileError,
    RecordError,
    is_away,
)


@pytest.mark.parametrize("kind", [DataError, ModelFileError, RecordError])
def test_error_that_quotes_control_characters_is_one_line(kind):
    error = kind("dtype '\x1ci4' of 'eds\r\nspectrum' at 3 µm …, \x1b[2J, \u2028, \udc80")
    assert str(error).splitlines() == [
        "dtype '\\x1ci4' of 'eds\\r\\nspectrum' at 3 µm …, \\x1b[2J, \\u2028, \\udc80"
    ]
    str(error).encode("utf-8")


@pytest.mark.parametrize("kind", [ConfigError, InstrumentError])
def test_error_that_lists_keeps_its_own_lines_and_no_control_characters(kind):
    assert str(kind("two fields are wrong\n  a: \x07\n  b")).splitlines() == [
        "two fields are wrong", "  a: \\x07", "  b"
    ]  # fmt: skip


def test_error_keeps_arguments_that_are_no_text():
    assert ConfigError("a", 3).args == ("a", 3)


@pytest.mark.parametrize("module", ["ophyd.utils.errors", "caproto", "epics.ca"])
def test_is_away_errors_of_control_layers_are(module):
    kind = type("Lost", (Exception,), {"__module__": module})
    assert is_away(kind("gone"))
    assert not is_away(type("Wrong", (kind, ValueError), {"__module__": module})("-1"))
    assert not is_away(type("Other", (Exception,), {"__module__": f"x{module}"})("gone"))


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (DeviceAwayError("x"), True), (ConnectionResetError(), True), (TimeoutError(), True),
        (InstrumentError("x"), False), (KeyError("x"), False), (RuntimeError("x"), False),
    ],
)  # fmt: skip
def test_is_away_follows_the_kind_of_error(error, away):
    assert is_away(error) is away
