"""What went wrong, in words for the person at the instrument.

Every error that a user can cause or fix derives from `SladsError`; the command line prints its text as one
line and exits with code 2. A message names the culprit: the file, the field, the PV, and both values where two
disagree.
"""

import unicodedata

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceAwayError",
    "InstrumentError",
    "ModelFileError",
    "RecordError",
    "SladsError",
    "in_one_line",
    "is_away",
]


class SladsError(Exception):
    """Base of all errors that are shown to the user as one line.

    A message may quote what was read from a file or a message of somebody else: control characters and line breaks
    in it are shown as escapes, so that it stays one line on every terminal.
    """

    _breaks_lines = True
    """Whether a message may be a list, a line each, of our own making."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(_shown(arg, self._breaks_lines) if isinstance(arg, str) else arg for arg in args))


class ConfigError(SladsError, ValueError):
    """An option, a name or a configuration field is not what it may be."""


class DataError(SladsError, ValueError):
    """An image, a spectrum or another array is not what it may be."""

    _breaks_lines = False


class ModelFileError(SladsError, ValueError):
    """A model file is truncated, foreign, newer than this program or made for something else."""

    _breaks_lines = False


class InstrumentError(SladsError, RuntimeError):
    """The instrument, real or simulated, is missing, has died or refuses."""


class DeviceAwayError(InstrumentError):
    """A device does not answer now: its IOC, the network or its driver is away, and may come back."""


class RecordError(SladsError, RuntimeError):
    """The journal or the catalog cannot be written, or holds something it should not."""

    _breaks_lines = False


def _shown(text: str, breaks_lines: bool) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == " " or unicodedata.category(c) == "Zs" or (breaks_lines and c == "\n")
        else c.encode("unicode_escape").decode("ascii")
        for c in text
    )  # fmt: skip


_CONTROL_LAYERS = ("ophyd", "ophyd_async", "caproto", "epics", "aioca", "p4p")
"""Packages whose own exceptions mean that a device does not answer."""


def is_away(error: BaseException) -> bool:
    """Whether an error means that a device does not answer, whichever control layer it has.

    Errors that say that a value or a name is wrong do not, whoever raises them.

    Examples
    --------
    >>> is_away(TimeoutError("no answer")), is_away(InstrumentError("1020 channels")), is_away(ValueError("-1"))
    (True, False, False)
    """
    if isinstance(error, (DeviceAwayError, TimeoutError, OSError)):
        return True
    if isinstance(error, (ValueError, TypeError, LookupError, AttributeError, NotImplementedError)):
        return False
    return any(kind.__module__.partition(".")[0] in _CONTROL_LAYERS for kind in type(error).__mro__)


def in_one_line(name: str, error: BaseException) -> str:
    """Return the first line of an error, with the device's name, if any, before it unless it begins so.

    Examples
    --------
    >>> in_one_line("sem", TimeoutError("sem_current: no answer")), in_one_line("sem", TimeoutError())
    ('sem_current: no answer', 'sem: TimeoutError')
    """
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if not name:
        return text
    return text if text.startswith(name) else f"{name}: {text}"
