"""The live view over real runs: what is drawn is what was measured, where it was measured; and it harms no plan."""

import logging
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from bluesky.plans import count
from bluesky.utils import RunEngineInterrupted

from slads_bluesky.analysis.load import load_map
from slads_bluesky.callbacks.live import LiveView, has_display, live_view
from slads_bluesky.callbacks.live.figure import OUTSIDE, MapFigure, thinned
from slads_bluesky.callbacks.live.state import MapState
from slads_bluesky.callbacks.live.templates import phase_templates
from slads_bluesky.grid import ScanGrid


def panel(view, name):
    """Array that a panel shows."""
    figure = view.figure if isinstance(view, LiveView) else view
    return np.ma.filled(figure.images[name].get_array().astype(float), np.nan)


def data_of(documents):
    return load_map([lambda: iter(documents)])


def seen(data, values, dtype=np.float32):
    """(rows, columns): values of the measured pixels, NaN elsewhere."""
    out = np.full(data.grid.shape, np.nan, dtype)
    out.ravel()[data.pixels] = values
    return out


def check_panels(view, data):
    """Everything drawn against the arrays of the run."""
    np.testing.assert_array_equal(panel(view, "measured"), np.where(inside(data), data.measured, OUTSIDE))
    rebuilt = np.where(data.measured > 0, data.measured, data.reconstruction)
    np.testing.assert_array_equal(panel(view, "reconstruction"), np.where(inside(data), rebuilt, OUTSIDE))
    np.testing.assert_array_equal(panel(view, "erd"), seen(data, data.erd))
    np.testing.assert_array_equal(panel(view, "probability"), seen(data, data.probabilities))


def inside(data):
    return np.ones(data.grid.shape, bool) if data.grid.roi is None else data.grid.roi


@pytest.fixture
def view():
    made = LiveView()
    yield made
    made.close()


def test_a_map_by_lists_is_drawn_as_one_by_points(soft, view):
    from small_map import make_agent

    from slads_bluesky.devices.flyer import SparseFlyer
    from slads_bluesky.devices.sim.softlist import SoftListEngine
    from slads_bluesky.plans.fly import adaptive_lists

    documents = []
    soft.RE.subscribe(view)
    soft.RE.subscribe(lambda name, doc: documents.append((name, doc)))
    flyer = SparseFlyer(SoftListEngine(soft.beam.sem), soft.eds, soft.beam)
    agent = make_agent(soft.phantom, 120)
    soft.RE(adaptive_lists(flyer, soft.beam, soft.eds, agent, batch=50, dwell_s=1.0, baseline=[soft.sem]))
    assert view.flush()
    assert not view.off
    data = data_of(documents)
    assert data.n_measured == 120
    assert {name for name, _ in documents} >= {"event_page"}
    check_panels(view, data)
    np.testing.assert_array_equal(view.figure.lines["spectrum"].get_ydata(), data.spectra[-1])


def test_a_map_as_it_stands_at_its_end(soft, view):
    documents = []
    soft.RE.subscribe(view)
    soft.RE.subscribe(lambda name, doc: documents.append((name, doc)))
    soft.RE(soft.plan(300))
    assert view.flush()
    assert not view.off
    data = data_of(documents)
    assert data.n_measured == 300
    assert np.isfinite(data.erd).sum() == 280
    check_panels(view, data)
    lines = view.figure.lines
    np.testing.assert_array_equal(lines["spectrum"].get_ydata(), data.spectra[-1])
    np.testing.assert_allclose(lines["spectrum"].get_xdata(), data.energies_kev)
    own = data.spectra[data.votes == data.votes[-1]].mean(axis=0)
    np.testing.assert_allclose(lines["template"].get_ydata(), own * data.spectra[-1].sum() / own.sum())
    points = [(m["n_measured"], m["distortion_estimate"]) for m in data.maps]
    points = [(n, d) for n, d in points if np.isfinite(d)]
    assert len(points) > 1
    np.testing.assert_array_equal(lines["curve"].get_xdata(), [n for n, _ in points])
    np.testing.assert_allclose(lines["curve"].get_ydata(), [max(d, 0.1 / 4096) for _, d in points])
    status = " ".join(text.get_text() for text in view.figure._texts.values())
    for word in (data.uid[:8], "300 of 4096", "7.32%", "success", data.verdicts[-1]):
        assert word in status


def test_it_draws_while_the_map_grows(soft):
    # the plan waits at its 100th point until a picture was drawn of fewer points
    view, drawn = LiveView(share=1.0), threading.Event()
    pictures = []

    def note(name, doc):
        if name == "event" and view.state.n_measured == 100:
            assert drawn.wait(60)

    show = view.figure.show

    def spy(state):
        show(state)
        pictures.append(int((panel(view, "measured") >= 0).sum()))
        drawn.set()

    view.figure.show = spy
    soft.RE.subscribe(view)
    soft.RE.subscribe(note)
    soft.RE(soft.plan(200))
    assert view.flush()
    view.close()
    assert 0 < pictures[0] <= 100
    assert pictures[-1] == 200
    assert view.n_drawn == len(pictures)


def test_a_region_of_interest_on_a_grid_that_is_not_square(soft):
    roi = np.zeros((20, 48), bool)
    roi[3:18, 5:40] = True
    grid = ScanGrid((20, 48), (2.0, 0.5), (1.0, -3.0), roi)
    view, documents = LiveView(), []
    soft.RE.subscribe(view)
    soft.RE.subscribe(lambda name, doc: documents.append((name, doc)))
    soft.RE(soft.plan(120, grid))
    assert view.flush()
    view.close()
    data = data_of(documents)
    check_panels(view, data)
    assert (panel(view, "measured") == OUTSIDE).sum() == (~roi).sum()
    image = view.figure.images["measured"]
    (y0, y1), (x0, x1) = grid.extents_um
    assert image.get_extent() == [x0 - 0.25, x1 + 0.25, y1 + 1.0, y0 - 1.0]


def test_events_emitted_again_count_once(recorded):
    documents = recorded.documents
    events = [i for i, (name, doc) in enumerate(documents) if name == "event" and "scan_pixel" in doc["data"]]
    doubled = [
        *documents[: events[40] + 1],
        *(documents[i] for i in events[30:41]),
        *documents[events[40] + 1 :],
    ]
    plain, again = (state_of(docs) for docs in (documents, doubled))
    assert again.n_measured == plain.n_measured == 250
    np.testing.assert_array_equal(again.measured, plain.measured)
    for label in (1, 2):
        one, other = plain.mean_spectrum(label), again.mean_spectrum(label)
        assert one[1] == other[1]
        np.testing.assert_array_equal(one[0], other[0])


def state_of(documents):
    state = MapState(documents[0][1])
    for name, doc in documents[1:]:
        state.take(name, doc)
    return state


def test_order_of_events_does_not_matter(recorded):
    documents = recorded.documents
    primary = [pair for pair in documents if pair[0] == "event" and "scan_pixel" in pair[1]["data"]]
    others = [pair for pair in documents if not any(pair is point for point in primary)]
    shuffled = [others[0], *others[1:4], *primary[::-1], *others[4:]]
    plain, other = state_of(documents), state_of(shuffled)
    np.testing.assert_array_equal(other.measured, plain.measured)
    np.testing.assert_array_equal(other.erd, plain.erd)
    np.testing.assert_array_equal(other.probability, plain.probability)


def test_who_comes_late_learns_of_earlier_pixels_from_the_recorded_maps(recorded):
    documents = recorded.documents
    late = [documents[0]] + [pair for pair in documents[1:] if pair[0] == "descriptor"]
    late += [pair for pair in documents if pair[0] == "event" and "map_labels" in pair[1]["data"]]
    state = state_of(late)
    assert state.n_measured == 250
    np.testing.assert_array_equal(state.measured, state_of(documents).measured)


def test_a_pause_and_an_abort(soft, view):
    documents, paused = [], []

    def pause_once(name, doc):
        if name == "event" and len(view.state.measured[view.state.measured >= 0]) == 60 and not paused:
            paused.append(threading.Thread(target=soft.RE.request_pause))
            paused[0].start()

    soft.RE.subscribe(view)
    soft.RE.subscribe(lambda name, doc: documents.append((name, doc)))
    soft.RE.subscribe(pause_once)
    with pytest.raises(RunEngineInterrupted):
        soft.RE(soft.plan(200))
    soft.RE.abort(reason="seen enough")
    assert view.flush()
    data = data_of(documents)
    assert 60 <= data.n_measured < 200
    np.testing.assert_array_equal(panel(view, "measured"), data.measured)
    assert "abort: seen enough" in view.figure._texts["status"].get_text()


def test_the_next_run_gets_a_picture_of_its_own_and_other_runs_none(soft, view):
    documents = []
    soft.RE.subscribe(view)
    soft.RE(soft.plan(80))
    assert view.flush()
    soft.RE(count([soft.sem], 2))
    assert view.flush()
    assert view.state.n_measured == 80
    soft.RE.subscribe(lambda name, doc: documents.append((name, doc)))
    soft.RE(soft.plan(50))
    assert view.flush()
    check_panels(view, data_of(documents))
    assert not view.off


def test_documents_of_another_run_in_between_do_no_harm(soft, recorded, view):
    foreign = []
    soft.RE.subscribe(lambda name, doc: foreign.append((name, doc)))
    soft.RE(count([soft.sem], 3))
    documents = recorded.documents
    for name, doc in [*documents[:100], *foreign, *documents[100:]]:
        view(name, doc)
    assert view.flush()
    assert not view.off
    check_panels(view, data_of(documents))
    assert "success" in view.figure._texts["status"].get_text()


def test_a_run_that_resumes_the_last_one_is_the_same_map(soft, view):
    both = []
    soft.RE.subscribe(view)
    soft.RE.subscribe(lambda name, doc: both.append((name, doc)))
    soft.RE(soft.plan(60))
    first = list(both)
    both.clear()
    soft.RE(soft.plan(90, seed_of="another", resumes=first[0][1]["uid"]))
    assert view.flush()
    data = load_map([lambda: iter(first), lambda: iter(both)])
    np.testing.assert_array_equal(panel(view, "measured"), data.measured)


@pytest.mark.parametrize("where", ["drawing", "documents", "estimate", "reconstruct"])
def test_an_error_is_logged_once_and_the_plan_continues(soft, caplog, where):
    def fail(*_):
        raise RuntimeError("no ink")

    options = {where: fail} if where in ("estimate", "reconstruct") else {}
    view = LiveView(**options)
    if where == "drawing":
        view.figure.show = fail
    soft.RE.subscribe(view)
    if where == "documents":
        soft.RE.subscribe(lambda name, doc: setattr(view.state, "take", fail), "start")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            uids = soft.RE(soft.plan(60))
            assert len(uids) == 1
            assert view.flush()
    assert view.off == "RuntimeError: no ink"
    assert sum("live view" in record.getMessage() for record in caplog.records) == 1
    view.close()


def test_estimates_and_reconstructions_of_the_map_as_it_stands(soft):
    rebuilt = np.tile(np.array([1, 2], np.uint8), (64, 32))
    view = LiveView(estimate=lambda: 0.125, reconstruct=lambda: rebuilt)
    soft.RE.subscribe(view)
    soft.RE(soft.plan(70))
    assert view.flush()
    view.close()
    assert view.state.curve[-1] == (70, 0.125)
    shown = panel(view, "reconstruction")
    unmeasured = view.state.measured <= 0
    np.testing.assert_array_equal(shown[unmeasured], rebuilt[unmeasured])
    assert "of 70 pixels" in view.figure._texts["reconstruction"].get_text()


def test_the_picture_on_disk_is_a_whole_one(soft, tmp_path):
    from matplotlib.image import imread

    view = LiveView(save=tmp_path / "map.png")
    soft.RE.subscribe(view)
    soft.RE(soft.plan(60))
    assert view.flush()
    view.close()
    assert [path.name for path in tmp_path.iterdir()] == ["map.png"]
    assert imread(tmp_path / "map.png").shape[:2] == (740, 1300)


def test_drawing_again_only_what_changed_gives_the_same_picture(recorded):
    documents = recorded.documents
    moving, fresh = MapFigure(), MapFigure()
    state = MapState(documents[0][1])
    for i, (name, doc) in enumerate(documents[1:]):
        state.take(name, doc)
        if i % 50 == 49:
            moving.show(state)
    moving.show(state)
    assert moving._background is not None
    moving.show(state)
    fresh._limits = {}
    fresh.show(state)
    fresh.figure.axes[-1].get_xlim()
    for name in ("measured", "reconstruction", "probability"):
        box = moving.axes[name].get_window_extent().extents.astype(int)
        height = int(moving.figure.bbox.height)
        one, other = (
            np.asarray(figure.figure.canvas.buffer_rgba())[height - box[3] + 2 : height - box[1] - 2,
                                                           box[0] + 2 : box[2] - 2]
            for figure in (moving, fresh)
        )  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_a_large_map_loses_no_sample():
    rng = np.random.default_rng(3)
    image = np.full((1030, 700), -1, np.int16)
    rows, columns = rng.integers(0, 1030, 200), rng.integers(0, 700, 200)
    image[rows, columns] = rng.integers(0, 4, 200)
    small = thinned(image, OUTSIDE)
    assert small.shape == (344, 234)
    for row, column in zip(rows, columns, strict=True):
        assert small[row // 3, column // 3] >= image[row, column] >= 0
    assert (small >= 0).sum() <= 200
    values = np.where(image >= 0, image, np.nan).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(thinned(values, np.nan)), small < 0)


def test_templates_of_a_classifier_are_what_it_expects(phantom):
    from slads_bluesky.phantom.objects import training_spectra
    from slads_bluesky.spectra import PhaseClassifier

    spectra = training_spectra("pbsn", 0, 6)
    templates = phase_templates(PhaseClassifier.from_spectra(spectra, axis=phantom.axis))
    assert templates.shape == (2, 2040)
    np.testing.assert_allclose(templates.sum(axis=1), 1.0)
    for template, of_phase in zip(templates, spectra.values(), strict=True):
        mean = of_phase.sum(axis=0) / of_phase.sum()
        assert template @ mean / np.linalg.norm(template) / np.linalg.norm(mean) > 0.97
    assert phase_templates(object()) is None


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    assert not has_display()
    assert live_view() is None
    monkeypatch.setattr(plt, "get_backend", lambda: "qtagg")  # asked for, but here is no display
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()
    monkeypatch.setattr(plt, "switch_backend", lambda name: None)
    assert has_display()
    monkeypatch.setitem(sys.modules, "bluesky_queueserver", SimpleNamespace(is_re_worker_active=lambda: True))
    assert not has_display()
