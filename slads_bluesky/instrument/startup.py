"""From ``instrument.yml`` to a session: all parts at once, and all faults reported at once."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..callbacks.headless import is_headless
from ..errors import InstrumentError, SladsError
from ..terminal import make_console
from .parts import Devices, MapModels, connect_devices, make_devices, make_models, start_microscope
from .settings import InstrumentSettings, read_settings

if TYPE_CHECKING:
    from .session import Session

__all__ = ["StartupError", "open_session"]

VARIABLE = "SLADS_INSTRUMENT"
"""Environment variable that names another file than the profile's ``instrument.yml``."""


class StartupError(InstrumentError):
    """The session is not there; says what is missing, part by part."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [str(self)]


def open_session(path: str | Path) -> Session:
    r"""Make the session that a file describes, or none.

    Parameters
    ----------
    path : path
        Of ``instrument.yml``; the environment variable ``SLADS_INSTRUMENT`` wins.

    Returns
    -------
    Session
        Ready: every device answers, every model is loaded, the catalog is open. Closed when the process ends.

    Raises
    ------
    StartupError
        Naming everything that is missing or wrong; nothing is left running.

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
    began = time.monotonic()
    _say("starting …")
    try:
        settings, file = read_settings(os.environ.get(VARIABLE) or path)
    except SladsError as error:
        raise StartupError(f"the session is not started: {error}") from None

    def catalog() -> Any:
        from ..record import default_directory, open_catalog

        return open_catalog(settings.catalog.uri or settings.catalog.directory or default_directory())

    missing: list[str] = []
    with ThreadPoolExecutor(3, thread_name_prefix="slads-start") as pool:
        opened = pool.submit(_tried, "catalog", catalog, missing)
        models = pool.submit(_tried, "models", lambda: make_models(settings, file), missing)
        microscope = None
        if settings.mode == "ioc":
            microscope = _tried("simulated microscope", lambda: start_microscope(settings), missing)
        devices = None
        if settings.mode != "ioc" or microscope is not None:
            devices = _tried("devices", lambda: make_devices(settings, file), missing)
        trained = models.result()
        db = opened.result()
    if devices is not None:
        _tried("devices", lambda: connect_devices(settings, file, devices), missing)
    session: Session | None = None
    if devices is not None and trained is not None and not missing:
        parts = (settings, devices, trained, db, microscope)
        session = _tried("session", lambda: _joined(*parts), missing)
    if session is None:
        if microscope is not None:
            microscope.stop()
        raise StartupError("\n".join(["the session is not started; what is missing:", *missing]))
    atexit.register(session.leave)
    for part, text in session.about().items():
        _say(f"  {part:<11}{text}")
    _say(f"ready in {time.monotonic() - began:.1f} s")
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


def _tried(part: str, make: Callable[[], Any], missing: list[str]) -> Any:
    """Make a part; what goes wrong is put on the list, and the other parts are tried all the same."""
    try:
        return make()
    except SladsError as error:
        missing.append(f"  {part}: {error}")
    except Exception as error:
        missing.append(f"  {part}: {type(error).__name__}: {error}")
    return None


def _say(text: str) -> None:
    if not is_headless():
        make_console(stderr=True).print(text)


def _warn(text: str) -> None:
    """Report a problem during a run; in a headless worker, to its log."""
    if is_headless():
        logging.getLogger(__name__).warning(text)
    else:
        _say(text)
