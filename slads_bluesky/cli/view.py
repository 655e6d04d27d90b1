"""``slads-bluesky view``: the live view's picture of a stored run, or of one that another process is taking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, RecordError
from ..files import atomic_write, check_writable, write_json
from ..terminal import make_console
from .options import Json
from .record import Uid, Where

if TYPE_CHECKING:
    from ..callbacks.live.state import MapState

__all__ = ["register", "view"]

POLL_S = 0.2
"""How often the journal of a growing run is looked at."""
SHARE = 0.5
"""Drawing in a process of its own may take this part of its time."""


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command(context_settings={"ignore_unknown_options": True})(view)  # "-1" is a run, not an option


def view(
    uid: Uid,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the picture (.png, .pdf, .svg) instead of opening a window."
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Follow a run that another process is taking, to its end.")
    ] = False,
    zmq: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Follow it over a 0MQ proxy's outgoing side, not in the journal."
        ),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw this classifier's templates, not the map's own mean spectra."
        ),
    ] = None,
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOLS|auto",
            help="Element maps of a stored run, with --save only; with --live or --zmq a preview of up to four.",
        ),
    ] = None,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Draw a map: measured pixels by phase, reconstruction, ERD, probability, stop curve, newest spectrum."""
    from ..callbacks.live import has_display

    console = make_console()
    check_writable(json_file)
    _check_picture(save)
    follows = live or zmq is not None
    preview = _preview(elements) if follows else ()
    if elements is not None and not follows:
        if save is None:
            raise ConfigError("--elements draws a stored run into a picture: name it with --save FILE.png")
        write_json(json_file, _draw_element_maps(uid, catalog, elements, save))
        console.print(str(save))
        return
    if save is None and not has_display():
        raise ConfigError("there is no display to open a window on: name a picture with --save FILE.png")
    templates = _templates(classifier)
    if zmq is not None:
        state = _follow(_received(uid, zmq, console), save, templates, preview)
    elif live:
        state = _follow(_growing(uid, catalog), save, templates, preview)
        if not state.stop_doc:
            console.print(f"run {state.uid[:8]} was interrupted: no process takes it any more")
    else:
        state = _stored(uid, catalog)
        _draw(state, save, templates)
    figures = {
        "uid": state.uid,
        "n_measured": state.n_measured,
        "n_failed": state.n_failed,
        "reconstructed_at": state.reconstructed_at,
        "curve": [[n, distortion] for n, distortion in state.curve],
        "exit_status": state.stop_doc.get("exit_status", "unfinished"),
        "picture": None if save is None else str(save),
    }
    if save is not None:
        console.print(str(save))
    write_json(json_file, figures)


def _check_picture(save: Path | None) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    check_writable(save)
    if save is not None and save.suffix[1:].lower() not in FigureCanvasAgg.get_supported_filetypes():
        known = "png, pdf, svg"
        raise ConfigError(f"cannot write {save}: a picture ends in {known}, not '{save.suffix}'")


def _templates(classifier: Path | None) -> Any:
    if classifier is None:
        return None
    from ..callbacks.live.templates import phase_templates
    from ..spectra import load_classifier

    templates = phase_templates(load_classifier(classifier))
    if templates is None:
        raise ConfigError(f"{classifier}: a classifier without templates")
    return templates


def _stored(uid: str, where: str | None) -> MapState:
    """Take all documents of a map, those of the runs that it resumes first."""
    from ..callbacks.live.state import MapState, is_map
    from ..record.runs import find_run, map_runs

    state: MapState | None = None
    for run in map_runs(find_run(uid, where), where):
        if not is_map(run.start):
            raise RecordError(f"run {run.uid[:8]} by plan '{run.start.get('plan_name')}' is no map: no grid")
        if state is None:
            state = MapState(run.start)
        for name, doc in run.documents():
            state.take(name, doc)
    assert state is not None
    return state


def _draw(state: MapState, save: Path | None, templates: Any) -> None:
    from ..callbacks.live.figure import MapFigure, new_window

    if save is not None:
        picture = MapFigure(templates=templates)
        picture.show(state)
        with atomic_write(save) as partial:
            picture.save(partial, format=save.suffix[1:])
        return
    import matplotlib.pyplot as plt

    MapFigure(new_window(), templates).show(state)
    plt.show()


def _draw_element_maps(uid: str, where: str | None, elements: str, save: Path) -> dict[str, Any]:
    """Draw the element maps of a stored run, of one that is not finished as far as it is recorded."""
    from ..export.element_panels import draw_elements
    from ..export.panels import figure_of
    from .carry import compute_elements
    from .record import open_map

    _, data = open_map(uid, where)
    maps = compute_elements(data, elements, None, "measured")
    height = 2.8 * (len(maps.elements) // 2 + 1)
    figure = figure_of(draw_elements, data, maps, size=(11, height))
    with atomic_write(save) as partial:
        figure.savefig(partial, format=save.suffix[1:], dpi=110)
    return {"uid": data.uid, "elements": list(maps.elements), "picture": str(save)}


def _growing(uid: str, where: str | None) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """Yield documents of a journal as they are written, None where there is nothing new yet."""
    from ..record.journal.reading import JournalTail
    from ..record.journal.writing import is_being_taken
    from ..record.runs import find_run

    run = find_run(uid, where)
    if not Path(run.source).is_file():
        raise ConfigError(
            f"{where} has no journal to follow: --live takes a record's directory, or use --zmq"
        )
    with JournalTail(run.source) as tail:
        while True:
            taken = is_being_taken(run.source)  # before reading: what is written meanwhile is read, too
            yield from tail.read()
            if tail.stopped or not taken:
                return
            yield None


def _received(uid: str, address: str, console: Any) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """Yield documents of a run over 0MQ, None where there is nothing new yet."""
    from ..callbacks.publish.zmq import ZMQListener

    console.print(f"waiting at {address} for a run to start")
    run: str | None = None
    with ZMQListener(address) as listener:
        while True:
            pair = listener.next(POLL_S)
            if pair is None:
                yield None
                continue
            name, doc = pair
            if name == "start" and run is None and _is_wanted(uid, doc):
                run = doc["uid"]
                console.print(f"run {run[:8]} has started")
            if run is not None:
                yield name, doc
            if name == "stop" and doc.get("run_start") == run:
                return


def _is_wanted(uid: str, start: dict[str, Any]) -> bool:
    return uid == "-1" or start["uid"].startswith(uid) or str(start.get("scan_id")) == uid


def _preview(elements: str | None) -> tuple[str, ...]:
    """Elements whose counts are drawn while a map grows."""
    if elements == "auto":
        raise ConfigError(
            "--elements auto needs the whole map: name up to four elements to follow, such as Si,Fe"
        )
    return tuple(symbol.strip() for symbol in (elements or "").split(",") if symbol.strip())


def _follow(
    documents: Iterator[tuple[str, dict[str, Any]] | None],
    save: Path | None,
    templates: Any,
    elements: tuple[str, ...],
) -> MapState:
    from ..callbacks.live import LiveView

    view = LiveView(window=save is None, save=save, templates=templates, share=SHARE, elements=elements)
    rest = _pauser(save is None)
    for pair in documents:
        if pair is None:
            rest(POLL_S)
        else:
            view(*pair)
        if view.off:
            break
    if not view.off:
        view.end()
        view.flush()
    view.close()
    if view.off:
        raise ConfigError(f"the picture cannot be drawn: {view.off}")
    if view.state is None:
        raise RecordError("the run that was followed is no map: no grid")
    if save is None:
        import matplotlib.pyplot as plt

        plt.show()
    return view.state


def _pauser(window: bool) -> Callable[[float], Any]:
    if not window:
        return time.sleep
    import matplotlib.pyplot as plt

    return plt.pause  # the window lives while we wait
