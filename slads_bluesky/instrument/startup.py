"""From ``instrument.yml`` to a session: all parts at once, and all faults reported at once."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ..callbacks.headless import is_headless
from ..errors import SladsError
from ..memory import collection_paused
from ..terminal import make_console
from .partial import PartialSession, StartupError
from .parts import Devices, MapModels, connect_devices, make_devices, make_models, start_microscope
from .settings import InstrumentSettings, read_settings

if TYPE_CHECKING:
    from .session import Session

__all__ = ["StartupError", "open_session"]

T = TypeVar("T")

VARIABLE = "SLADS_INSTRUMENT"
"""Environment variable that names another file than the profile's ``instrument.yml``."""


class _Startup:
    """The parts of a session while they are made: how long each took, and what is wrong."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.missing: list[str] = []
        self.took: dict[str, float] = {}

    def tried(self, part: str, make: Callable[[], T]) -> T | None:
        """Make a part; what goes wrong is put on the list, and the other parts are tried all the same."""
        began = time.monotonic()
        try:
            return make()
        except SladsError as error:
            self.missing.append(f"  {part}: {error}")
        except Exception as error:
            self.missing.append(f"  {part}: {type(error).__name__}: {error}")
        finally:
            self.took[part] = self.took.get(part, 0.0) + time.monotonic() - began
        return None

    def report(self) -> str:
        """When the session was ready, and how long each part took (they are made at the same time)."""
        parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in self.took.items())
        before = _process_age() - (time.monotonic() - self.began)
        return (
            f"ready in {time.monotonic() - self.began:.1f} s ({parts}), {before:.1f} s after Python started"
        )


@overload
def open_session(path: str | Path) -> Session: ...
@overload
def open_session(path: str | Path, *, partial: Literal[False]) -> Session: ...
@overload
def open_session(path: str | Path, *, partial: bool) -> Session | PartialSession: ...
def open_session(path: str | Path, *, partial: bool = False) -> Session | PartialSession:
    r"""Make the session that a file describes.

    Parameters
    ----------
    path : path
        Of ``instrument.yml``; the environment variable ``SLADS_INSTRUMENT`` wins.
    partial : bool
        For a prompt: where something is missing, print what, and return a `PartialSession` of the parts that are
        there. A queue server's worker never takes one.

    Returns
    -------
    Session
        Ready: every device answers, every model is loaded, the catalog is open. Closed when the process ends.

    Raises
    ------
    StartupError
        Naming everything that is missing or wrong; nothing is left running. Not with `partial` at a prompt.

    Examples
    --------
    A session over a simulated specimen, without EPICS:

    >>> from pathlib import Path
    >>> from slads_bluesky import adaptive_map, open_session
    >>> _ = Path("instrument.yml").write_text(
    ...     "mode: soft\n"
    ...     "simulation: {object: pbsn-32}\n"
    ...     "grid: {shape: [32, 32]}\n"
    ...     "classifier: {train: likelihood}\n"
    ...     "catalog: {directory: record}\n"
    ...     "display: {progress: false, live: false}\n"
    ... )
    >>> session = open_session("instrument.yml")
    >>> session.bec.disable_baseline(); session.bec.disable_heading()
    >>> agent = session.make_agent(fraction=0.04)
    >>> plan = adaptive_map(session.beam, session.eds, agent, **session.prepare_map(dwell_s=0.1))
    >>> (uid,) = session.RE(plan)
    >>> session.records.load(-1).n_measured
    41
    >>> session.close()
    """
    startup = _Startup()
    partial = partial and not is_headless()
    _say("starting …")
    try:
        settings, file = read_settings(os.environ.get(VARIABLE) or path)
    except SladsError as error:
        startup.missing.append(f"  {error}")
        if partial:
            return _partial(startup, None, None, None, None, None)
        raise StartupError(f"the session is not started: {error}") from None

    def catalog() -> Any:
        from ..record import default_directory, open_catalog

        return open_catalog(settings.catalog.uri or settings.catalog.directory or default_directory())

    with collection_paused(), ThreadPoolExecutor(3, thread_name_prefix="slads-start") as pool:
        opened = pool.submit(startup.tried, "catalog", catalog)
        models = pool.submit(startup.tried, "models", lambda: make_models(settings, file))
        microscope = None
        if settings.mode == "ioc":
            microscope = startup.tried("simulated microscope", lambda: start_microscope(settings))
        devices = None
        if settings.mode != "ioc" or microscope is not None:
            devices = startup.tried("devices", lambda: make_devices(settings, file))
        trained = models.result()
        db = opened.result()
    if devices is not None:
        connected = devices
        before = len(startup.missing)
        startup.tried("devices", lambda: connect_devices(settings, file, connected))
        if len(startup.missing) > before:
            devices = None
    session: Session | None = None
    if devices is not None and trained is not None and not startup.missing:
        parts = (settings, devices, trained, db, microscope)
        session = startup.tried("session", lambda: _joined(*parts))
    if session is None and partial:
        return _partial(startup, settings, devices, trained, db, microscope)
    if session is None:
        if microscope is not None:
            microscope.stop()
        raise StartupError("\n".join(["the session is not started; what is missing:", *startup.missing]))
    atexit.register(session.leave)
    for part, text in session.about().items():
        _say(f"  {part:<11}{text}")
    _say(startup.report())
    return session


def _partial(
    startup: _Startup,
    settings: InstrumentSettings | None,
    devices: Devices | None,
    models: MapModels | None,
    catalog: Any,
    microscope: Any,
) -> PartialSession:
    """Make a session of the parts that are there, and print what is missing."""
    from ..record import Recorder

    recorder = None
    if settings is not None and catalog is not None:
        about = settings.catalog
        recorder = startup.tried(
            "record",
            lambda: Recorder(about.directory, catalog=about.uri, fsync=about.fsync, on_problem=_warn),
        )
    for line in ["the session is not complete; what is missing:", *startup.missing]:
        _say(line)
    there = (
        "RE, db and the record are there"
        if recorder is not None
        else "there is no RE: nothing would be recorded"
    )
    _say(f"{there}; names of missing parts say so when they are used (`slads-bluesky doctor` checks more)")
    close = microscope.stop if microscope is not None else lambda: None
    session = PartialSession(settings, devices, models, recorder, catalog, startup.missing, close)
    atexit.register(session.leave)
    return session


def _joined(
    settings: InstrumentSettings, devices: Devices, models: MapModels, catalog: Any, microscope: Any
) -> Session:
    """Make a session of its parts; the recorder last, which starts a process of its own."""
    from ..record import Recorder
    from .session import Session

    about = settings.catalog
    recorder = Recorder(about.directory, catalog=about.uri, fsync=about.fsync, on_problem=_warn)
    try:
        return Session(settings, devices, models, recorder, catalog, microscope, _warn)
    except BaseException:
        recorder.close()
        raise


def _process_age() -> float:
    """Seconds since this process started; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - float(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError, AttributeError):
        return 0.0


def _say(text: str) -> None:
    if not is_headless():
        make_console(stderr=True).print(text)


def _warn(text: str) -> None:
    """Report a problem during a run; in a headless worker, to its log."""
    if is_headless():
        logging.getLogger(__name__).warning(text)
    else:
        _say(text)
