"""PVs that guard the simulated instrument: a watchdog that blanks the beam, and a lease on its use.

A client that lights the beam puts beats on ``Beam:Heartbeat``. Once it has begun to, a second without a beat blanks
the beam; a beat of 0 ends that. Who never beats (a person with caput) is not watched. ``Beam:Owner`` takes a name
while it is empty or its owner is silent, so of two clients only one has the instrument.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

__all__ = ["GuardPVs"]

LATE_S = 0.05
"""A beat that has arrived but waits to be handled is given this long, s."""


class Deadline:
    """Calls a coroutine function when it was not put off for some time."""

    def __init__(self, action: Callable[[], Awaitable[None]]) -> None:
        self._action = action
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def armed(self) -> bool:
        """Whether it will act unless it is put off."""
        return self._timer is not None

    def put_off(self, seconds: float) -> None:
        """Act only after `seconds` from now."""
        self.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._late, loop)

    def cancel(self) -> None:
        """Do not act."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self, loop: asyncio.AbstractEventLoop) -> None:
        # after a stall of this process, timers run before the beats that came meanwhile
        self._timer = loop.call_later(LATE_S, self._act, loop)

    def _act(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._task = loop.create_task(self._run())

    async def _run(self) -> None:
        await self._action()


class GuardPVs(PVGroup):  # type: ignore[misc]
    """Heartbeat, watchdog, owner."""

    heartbeat = pvproperty(
        name="Beam:Heartbeat", value=0, dtype=int,
        doc="Any put is a beat of whoever lit the beam; 0 ends the watch",
    )  # fmt: skip
    watchdog_time = pvproperty(
        name="Beam:WatchdogTime", value=1.0, dtype=float, units="s", precision=2,
        lower_ctrl_limit=0.0, upper_ctrl_limit=60.0,
        doc="The beam is blanked after so long without a beat; 0: never",
    )  # fmt: skip
    watchdog_tripped = pvproperty(
        name="Beam:WatchdogTripped", value="No", dtype=ChannelType.ENUM, enum_strings=["No", "Yes"],
        read_only=True, doc="Whether the watchdog has blanked the beam since it was last lit",
    )  # fmt: skip
    owner = pvproperty(
        name="Beam:Owner", value="", dtype=ChannelType.STRING,
        doc="Who uses the instrument: refused while another does; empty: nobody",
    )  # fmt: skip
    lease_time = pvproperty(
        name="Beam:LeaseTime", value=3.0, dtype=float, units="s", precision=2,
        lower_ctrl_limit=0.1, upper_ctrl_limit=600.0,
        doc="An owner without a beat for so long has the instrument no more",
    )  # fmt: skip

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._watchdog = Deadline(self._bark)
        self._lease = Deadline(self._expire)

    async def watchdog_blanks(self) -> bool:
        """Blank the beam, and return whether it was lit; for whoever has a beam to override."""
        raise NotImplementedError

    async def _bark(self) -> None:
        if await self.watchdog_blanks():
            await self.watchdog_tripped.write("Yes")

    async def _expire(self) -> None:
        await self.owner.write("", verify_value=False)

    async def put_heartbeat(self, instance: Any, value: int) -> None:
        """Take a beat."""
        if int(value) == 0:
            self._watchdog.cancel()
            return
        if self.watchdog_time.value > 0:
            self._watchdog.put_off(float(self.watchdog_time.value))
        if self.owner.value:
            self._lease.put_off(float(self.lease_time.value))

    async def put_owner(self, instance: Any, value: str) -> str:
        """Take an owner, if nobody else is; the name that stands there afterwards is the answer."""
        current = str(instance.value)
        if value and current and value != current and self._lease.armed:
            return current
        if value:
            self._lease.put_off(float(self.lease_time.value))
        else:
            self._lease.cancel()
        return value

    heartbeat.putter(put_heartbeat)
    owner.putter(put_owner)
