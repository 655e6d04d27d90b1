"""The session's RunEngine: after any end of a plan, the catalog has the run; displays pause with the plan."""

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import RunEngineInterrupted
from tiled.queries import Key

from slads_bluesky.errors import RecordError
from slads_bluesky.instrument.engine import RecordedEngine
from slads_bluesky.instrument.records import Records
from slads_bluesky.record import Journal, Recorder, journal_directory, open_catalog
from slads_bluesky.record.catalog.own_runs import own_runs
from slads_bluesky.record.catalog.store import close_catalog


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A RunEngine, its recorder and its catalog."""
    directory = tmp_path_factory.mktemp("lab")
    with Recorder(directory) as recorder:
        catalog = open_catalog(directory)
        yield RecordedEngine(recorder, context_managers=[]), recorder, catalog
        close_catalog(catalog)


@bpp.run_decorator(md={"purpose": "test"})
def broken():
    yield from bps.null()
    raise RuntimeError("broken in mid-run")


@bpp.run_decorator()
def paused():
    yield from bps.checkpoint()
    yield from bps.pause()
    yield from bps.null()


def test_catalog_after_a_failed_plan_ends_with_that_run(lab):
    engine, recorder, catalog = lab
    with pytest.raises(RuntimeError, match="broken"):
        engine(broken())
    assert catalog[-1].metadata["start"]["uid"] == recorder.uids[-1]
    assert catalog[-1].metadata["stop"]["exit_status"] == "fail"


@pytest.mark.parametrize(
    ("end", "status"), [("abort", "abort"), ("stop", "success"), ("halt", "abort"), ("resume", "success")]
)
def test_catalog_after_a_pause_has_the_stop_document_however_the_run_ends(lab, end, status):
    engine, recorder, catalog = lab
    with pytest.raises(RunEngineInterrupted):
        engine(paused())
    getattr(engine, end)()
    assert catalog[-1].metadata["start"]["uid"] == recorder.uids[-1]
    assert catalog[-1].metadata["stop"]["exit_status"] == status


def test_newest_run_of_a_session_is_its_own_while_another_records_beside_it(lab):
    engine, recorder, catalog = lab
    engine(broken_free())
    theirs = []
    with Journal(
        journal_directory(recorder.directory)
    ) as journal:  # another session's, whose catalog is late
        other = RunEngine({}, context_managers=[])
        other.subscribe(journal)
        for _ in range(2):
            theirs += other(broken_free())
    open_catalog(recorder.directory)  # catches up
    mine, other_one = own_runs(catalog, recorder.uids), own_runs(catalog, theirs)
    assert catalog[-1].start["uid"] == other_one[-1].start["uid"] == theirs[-1]
    assert mine[-1].start["uid"] == recorder.uids[-1]
    assert mine[-2].start["uid"] == recorder.uids[-2]
    assert other_one[-3].start["uid"] == recorder.uids[-1]
    records = Records(recorder.directory, None, print, recorder.uids)
    assert records.run(-1).uid == records.run("-1").uid == recorder.uids[-1]
    with pytest.raises(RecordError, match="none is number -99"):
        records.run(-99)
    # the rest of the view is the catalog: lookups by uid, iteration, searches
    assert mine[theirs[0][:8]].start["uid"] == theirs[0]
    assert list(mine) == list(catalog)
    assert mine.search(Key("start.uid") == theirs[0])[-1].start["uid"] == theirs[0]
    assert own_runs(catalog, [])[-1].start["uid"] == theirs[-1]


def test_displays_pause_with_the_plan_and_resume_with_it(lab):
    engine, _, _ = lab

    class Display:
        def __init__(self):
            self.calls = []

        def pause(self):
            self.calls.append("pause")

        def resume(self):
            self.calls.append("resume")

    display = Display()
    engine.displays.append(display)
    with pytest.raises(RunEngineInterrupted):
        engine(paused())
    assert display.calls == ["pause"]
    engine.resume()
    assert display.calls == ["pause", "resume", "pause"]


def test_marks_win_over_a_users_metadata(lab):
    documents = []
    engine = RecordedEngine(
        lab[1], marks={"slads_simulation": {"object": "pbsn-64", "seed": 0}}, context_managers=[]
    )
    engine.md["slads_simulation"] = "mine"
    engine(broken_free(), lambda name, doc: documents.append((name, doc)), slads_simulation="mine")
    assert documents[0][1]["slads_simulation"] == {"object": "pbsn-64", "seed": 0}


@bpp.run_decorator()
def broken_free():
    yield from bps.null()
