"""Small real maps of a simulated object over soft devices, for tests of what is done with records."""

from slads_bluesky.analysis.load import load_map
from slads_bluesky.phantom import make_object
from slads_bluesky.record import Journal, journal_directory
from slads_bluesky.simulation.models import prepare_models
from slads_bluesky.simulation.run import make_agent, run_map

OBJECT = "pbsn-48"


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


def take_map(directory, cache, *, fraction=0.12, kill_after=None, md=None, agent=None, seed=0, batch=None):
    """Record one map into a journal; with `kill_after`, nothing of what follows that event is recorded."""
    phantom = make_object(OBJECT, seed)
    # the paper's networks know spectra of one live time; a list's dwell is real time
    kind = {} if batch is None else {"classifier": "likelihood"}
    models = prepare_models(OBJECT, seed=seed, cache=cache, **kind)
    agent = agent or make_agent(phantom, models, fraction=fraction, seed=seed)
    journal = Journal(journal_directory(directory))
    uids = []

    def record(name, doc):
        if name == "start":
            uids.append(doc["uid"])
        if kill_after is None or len(seen) < kill_after:
            journal(name, doc)
        if name == "event" and "scan_pixel" in doc["data"]:
            seen.append(doc)

    seen = []
    run_map(phantom, models, agent, soft=True, subscribers=[record], md=md, batch=batch)
    journal.close()
    return uids[0]


def data_of(run, spectra=True):
    return load_map([run.documents], spectra=spectra)
