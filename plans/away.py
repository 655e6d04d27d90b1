"""Messages to devices that may be away for a while: their errors in one line, and asked again until they answer.

An IOC that is restarted, a network that is cut and a driver that hangs can meet any message of a plan. Whatever the
control layer raises then becomes a `DeviceAwayError` here; while a run is open the beam is blanked and the device is
waited for, and only then does the run end, with that line as its reason.
"""

import logging
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, TypeVar

from bluesky.utils import FailedStatus, Msg

from slads_bluesky.errors import DeviceAwayError, InstrumentError, in_one_line, is_away

__all__ = ["AWAY_S", "LEAVE_S", "STAGE_S", "as_instrument_error", "ask", "ask_and_wait", "until_answered"]

T = TypeVar("T")
Plan = Generator[Msg, Any, T]

AWAY_S = 60.0
"""How long a device may be away while a run is open, s: an IOC starts again in less."""
LEAVE_S = 10.0
"""How long the beam is waited for once a run is closed, s."""
STAGE_S = 20.0
"""How long a device may be away before a run is open, s; one that has never answered is not waited for."""
PAUSE_S = 1.0
"""Time between two tries, s."""

_log = logging.getLogger(__name__)


def as_instrument_error(name: str, error: Exception) -> InstrumentError | None:
    """Return what the error of a message means, in one line; None if it is no error of the instrument.

    bluesky throws the failure of a status into the plan as soon as it is known, at whatever message the plan is then.

    Parameters
    ----------
    name : str
        Of the device that was asked; empty where none was.
    error : Exception
    """
    cause = error.__cause__ if isinstance(error, FailedStatus) else error
    if isinstance(cause, InstrumentError):
        return cause
    if cause is not None and is_away(cause):
        return DeviceAwayError(in_one_line(name, cause))
    return InstrumentError(in_one_line(name, cause or error)) if isinstance(error, FailedStatus) else None


def ask(command: str, obj: Any, *arguments: Any, **more: Any) -> Plan[Any]:
    """Give a device one message and return its answer.

    Raises
    ------
    DeviceAwayError
        Naming the device in one line, if it does not answer.
    """
    try:
        return (yield Msg(command, obj, *arguments, **more))
    except Exception as error:
        known = as_instrument_error(getattr(obj, "name", str(obj)), error)
        if known is None or known is error:
            raise
        raise known from error


def ask_and_wait(command: str, obj: Any, group: str, timeout: float | None, *arguments: Any) -> Plan[None]:
    """Give a device a message and wait for its status, in two messages.

    Raises
    ------
    DeviceAwayError
        If it takes longer than `timeout` s, or what went wrong is that it does not answer.
    InstrumentError
        With what went wrong otherwise.
    """
    yield from ask(command, obj, *arguments, group=group)
    try:
        yield Msg("wait", None, group=group, timeout=timeout)
    except TimeoutError:
        raise DeviceAwayError(f"{obj.name}: not done within {timeout:g} s") from None
    except Exception as error:
        known = as_instrument_error("", error)
        if known is None:
            raise
        raise known from error


def until_answered(part: Callable[[], Plan[T]], patience_s: float) -> Plan[T]:
    """Do a part of a plan; where a device in it is away, wait a moment and do it again.

    Parameters
    ----------
    part : callable
        Makes the part, which leaves no bundle open when it raises.
    patience_s : float
        A try that fails later than this is the last one, s.

    Raises
    ------
    DeviceAwayError
        Of the last try, or what else means that a device is away. Every other error at once.
    """
    began, warned = monotonic(), False
    while True:
        try:
            return (yield from part())
        except Exception as error:  # of a message that is repeated after a pause too
            known = as_instrument_error("", error)
            if not isinstance(known, DeviceAwayError):
                raise
            waited = monotonic() - began
            if waited >= patience_s:
                raise known from error
            if not warned:
                _log.warning("%s; waiting up to %g s for it", known, patience_s)
                warned = True
        yield Msg("checkpoint")  # a pause in the moment must not repeat the message that failed
        yield Msg("sleep", None, PAUSE_S)
