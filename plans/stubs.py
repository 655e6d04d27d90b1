"""What the plans of this package are made of: one point, a decision off the loop, a stream's event.

Raw messages instead of bluesky's stubs where a point passes: each stub decorated as a plan costs a stack trace.
"""

import asyncio
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

from bluesky.utils import FailedStatus, Msg

from slads_bluesky.errors import InstrumentError
from slads_bluesky.protocols import Beam, Detector
from slads_bluesky.streams import StreamRouter

from .ledger import Ledger

__all__ = ["EventCollector", "blank", "in_thread", "leave", "measure", "record"]

T = TypeVar("T")
Plan = Generator[Msg, Any, T]

_groups = itertools.count(1)

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
    """Set and wait, in two messages; InstrumentError naming the device if it takes longer than `timeout` s."""
    yield from _do_and_wait("set", obj, timeout, value)


def _do_and_wait(command: str, obj: Any, timeout: float | None, *arguments: Any) -> Plan[None]:
    group = f"slads-{next(_groups)}"
    try:
        yield Msg(command, obj, *arguments, group=group)
        yield Msg("wait", None, group=group, timeout=timeout)
    except TimeoutError:
        raise InstrumentError(f"{obj.name}: not done within {timeout:g} s") from None
    except FailedStatus as error:
        cause = error.__cause__ or error
        raise InstrumentError(str(cause) or type(cause).__name__) from cause


def blank(beam: Beam) -> Plan[None]:
    """Blank the beam."""
    yield from set_and_wait(beam.blanker, True, MOVE_TIMEOUT_S)


def leave(beam: Beam, devices: Sequence[Any]) -> Plan[None]:
    """Blank the beam and unstage the devices; they are unstaged as well if the beam cannot be blanked."""
    trouble: Exception | None = None
    try:
        yield from blank(beam)
    except (TimeoutError, InstrumentError, OSError) as error:
        trouble = error
    for device in reversed(devices):
        yield Msg("unstage", device)
    if trouble is not None:
        raise InstrumentError(f"the beam could not be blanked: {trouble}") from trouble


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
    yield from _do_and_wait("trigger", eds, timeout)
    began = times.add("acquire", began)
    yield from set_and_wait(beam.blanker, True, MOVE_TIMEOUT_S)
    began = times.add("blank", began)
    yield Msg("create", None, name=stream)
    try:
        for readable in (*readables, eds):
            yield Msg("read", readable)
        reading = yield Msg("read", beam)
        if tolerance_um is not None and reading is not None:
            check_position(beam.name, reading, position, tolerance_um)
    except (TimeoutError, InstrumentError, OSError):
        yield Msg("drop")
        raise
    began = times.add("read", began)
    yield Msg("save")
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
    """Read `readables` into one Event of `stream`; what comes after it is never rewound past it."""
    yield Msg("create", None, name=stream)
    for readable in readables:
        yield Msg("read", readable)
    yield Msg("save")
    yield Msg("checkpoint")


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
