"""Two safeguards that an instrument may have beside its beam: a watchdog that blanks it, and a lease on its use.

Both need two PVs, ``Heartbeat`` and ``Owner``, under the prefix of the beam. This process puts a beat every
quarter of a second while it uses the instrument or has lit the beam. Where the beats stop (the process was killed,
the network is gone), the instrument blanks the beam after a second, and after three it has no owner any more. What
an instrument without these PVs needs instead is in ``docs/how-to/beam-safety.md``.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from typing import Any

from ..errors import InstrumentError

__all__ = ["InstrumentGuard", "process_name", "watchdog_report"]

_log = logging.getLogger(__name__)

BEAT_S = 0.25
"""Time between two beats, s; the simulated instrument blanks after 1 s without one."""
PATIENCE_S = 4.0
"""How long a lease may take to expire whose owner does not beat any more, s."""
LOOK_S = 0.5
"""How long the two PVs may take to answer once the beam's own have, s."""


def process_name() -> str:
    """Name this process as an owner: host, process id and a random part; at most 39 characters, as EPICS has it."""
    return f"{socket.gethostname()[:20]}:{os.getpid()}:{_TOKEN}"


_TOKEN = secrets.token_hex(3)


class InstrumentGuard:
    """Heartbeat and lease of the instrument that a beam belongs to.

    Parameters
    ----------
    name : str
        Of the beam, for messages.
    prefix : str
        Of its PVs.
    signal_class : type
        Makes a signal of a PV name: ``ophyd.EpicsSignal``, or what stands for it in a fake device.
    """

    def __init__(self, name: str, prefix: str, signal_class: Any) -> None:
        self._name, self._prefix, self._signal_class = name, prefix, signal_class
        self._heartbeat: Any = None
        self._owner: Any = None
        self._me = ""
        self._lock = threading.RLock()
        self._users: set[str] = set()
        self._lit = False
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._beats = 0

    @property
    def present(self) -> bool:
        """Whether the instrument has the two PVs; False before `look`."""
        return self._heartbeat is not None and bool(self._heartbeat.connected and self._owner.connected)

    def look(self, timeout_s: float = LOOK_S) -> bool:
        """Look whether the instrument has the two PVs; to be called when the beam's own have answered.

        Parameters
        ----------
        timeout_s : float
            At the first call; a later one does not wait.
        """
        if self._heartbeat is None:
            names = (f"{self._prefix}Heartbeat", f"{self._prefix}Owner")
            self._heartbeat = self._signal_class(names[0], name=f"{self._name}_heartbeat")
            self._owner = self._signal_class(
                names[1], name=f"{self._name}_owner", string=True, auto_monitor=False
            )
            limit = time.monotonic() + timeout_s
            try:
                for signal in (self._heartbeat, self._owner):
                    signal.wait_for_connection(timeout=max(0.01, limit - time.monotonic()))
            except TimeoutError:
                _log.warning(
                    "%s: no %s: nothing blanks the beam if this process is killed; see docs/how-to/beam-safety.md",
                    self._name,
                    " and ".join(names),
                )
        return self.present

    # --- the lease

    def acquire(self, user: str) -> None:
        """Take the instrument for `user` (a device of this process), until `release`; again does no harm.

        Raises
        ------
        InstrumentError
            If another process has it.
        """
        with self._lock:
            if not self._users:
                self.claim()
            self._users.add(user)
            self._beat_if_needed()

    def release(self, user: str) -> None:
        """Give the instrument back; with its last user the lease ends."""
        with self._lock:
            self._users.discard(user)
            if self._users:
                return
            self._beat_if_needed()
            if self._me and self.present:
                try:
                    self._heartbeat.put(0)
                    if self._owner.get() == self._me:
                        self._owner.put("", use_complete=True)
                except Exception as error:  # whatever the control layer raises: the lease expires by itself
                    _log.warning("%s: the lease is not given back: %s", self._name, error)

    @property
    def held(self) -> bool:
        """Whether this process has taken the instrument."""
        return bool(self._users)

    def claim(self) -> None:
        """Be the owner, or become it: of an instrument that was restarted too. InstrumentError if another is."""
        if not self.look():
            return
        self._me = self._me or process_name()
        limit = time.monotonic() + PATIENCE_S
        while (other := self._put_owner(self._me)) != self._me:
            if _is_dead(other):
                self._put_owner("")
            elif _is_here(other) or time.monotonic() > limit:
                raise InstrumentError(f"{self._name}: the instrument is in use by {_in_words(other)}")
            else:
                time.sleep(BEAT_S)

    def _put_owner(self, owner: str) -> str:
        """Ask for an owner; return who it is then."""
        status = threading.Event()
        self._owner.put(owner, use_complete=True, callback=lambda **_: status.set())
        status.wait(2.0)
        return str(self._owner.get())

    def check_free(self) -> None:
        """Raise InstrumentError if another process has the instrument; for what is done outside of a plan."""
        if self._users or not self.present:
            return
        other = str(self._owner.get())
        if other and other != self._me and not _is_dead(other):
            raise InstrumentError(f"{self._name}: the instrument is in use by {_in_words(other)}")

    # --- the heartbeat

    def lit(self, lit: bool) -> None:
        """Beat as long as the beam is lit, whether or not a plan uses the instrument."""
        self._lit = lit
        if not self._users:
            self._beat_if_needed()

    def _beat_if_needed(self) -> None:
        if not (self._users or self._lit):
            self._wanted.clear()
            return
        if not self.present or self._wanted.is_set():
            return
        self._beat()
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._keep_beating, name=f"{self._name}-heartbeat", daemon=True
            )
            self._thread.start()

    def _keep_beating(self) -> None:
        while True:
            self._wanted.wait()
            try:
                if self.present:
                    self._beat()
            except Exception as error:  # a lost connection: the instrument blanks, and the plan notices
                _log.debug("%s: no beat: %s", self._name, error)
            time.sleep(BEAT_S)

    def _beat(self) -> None:
        self._beats = self._beats % 1_000_000 + 1
        self._heartbeat.put(self._beats)


def watchdog_report(beam: Any) -> tuple[str, str]:
    """Whether the instrument of a connected beam blanks by itself: a message, and a hint where it does not."""
    guard = getattr(beam, "guard", None)
    if guard is not None and guard.look():
        return "the instrument blanks the beam when this process is gone, and has one user at a time", ""
    return (
        "none: if a session is killed (SIGKILL, a crash, a lost network), nothing blanks the beam",
        "docs/how-to/beam-safety.md shows how to add one, and what to do without",
    )


def _parts(owner: str) -> tuple[str, int]:
    host, _, rest = owner.partition(":")
    pid, _, _ = rest.partition(":")
    return host, int(pid) if pid.isdigit() else 0


def _is_here(owner: str) -> bool:
    return _parts(owner)[0] == socket.gethostname()[:20]


def _is_dead(owner: str) -> bool:
    """Whether the owner is a process of this machine that is gone."""
    host, pid = _parts(owner)
    if not pid or host != socket.gethostname()[:20]:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _in_words(owner: str) -> str:
    host, pid = _parts(owner)
    return f"process {pid} on {host}" if pid else repr(owner)
