"""One browser's page: figures that follow the maps it looks at, and words and lists that its script lays out.

Figures are Bokeh's. All else travels as JSON through two hidden fields: ``outbox``, of which only what changed is
sent, and ``inbox``, in which the browser puts what its user does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from importlib.resources import files
from typing import Any

from bokeh.core.templates import Template
from bokeh.events import MouseLeave, MouseMove, Tap
from bokeh.models import CustomJS, DataRange1d, TextInput

from ..errors import SladsError
from .curve_panel import AXES, CurvePanel
from .desk import Desk, WatchedRun
from .facts import describe_abundances, describe_pixel, describe_run, legend
from .layers import LAYERS, Sight
from .map_panel import MapPanel
from .spectrum_panel import SpectrumPanel
from .steering import Steering

__all__ = ["Page"]

_log = logging.getLogger(__name__)
TICK_MS = 200
SHARE = 0.3
"""Part of its time that a page may spend on pictures."""
LIST_S = 1.0
"""How often the list of runs is looked at, s."""
SIDES = ("left", "right")


class Page:
    """A page in one browser.

    Parameters
    ----------
    document : bokeh Document
    desk : Desk
    """

    def __init__(self, document: Any, desk: Desk) -> None:
        self._document, self._desk = document, desk
        self._runs: dict[str, WatchedRun | None] = {"main": None, "other": None}
        self._layers = {"left": "measured", "right": "reconstruction"}
        self._elements = {"left": "", "right": ""}
        self._abundances = ""
        self._before: dict[str, Any] | None = (
            None  # what a check of the next map, or of the instrument, answered
        )
        self._newest, self._theme, self._axis = True, "light", "samples"
        self._search = {"text": "", "since": "", "until": ""}
        self._pointer: tuple[str, float, float] | None = None  # side, x, y
        self._pinned: tuple[str, int] | None = None  # uid, pixel
        self._spectrum_shown: Any = None
        self._drawn: dict[str, Any] = {}
        self._due_at = self._listed_at = 0.0
        self._listing: Future[Any] | None = None
        self._sent: dict[str, str] = {}
        self._notice: dict[str, Any] = {"id": 0, "text": "", "bad": False}
        self._gone = False
        ranges = DataRange1d(range_padding=0.02), DataRange1d(range_padding=0.02, flipped=True)
        self._maps = {side: MapPanel(f"map_{side}", ranges) for side in SIDES}
        self._spectrum, self._curve = SpectrumPanel(), CurvePanel()
        self._inbox, self._outbox = TextInput(name="inbox"), TextInput(name="outbox")
        self._steering = Steering(desk, self._say, self._later)
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "select": self._on_select, "newest": self._on_newest, "compare": self._on_compare,
            "search": self._on_search, "layer": self._on_layer, "theme": self._on_theme, "axis": self._on_axis,
            "unpin": self._on_unpin, "hello": self._on_hello, "element": self._on_element,
            **self._steering.handlers,
        }  # fmt: skip
        self._build()

    def _build(self) -> None:
        document = self._document
        for side, panel in self._maps.items():
            panel.figure.on_event(MouseMove, lambda event, side=side: self._moved(side, event))
            panel.figure.on_event(MouseLeave, lambda event: self._left())
            panel.figure.on_event(Tap, lambda event, side=side: self._tapped(side, event))
        self._dress()
        self._inbox.on_change("value", lambda attribute, old, new: self._received(new))
        self._outbox.js_on_change(
            "value", CustomJS(code="window.slads && window.slads.receive(cb_obj.value)")
        )
        document.js_on_event(
            "document_ready",
            CustomJS(
                args={"inbox": self._inbox, "outbox": self._outbox},
                code="window.slads.connect(inbox, outbox)",
            ),
        )
        document.js_on_event("connection_lost", CustomJS(code="window.slads.lost()"))
        for root in (*(panel.figure for panel in self._maps.values()), self._spectrum.figure, self._curve.figure,
                     self._inbox, self._outbox):  # fmt: skip
            document.add_root(root)
        document.title = "slads-bluesky watch"
        source = files("slads_bluesky.watch").joinpath("static/page.html").read_text("utf-8")
        document.template = Template(source)
        document.template_variables.update(
            layers=[(layer.name, layer.title, layer.help) for layer in LAYERS.values()],
            axes=list(AXES), record=str(self._desk.record), queue=self._desk.queue is not None,
        )  # fmt: skip
        document.add_periodic_callback(self.tick, TICK_MS)
        document.on_session_destroyed(lambda context: self.close())

    def close(self) -> None:
        """The browser is gone."""
        self._gone = True
        for name, run in self._runs.items():
            if run is not None:
                self._desk.leave(run)
            self._runs[name] = None

    # ------------------------------------------------------------------ what the user does

    def _received(self, text: str) -> None:
        try:
            message = json.loads(text)
            handler = self._handlers.get(str(message.get("do")))
            if handler is not None:
                handler(message)
        except SladsError as error:
            self._say(str(error), bad=True)
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("the page sent something that is no request: %.200s", text)
        self.tick()

    def _on_hello(self, message: dict[str, Any]) -> None:
        """The browser's memory of how it looked before."""
        self._sent.clear()
        for side in SIDES:
            if message.get(side) in LAYERS:
                self._layers[side] = message[side]
        if message.get("axis") in AXES:
            self._axis = message["axis"]
        self._on_theme(message)
        if message.get("run"):
            try:
                self._on_select({"uid": message["run"]})
            except SladsError:  # of a record that was served here before
                self._newest = True
        if message.get("other"):
            self._on_compare({"uid": message["other"]})

    def _on_select(self, message: dict[str, Any]) -> None:
        self._newest = False
        self._watch("main", str(message["uid"]))

    def _on_newest(self, message: dict[str, Any]) -> None:
        self._newest, self._listed_at = True, 0.0

    def _on_compare(self, message: dict[str, Any]) -> None:
        uid = message.get("uid")
        self._watch("other", str(uid) if uid else None)
        self._layers["right"] = self._layers["left"] if uid else "reconstruction"

    def _on_search(self, message: dict[str, Any]) -> None:
        self._search = {key: str(message.get(key, "")) for key in self._search}
        self._listed_at = 0.0

    def _on_layer(self, message: dict[str, Any]) -> None:
        if message["layer"] in LAYERS and message["side"] in SIDES:
            self._layers[message["side"]] = message["layer"]

    def _on_element(self, message: dict[str, Any]) -> None:
        if message["side"] in SIDES:
            self._elements[message["side"]] = str(message["element"])

    def _on_theme(self, message: dict[str, Any]) -> None:
        theme = "dark" if message.get("dark") else "light"
        if theme != self._theme:
            self._theme = theme
            self._drawn.clear()
            self._dress()

    def _on_axis(self, message: dict[str, Any]) -> None:
        if message["axis"] in AXES:
            self._axis = message["axis"]
            self._curve.refit()

    def _on_unpin(self, message: dict[str, Any]) -> None:
        self._pinned = None

    def _moved(self, side: str, event: Any) -> None:
        if event.x is not None and event.y is not None:
            self._pointer = side, float(event.x), float(event.y)

    def _left(self) -> None:
        self._pointer = None

    def _tapped(self, side: str, event: Any) -> None:
        found = self._pixel(side, float(event.x), float(event.y))
        if found is not None:
            run, pixel = found
            self._pinned = None if self._pinned == (run.uid, pixel) else (run.uid, pixel)

    # ------------------------------------------------------------------ what the page shows

    def _later(self, action: Callable[[], None]) -> None:
        """Do something in the page's loop; called from any thread."""
        if not self._gone:
            self._document.add_next_tick_callback(action)

    def _say(self, text: str, bad: bool = False) -> None:
        self._notice = {"id": self._notice["id"] + 1, "text": text, "bad": bad}

    def _watch(self, name: str, uid: str | None) -> None:
        """Look at another run, or at none."""
        before = self._runs[name]
        if before is not None and before.uid == uid:
            return
        taken = self._desk.take(uid) if uid else None
        if before is not None:
            self._desk.leave(before)
        self._runs[name] = taken
        self._drawn.clear()
        self._spectrum_shown = self._pinned = None
        if name == "main":
            for panel in self._maps.values():
                panel.refit()
            self._curve.refit()

    def _shown(self, side: str) -> WatchedRun | None:
        other = self._runs["other"]
        return other if side == "right" and other is not None else self._runs["main"]

    def _dress(self) -> None:
        panels: list[Any] = [*self._maps.values(), self._spectrum, self._curve]
        for panel in panels:
            panel.dress(self._theme)

    def tick(self) -> None:
        """Show what is new."""
        if self._gone:
            return
        now = time.monotonic()
        self._list(now)
        self._point()
        if now >= self._due_at:
            self._draw()
            took = time.monotonic() - now
            self._due_at = now + min(took * (1 / SHARE - 1), 3.0)
        self._send()
        self._desk.tidy()

    def _list(self, now: float) -> None:
        """Refresh the list of runs in a thread; follow the newest map if that is wanted."""
        if self._listing is not None and self._listing.done():
            found, newest = self._listing.result()
            self._listing = None
            if self._newest and newest is not None:
                try:
                    self._watch("main", newest.uid)
                except SladsError as error:
                    self._say(str(error), bad=True)
            self._drawn["runs"] = [run.to_json() for run in found]  # after another map, which draws all again
        if self._listing is None and now - self._listed_at >= LIST_S:
            self._listed_at = now
            search: dict[str, Any] = dict(self._search)
            self._listing = self._desk.workers.submit(
                lambda: (self._desk.runs.search(**search), self._desk.runs.newest())
            )

    def _draw(self) -> None:
        """Draw what changed since it was drawn last."""
        for side, panel in self._maps.items():
            run, layer = self._shown(side), self._layers[side]
            if run is not None and layer == "elements":
                run.elements.want()
            seen = None if run is None else (run.uid, layer, self._elements[side], self._theme, run.version)
            if self._drawn.get(side) == (seen or "empty"):
                continue
            self._drawn[side] = seen or "empty"
            if run is None:
                panel.show(None, None)
                self._drawn[f"{side}_legend"] = legend(None, layer, None)
                continue
            state = run.follower.state
            picture = LAYERS[layer].draw(
                Sight(state, run.analyst.snapshot, self._theme, run.elements.maps, self._elements[side])
            )
            panel.show(picture, state.grid)
            self._drawn[f"{side}_legend"] = legend(run, layer, picture, self._theme)
        runs = list(self._runs.values())
        seen_curve = (self._axis, [run and (run.uid, run.version) for run in runs])
        if self._drawn.get("curve") != seen_curve:
            self._drawn["curve"] = seen_curve
            self._curve.show(runs, self._axis)

    def _pixel(self, side: str, x: float, y: float) -> tuple[WatchedRun, int] | None:
        run = self._shown(side)
        if run is None:
            return None
        try:
            return run, run.follower.state.grid.pixel(x, y)
        except IndexError:
            return None

    def _point(self) -> None:
        """Show the spectrum under the pointer, of the pinned pixel, or the newest."""
        found: tuple[WatchedRun, int] | None = None
        pinned = False
        if self._pinned is not None:
            run = next((run for run in self._runs.values() if run and run.uid == self._pinned[0]), None)
            found, pinned = (None if run is None else (run, self._pinned[1])), run is not None
        elif self._pointer is not None:
            found = self._pixel(*self._pointer)
        main = self._runs["main"]
        if found is None and main is not None and main.follower.state.newest is not None:
            found = main, main.follower.state.newest.pixel
        if found is None:
            if self._spectrum_shown is not None:
                self._spectrum_shown = None
                self._spectrum.show(None, None, None, (), "")
            self._drawn["pixel"] = None
            return
        run, pixel = found
        points, grid = run.follower.state.points, run.follower.state.grid
        row = points.row_of(pixel)
        if row is None:
            row = points.nearest(pixel, grid.shape[1])
        known = (
            None
            if row is None
            else (
                run.uid,
                row,
                points.place(row),
                run.templates is not None,
                run.follower.state.n_found,
                self._theme,
                pixel if pinned else None,
            )
        )
        if known != self._spectrum_shown:
            self._spectrum_shown = known
            for side, panel in self._maps.items():
                panel.mark(pixel if pinned and self._shown(side) is run else None, grid)
            self._show_spectrum(run, row)
        about = describe_pixel(run, pixel, row, pinned=pinned, theme=self._theme)
        if self._abundances:
            about["facts"].append(self._abundances)
        self._drawn["pixel"] = {**about, "newest": self._pinned is None and self._pointer is None}

    def _show_spectrum(self, run: WatchedRun, row: int | None) -> None:
        state, reader, keys = run.follower.state, run.follower.reader, run.follower.keys
        counts, self._abundances = None, ""
        if row is not None:
            place = state.points.place(row)
            try:
                counts = reader.read(place)
                parts = [reader.value(place, key) for key in (keys.abundances, keys.abundance_sd)]
                self._abundances = describe_abundances(state, *parts)
            except SladsError as error:
                self._say(str(error), bad=True)
        if counts is None or row is None:
            self._spectrum.show(None, None, None, (), "")
            return
        label = int(state.points.column("label")[row])
        if state.finds_phases:
            label = max(int(state.measured.flat[state.points.column("pixel")[row]]), 0)
        expected = None
        if run.templates is not None and 0 < label <= len(run.templates):
            expected = run.templates[label - 1]
        elif (mean := state.mean_spectrum(label)) is not None and mean[1] > 3:
            expected = mean[0]
        self._spectrum.show(counts, expected, state.energy_kev, state.phases, state.phase(label))

    def _send(self) -> None:
        """Send the parts that changed."""
        main, other = self._runs["main"], self._runs["other"]
        parts: dict[str, Any] = {
            "run": None if main is None else describe_run(main, self._theme),
            "other": None if other is None else describe_run(other, self._theme),
            "left": self._drawn.get("left_legend"),
            "right": self._drawn.get("right_legend"),
            "pixel": self._drawn.get("pixel"),
            "notice": self._notice,
            "before": self._steering.answer,
            "view": {"newest": self._newest, "axis": self._axis, "theme": self._theme},
            "beat": int(time.time()),
        }
        if "runs" in self._drawn:
            parts["runs"] = self._drawn["runs"]
        if self._desk.queue is not None:
            parts["queue"] = self._desk.queue.shown
        changed = {}
        for name, value in parts.items():
            text = json.dumps(value, default=_plain, allow_nan=False)
            digest = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
            if self._sent.get(name) != digest:
                self._sent[name] = digest
                changed[name] = value
        if changed:
            self._outbox.value = json.dumps(changed, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
