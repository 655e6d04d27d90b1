"""A page without a browser: what it sends, and what its figures hold, after what a user does."""

import json
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.events import MouseLeave, MouseMove, Tap

from slads_bluesky.analysis.load import load_map
from slads_bluesky.record.runs import find_run
from slads_bluesky.watch import page as page_module
from slads_bluesky.watch.desk import Desk, WatchedRun
from slads_bluesky.watch.layers import LAYERS
from slads_bluesky.watch.look import COLOURS
from slads_bluesky.watch.page import Page


class AtOnce:
    """Does what it is given before it returns."""

    def submit(self, work):
        done = Future()
        done.set_result(work())
        return done

    def shutdown(self, **how):
        pass


def read_whole(run):
    while run.follower.step():
        pass
    while run.analyst.step():
        pass


@pytest.fixture
def opened(recorded, monkeypatch):
    """A page over a finished map; ``do(request)`` returns all that was sent so far, by part."""
    monkeypatch.setattr(WatchedRun, "open", read_whole)
    monkeypatch.setattr(page_module, "SHARE", 1.0)  # it draws at each tick
    desk, document, sent = Desk(recorded.directory), Document(), {}
    desk.workers.shutdown()
    desk.workers = AtOnce()
    page = Page(document, desk)
    roots = {root.name: root for root in document.roots}
    roots["outbox"].on_change("value", lambda name, old, new: sent.update(json.loads(new)))

    def show():
        page.tick()
        return sent

    def do(**request):
        roots["inbox"].value = json.dumps(request)
        return show()

    def at(event, x=None, y=None, side="left"):
        figure = roots[f"map_{side}"]
        figure._trigger_event(event(figure) if x is None else event(figure, x=x, y=y))
        return show()

    yield SimpleNamespace(page=page, show=show, do=do, at=at, roots=roots)
    page.close()
    desk.close()


@pytest.fixture
def data(recorded):
    return load_map(find_run(recorded.uid, recorded.directory))


def columns(figure, i=0):
    return figure.renderers[i].data_source.data


def test_page_shows_the_newest_map_by_itself(opened, recorded, data):
    opened.show()  # asks for the list
    sent = opened.show()
    assert (sent["run"]["uid"], sent["run"]["n"], sent["run"]["sample"]) == (recorded.uid, 250, "solder")
    assert sent["view"] == {"newest": True, "axis": "samples", "theme": "light"}
    assert [run["uid"] for run in sent["runs"]] == [recorded.uid]
    measured, whole = (columns(opened.roots[f"map_{side}"])["image"][0] for side in ("left", "right"))
    unmeasured = np.bincount(measured.ravel()).argmax()  # as a number of a colour
    assert np.array_equal(np.flatnonzero(measured != unmeasured), np.sort(data.pixels))
    called = data.pixels[data.votes > 0]
    assert np.array_equal(measured.flat[called], whole.flat[called])
    assert len(np.unique(whole)) == len(data.phases)
    assert (sent["left"]["layer"], sent["right"]["layer"]) == ("measured", "reconstruction")


@pytest.mark.parametrize("layer", [name for name in LAYERS if name != "elements"])  # test_page.py
def test_page_layer_of_either_side_is_drawn_or_says_why_not(opened, recorded, layer):
    opened.do(do="select", uid=recorded.uid)
    sent = opened.do(do="layer", side="right", layer=layer)
    assert sent["right"]["layer"] == layer
    drawn = np.isfinite(columns(opened.roots["map_right"])["image"][0]).any()
    assert drawn or sent["right"].get("note")
    assert sent["left"]["layer"] == "measured"


def test_page_pointer_shows_its_pixels_spectrum_and_a_tap_keeps_it(opened, recorded, data):
    opened.do(do="select", uid=recorded.uid)
    pixel = int(data.pixels[17])
    x, y = data.grid.position(pixel)
    sent = opened.at(MouseMove, x, y)
    shown = columns(opened.roots["spectrum"])["counts"]  # from the first channel above 0 keV
    assert np.array_equal(shown, data.spectra[17][-shown.size :])
    assert not sent["pixel"]["newest"]
    opened.at(Tap, x, y)
    opened.at(MouseLeave)
    assert np.array_equal(columns(opened.roots["spectrum"])["counts"], shown)
    mark = opened.roots["map_left"].renderers[-1].data_source.data
    assert (mark["x"], mark["y"]) == ([x], [y])
    sent = opened.do(do="unpin")
    assert sent["pixel"]["newest"]
    assert np.array_equal(columns(opened.roots["spectrum"])["counts"], data.spectra[-1][-shown.size :])
    assert opened.at(MouseMove, 1e6, 1e6)["pixel"]["newest"] is False  # beside the map: the newest is shown


def test_page_curve_is_of_two_maps_against_what_is_asked_for(opened, recorded, data):
    opened.do(do="select", uid=recorded.uid)
    assert columns(opened.roots["curve"], 2)["n"].size == 0
    sent = opened.do(do="compare", uid=recorded.uid)
    assert sent["other"]["uid"] == recorded.uid
    assert sent["right"]["layer"] == sent["left"]["layer"]
    for axis in ("time", "dose", "samples"):
        assert opened.do(do="axis", axis=axis)["view"]["axis"] == axis
    assert opened.do(do="axis", axis="moons")["view"]["axis"] == "samples"
    assert opened.do(do="compare", uid="")["other"] is None


def test_page_theme_is_that_of_every_figure_and_a_browser_is_remembered(opened, recorded):
    sent = opened.do(do="hello", dark=True, left="order", axis="dose", run=recorded.uid)
    assert (sent["view"]["theme"], sent["view"]["axis"]) == ("dark", "dose")
    assert sent["run"]["uid"] == recorded.uid
    for name in ("map_left", "map_right", "spectrum", "curve"):
        assert opened.roots[name].background_fill_color == COLOURS["dark"]["frame"]
    assert opened.do(do="hello", run="a run of another record")["view"]["newest"]


def test_page_search_lists_what_is_found(opened, recorded):
    assert [run["uid"] for run in opened.do(do="search", text="solder")["runs"]] == [recorded.uid]
    opened.do(do="search", text="cheese")
    assert opened.show()["runs"] == []


def test_page_requests_that_are_none_are_logged_or_said(opened, caplog):
    for text in ("[1]", "{", '{"do": "layer"}', '{"do": "nothing"}'):
        opened.roots["inbox"].value = text
    assert caplog.text.count("is no request") == 3
    assert opened.do(do="select", uid="0" * 36)["notice"]["bad"]
