"""What the plans of this package are made of: one point, a decision off the loop, a stream's event.

Raw messages instead of bluesky's stubs where a point passes: each stub decorated as a plan costs a stack trace.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from typing import Any, TypeVar

from bluesky.utils import IllegalMessageSequence, Msg

from slads_bluesky.errors import InstrumentError
from slads_bluesky.protocols import Beam, Detector
from slads_bluesky.streams import StreamRouter

from . import away
from .away import ask, ask_and_wait, until_answered
from .ledger import Ledger

__all__ = [
    "EventCollector",
    "blank",
    "blank_at_last",
    "in_thread",
    "leave",
    "measure",
    "record",
    "trigger_and_wait",
    "until_done",
]

T = TypeVar("T")
Plan = Generator[Msg, Any, T]

_groups = itertools.count(1)
_log = logging.getLogger(__name__)

MOVE_TIMEOUT_S = 10.0
"""How long the beam may take to move, settle, blank or unblank, s."""


class EventCollector(StreamRouter):
    """Keeps the newest Event of some streams, as it was emitted to every subscriber."""

    def __init__(self, *streams: str) -> None:
        super().__init__()
        self._streams = streams
        self.last: dict[str, Any] | None = None

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take an event."""
        if stream in self._streams:
            self.last = doc

    def take(self) -> dict[str, Any] | None:
        """Return the newest Event and forget it."""
        event, self.last = self.last, None
        return event


def set_and_wait(obj: Any, value: Any, timeout: float | None = None) -> Plan[None]:
    """Set and wait, in two messages; DeviceAwayError naming the device if it takes longer than `timeout` s."""
    yield from ask_and_wait("set", obj, f"slads-{next(_groups)}", timeout, value)


def trigger_and_wait(device: Any, timeout: float | None = None) -> Plan[None]:
    """Trigger and wait; DeviceAwayError naming the device if it takes longer than `timeout` s."""
    yield from ask_and_wait("trigger", device, f"slads-{next(_groups)}", timeout)


def blank(beam: Beam) -> Plan[None]:
    """Blank the beam."""
    yield from set_and_wait(beam.blanker, True, MOVE_TIMEOUT_S)


def blank_at_last(beam: Beam, patience_s: float | None = None) -> Plan[None]:
    """Blank the beam, waiting for a device that is away; a beam that stays lit ends the run."""
    yield from until_answered(lambda: blank(beam), away.AWAY_S if patience_s is None else patience_s)


def leave(beam: Beam, devices: Sequence[Any], raised: Sequence[Exception] = ()) -> Plan[None]:
    """Blank the beam and unstage the devices; each is unstaged whatever goes wrong with the others.

    Parameters
    ----------
    beam : Beam
    devices : sequence
        Unstaged, the last one first.
    raised : sequence of Exception
        What ended the run; a beam that cannot be blanked is reported beside it.

    Raises
    ------
    InstrumentError
        If the beam could not be blanked.
    """
    trouble: InstrumentError | None = None
    try:
        yield from blank_at_last(beam, away.LEAVE_S)
    except InstrumentError as error:
        trouble = error
    for device in reversed(devices):
        try:
            yield from ask("unstage", device)
        except InstrumentError as error:
            _log.error("%s is not put back as it was found: %s", device.name, error)
    if trouble is not None:
        before = "".join(f"{error}; " for error in raised)
        raise InstrumentError(f"{before}the beam could not be blanked: {trouble}") from trouble


def measure(
    beam: Beam,
    eds: Detector,
    position: tuple[float, float],
    readables: Sequence[Any] = (),
    *,
    stream: str = "primary",
    timeout: float | None = None,
    tolerance_um: float | None = None,
    ledger: Ledger | None = None,
) -> Plan[None]:
    """Measure one point into one Event: move blanked, settle, unblank, acquire, blank, read, save.

    Parameters
    ----------
    beam, eds : Beam, Detector
    position : (float, float)
        (x, y) in µm.
    readables : sequence of Readable
        Read into the same Event, first.
    stream : str
        Stream of the Event.
    timeout : float, optional
        Seconds that the acquisition may take, and that a move may take beyond that.
    tolerance_um : float, optional
        How far from `position` the position that is read back may be, along each axis; by default it is not checked.
    ledger : Ledger, optional
        Takes how long each step took.

    Raises
    ------
    InstrumentError
        If a step takes too long, or the beam was elsewhere; nothing is recorded then.
    """
    times = ledger if ledger is not None else Ledger()
    began = perf_counter()
    yield from set_and_wait(beam, position, MOVE_TIMEOUT_S)
    yield from set_and_wait(beam.blanker, False, MOVE_TIMEOUT_S)
    began = times.add("move", began)
    yield from ask_and_wait("trigger", eds, f"slads-{next(_groups)}", timeout)
    began = times.add("acquire", began)
    yield from set_and_wait(beam.blanker, True, MOVE_TIMEOUT_S)
    began = times.add("blank", began)
    reading = yield from _bundle(stream, (*readables, eds, beam))
    if tolerance_um is not None and reading is not None:
        try:
            check_position(beam.name, reading, position, tolerance_um)
        except InstrumentError:
            yield Msg("drop")
            raise
    began = times.add("read", began)
    # a checkpoint in itself with `engine.BeamSafeEngine`; with other engines the next message is one
    yield Msg("save", None, checkpoint=True)
    times.add("journal", began)


def check_position(
    name: str, reading: Mapping[str, Any], position: tuple[float, float], tolerance_um: float
) -> None:
    """Refuse a reading of a beam that is not where it was sent: somebody else moved it, or it did not arrive.

    Parameters
    ----------
    name : str
        Of the beam.
    reading : mapping
        Of its ``{name}_x`` and ``{name}_y``, µm; an axis that it does not have is not checked.
    position : (float, float)
        (x, y) in µm.
    tolerance_um : float

    Raises
    ------
    InstrumentError
        With both positions.
    """
    for axis, wanted in zip("xy", position, strict=True):
        entry = reading.get(f"{name}_{axis}")
        if entry is not None and not abs(float(entry["value"]) - wanted) <= tolerance_um:
            raise InstrumentError(
                f"{name}: measured at {axis} = {float(entry['value']):.6g} µm instead of {wanted:.6g} µm "
                f"(tolerance {tolerance_um:.3g} µm): is somebody else moving it?"
            )


def record(stream: str, readables: Sequence[Any]) -> Plan[None]:
    """Read `readables` into one Event of `stream`; what comes after it is never rewound past it.

    Raises
    ------
    DeviceAwayError
        If one does not answer; nothing is recorded then.
    """
    yield from _bundle(stream, readables)
    yield Msg("save")
    yield Msg("checkpoint")


def _bundle(stream: str, readables: Sequence[Any]) -> Plan[dict[str, Any] | None]:
    """Read `readables` into a bundle that is left open for ``save``, dropped if one fails; the last reading."""
    reading = None
    yield Msg("create", None, name=stream)
    try:
        for readable in readables:
            reading = yield from ask("read", readable)
    except Exception:
        with suppress(
            IllegalMessageSequence
        ):  # after a pause the message that failed may be one before the bundle
            yield Msg("drop")
        raise
    return reading


def in_thread(executor: ThreadPoolExecutor, function: Callable[[], T]) -> Plan[T]:
    """Compute off the RunEngine's loop, and wait for it there.

    A pause in the middle does not compute it twice: the replayed wait finds the same work, under way or done.
    """
    work: Future[T] = executor.submit(function)

    async def finished() -> None:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(event.set))
        await event.wait()

    yield Msg("wait_for", None, [finished])
    return work.result()


def until_done(status: Any) -> Plan[None]:
    """Wait for a status, whatever interrupts the wait."""

    async def finished() -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        status.add_callback(lambda *_: loop.call_soon_threadsafe(event.set))
        await event.wait()

    while not status.done:
        yield Msg("wait_for", None, [finished])
