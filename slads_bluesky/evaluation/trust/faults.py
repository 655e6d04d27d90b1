"""The faults that `trust` makes: what is promised of each, how it is made, and what follows it."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .rig import DWELL_S, DrivenSession, Rig

__all__ = ["AROUND", "FAULTS", "MOMENTS", "Fault", "Scene"]

MOMENTS = ("baseline", "settle", "acquire", "read", "decide")
"""Moments of a run and of a point at which each fault strikes."""

AROUND = ("stage", "baseline", "close")
"""Moments of a run that are not of a point."""

EVERY = ("stage", *MOMENTS, "close")
"""Moments at which a microscope is tried that goes away: any message of the plan."""

AT_ONCE_S, WATCHDOG_S = 1.0, 2.0
"""Seconds until the beam is blanked: by the session; by the microscope's own watchdog, whose patience is 1 s."""


@dataclass(frozen=True)
class Scene:
    """One fault at one moment."""

    rig: Rig
    session: DrivenSession
    moment: str


Act = Callable[[Scene], None]


def nothing(scene: Scene) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    promised: str
    strike: Act
    """Makes the fault, at the moment."""
    then: Act = nothing
    """Ends it, once the beam has been watched."""
    dark_s: float | None = None
    """The beam is blanked within so many seconds; None where the run goes on and may light it."""
    watch_s: float = 0.0
    """How long the beam is watched before `then`."""
    long: bool = False
    """Whether the acquisition that is struck lasts for seconds, so that only a reaction can blank the beam."""
    catalog: bool = False
    """Whether the catalog must be complete at its next opening."""
    moments: tuple[str, ...] = MOMENTS
    loses_vote: bool = False
    """Whether the point that is struck rightly ends without a label, so that later decisions may differ."""


def _kill(number: signal.Signals, times: int = 1) -> Act:
    def strike(scene: Scene) -> None:
        for _ in range(times):
            scene.session.kill(number)
            time.sleep(0.05)

    return strike


def _put(name: str, value: float) -> Act:
    return lambda scene: scene.rig.put(name, value)


def _cut(scene: Scene) -> None:
    scene.rig.network.cut()


def _restore(scene: Scene) -> None:
    scene.rig.network.restore()


def _delay(seconds: float) -> Act:
    def strike(scene: Scene) -> None:
        scene.rig.network.delay_s = seconds

    return strike


def _restart(scene: Scene) -> None:
    scene.rig.restart()


def _kill_writer(scene: Scene) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(scene.session.writer, signal.SIGKILL)


def _fill_disk(scene: Scene) -> None:
    """Let no file of the session grow any more, as on a full disk."""
    _limit_files(scene, _journal(scene).stat().st_size)


def _journal(scene: Scene) -> Path:
    """Return the journal that is being written."""
    return max((scene.session.record / "journal").glob("*.msgpack"), key=lambda path: path.stat().st_mtime)


def _free_disk(scene: Scene) -> None:
    _limit_files(scene, resource.RLIM_INFINITY)


def _limit_files(scene: Scene, size: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(scene.session.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(scene.session.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def _remove_catalog(scene: Scene) -> None:
    shutil.rmtree(scene.session.record / "catalog", ignore_errors=True)


def _remove_journal(scene: Scene) -> None:
    _journal(scene).unlink()


def _disconnect(scene: Scene) -> None:
    scene.rig.signal("Sim:Disconnect").put(1)  # the bench loses its connection as well


def _move(scene: Scene) -> None:
    scene.rig.put("Beam:X", 11.0)
    scene.rig.put("Beam:Y", -11.0)


def _nudge(scene: Scene) -> None:
    """Move the beam away and back at once: the second put does not wait until the first has settled."""
    home = float(scene.rig.get("Beam:X_RBV"))
    away = scene.rig.signal("Beam:X").set(11.0 if home < 0 else -11.0)
    scene.rig.put("Beam:X", home)
    away.wait(20)


def _blink(scene: Scene) -> None:
    scene.rig.put("Beam:Blank", 1)
    scene.rig.put("Beam:Blank", 0)


FAULTS = (
    Fault("SIGTERM", "blanked, run closed, resumed to the same map", _kill(signal.SIGTERM), dark_s=AT_ONCE_S,
          watch_s=1.5, long=True),
    Fault("SIGHUP (terminal closed)", "blanked, run closed, resumed to the same map", _kill(signal.SIGHUP),
          dark_s=AT_ONCE_S, watch_s=1.5, long=True),
    Fault("SIGKILL", "blanked by the watchdog, resumed to the same map", _kill(signal.SIGKILL),
          dark_s=WATCHDOG_S, watch_s=2.5, long=True),
    Fault("process frozen for 2.5 s", "blanked by the watchdog, the same map", _kill(signal.SIGSTOP),
          _kill(signal.SIGCONT), dark_s=WATCHDOG_S, watch_s=2.5, long=True),
    Fault("Ctrl-C", "blanked at once, paused, resumed to the same map", _kill(signal.SIGINT), dark_s=AT_ONCE_S,
          watch_s=1.5, long=True),
    Fault("Ctrl-C twice", "blanked at once, paused, resumed to the same map", _kill(signal.SIGINT, 2),
          dark_s=AT_ONCE_S, watch_s=1.5, long=True),
    Fault("detector hangs", "blanked while it is tried again, the same map", _put("Sim:Hang", 1)),
    Fault("answers 0.5 s late", "waited for, the same map", _put("Sim:Late", 0.5), _put("Sim:Late", 0.0),
          watch_s=2.0),
    Fault("spectrum of half the channels", "measured again, the same map", _put("Sim:Short", 1)),
    Fault("empty spectrum", "recorded as invalid, no vote", _put("Sim:Empty", 1), loses_vote=True),
    Fault("saturated spectrum", "refused, measured again, the same map", _put("Sim:Saturate", 1)),
    Fault("beam trips for 1 s", "suspended blanked, no spectrum of it in the map, the same map",
          _put("Sim:Trip", 1), _put("Sim:Trip", 0), watch_s=1.0),
    Fault("beam trips in mid-acquisition", "that spectrum refused, measured again, the same map",
          _put("Sim:TripNext", 1), _put("Sim:Trip", 0), watch_s=1.5),
    Fault("network 0.2 s slow for 2 s", "waited for, the same map", _delay(0.2), _delay(0.0), watch_s=2.0),
    Fault("network cut for 3 s", "blanked by the watchdog, the same map", _cut, _restore, dark_s=WATCHDOG_S,
          watch_s=3.0, long=True, moments=EVERY),
    Fault("every client disconnected", "connected again, the same map", _disconnect, moments=EVERY),
    Fault("IOC killed and restarted", "waited for, no point with other presets, the same map", _restart,
          moments=EVERY),
    Fault("presets changed by another client", "restored or paused; no point with other presets",
          _put("EDS:mca1.PLTM", 25 * DWELL_S)),
    Fault("beam moved by another client", "no point recorded as measured where it was not", _move),
    Fault("beam moved away and back by another client", "no point recorded as measured where it was not", _nudge,
          moments=("acquire",)),
    Fault("beam blanked by another client", "no spectrum of a blanked beam in the map", _put("Beam:Blank", 1)),
    Fault("beam blanked for a moment by another client", "no spectrum of a blanked beam in the map", _blink,
          moments=("acquire",)),
    Fault("catalog's writer killed", "the journal is whole, the catalog catches up", _kill_writer, catalog=True),
    Fault("disk full", "run ends blanked, what is in the journal stays, resumed to the same map", _fill_disk,
          _free_disk, watch_s=2.0),
    Fault("catalog's folder removed", "rebuilt from the journal at the next opening", _remove_catalog,
          catalog=True, moments=("decide",)),
    Fault("journal removed", "noticed and written again, the same map", _remove_journal, moments=("decide",)),
)  # fmt: skip
"""Each is tried at each of its moments."""
