"""One point of a map: tried, tried once more, or recorded as failed and passed over."""

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

from bluesky.utils import Msg

from slads_bluesky.errors import DeviceAwayError
from slads_bluesky.protocols import UNCLASSIFIED, Beam, Detector, EventKeys

from . import away
from .away import as_instrument_error, ask, until_answered
from .ledger import Ledger
from .patience import Patience
from .stubs import blank_at_last, measure

__all__ = ["FailedPoint", "measure_or_fail"]

_log = logging.getLogger(__name__)


T = TypeVar("T")


def _beside_what_failed(part: Callable[[], Generator[Msg, Any, T]]) -> Generator[Msg, Any, T]:
    """Do a part of a plan after an acquisition that nobody waits for any more, whose status may fail meanwhile.

    bluesky throws that failure into the plan, at whatever message it is then; a status fails only once.
    """
    try:
        return (yield from part())
    except Exception as error:
        known = as_instrument_error("", error)
        if known is None or isinstance(known, DeviceAwayError):
            raise
        _log.debug("after a point that failed: %s", known)
    return (yield from part())


class FailedPoint:
    """A readable for the stream ``failed``: the pixel counts as measured, has no vote, and the reason is given.

    Parameters
    ----------
    keys : EventKeys
        Under these an agent finds what it needs.
    """

    name = "failed"
    parent = None
    hints: Mapping[str, Any] = {"fields": ["failed_reason"]}

    def __init__(self, keys: EventKeys) -> None:
        self._keys = keys
        self._reason = ""
        self._time = 0.0

    def fail(self, reason: str, time: float) -> None:
        """Take why the point failed."""
        self._reason, self._time = reason, time

    def read(self) -> dict[str, Any]:
        """Label, probability and verdict of no spectrum, and the reason."""
        keys = self._keys
        values = {
            keys.label: UNCLASSIFIED,
            keys.probability: 0.0,
            keys.verdict: "ill",
            "failed_reason": self._reason,
        }
        return {key: {"value": value, "timestamp": self._time} for key, value in values.items()}

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        keys, common = self._keys, {"shape": [], "source": "plan:failed"}
        return {
            keys.label: {"dtype": "integer", "dtype_numpy": "<i8", **common},
            keys.probability: {"dtype": "number", "dtype_numpy": "<f8", **common},
            keys.verdict: {"dtype": "string", **common},
            "failed_reason": {"dtype": "string", **common},
        }


def measure_or_fail(
    beam: Beam,
    eds: Detector,
    position: tuple[float, float],
    readables: Sequence[Any],
    *,
    patience: Patience,
    tolerance_um: float | None,
    dose_key: str,
    ledger: Ledger,
    retry_after_s: float = 0.2,
) -> Generator[Msg, Any, str]:
    """Measure a point; if that fails, blank, wait a moment and measure it once more.

    The moment lets a suspender that watches the beam see a trip before the second try. There is none where the pixel
    has had the dose that it may get.

    Parameters
    ----------
    beam, eds, position, readables, tolerance_um, ledger
        As in `plans.stubs.measure`.
    patience : Patience
        How long each try may take, and what the pixel may get.
    dose_key : str
        Data key of the pixel's dose.
    retry_after_s : float

    Returns
    -------
    str
        Empty, or why the second try failed too; the beam is blanked then.
    """

    def prepare(attempt: int) -> Generator[Msg, Any, str]:
        """Stop the detector, and give it what is left to the pixel; why there is no other try, empty if there is."""
        if hasattr(eds, "stop"):
            yield from ask("stop", eds)
        if attempt > 1:
            return ""
        reading = yield from ask("read", beam)
        if spent := patience.nothing_left((reading or {}).get(dose_key)):
            return spent
        yield from patience.preset(eds)
        return ""

    reason = ""
    for attempt in (1, 2):
        yield Msg("checkpoint")
        try:
            yield from measure(
                beam,
                eds,
                position,
                readables,
                timeout=patience.limit_s(attempt),
                tolerance_um=tolerance_um,
                ledger=ledger,
            )
        except Exception as error:
            known = as_instrument_error("", error)
            if known is None:
                raise  # no second try cures it
            reason = str(known)
            yield Msg("checkpoint")
            yield from _beside_what_failed(lambda: blank_at_last(beam))
            spent = yield from _beside_what_failed(
                lambda: until_answered(lambda: prepare(attempt), away.AWAY_S)  # noqa: B023
            )
            if spent:
                return f"{reason}; not tried again: {spent}"
            if attempt == 1:
                yield Msg("sleep", None, retry_after_s)
        else:
            return ""
    return reason
