"""A map of a specimen nobody has described: recorded, verified, resumed after a kill, by points and by lists."""

from __future__ import annotations

import numpy as np
import pytest
from maps import Killed
from scipy.ndimage import minimum_filter

from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.analysis.load import load_map
from slads_bluesky.discovering_agent import UNNAMED, DiscoveringAgent
from slads_bluesky.errors import DataError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.phantom import make_object
from slads_bluesky.record import Journal, journal_directory
from slads_bluesky.record.resume import find_classifier, find_sampler_model, rebuild_agent
from slads_bluesky.record.runs import find_run
from slads_bluesky.record.verify import verify
from slads_bluesky.simulation.run import run_map
from slads_bluesky.simulation.unknown import in_words_of_the_truth, unknown_agent, unknown_models
from slads_bluesky.spectra.dwell_counts import CountTarget


def taken(directory, *, batch=None, stop_after=None, agent=None, md=None):
    phantom = make_object("pbsn-32")
    models = unknown_models(phantom)
    agent = agent or unknown_agent(phantom, models, fraction=0.15)
    seen = []
    with Journal(journal_directory(directory)) as journal:

        def record(name, doc):
            if stop_after is not None and len(seen) >= stop_after:
                raise Killed
            journal(name, doc)
            if name == "event" and "scan_pixel" in doc["data"]:
                seen.append(doc)

        return agent, run_map(
            phantom, models, agent, soft=True, subscribers=[record], dwell_s=0.02, batch=batch, md=md
        )


@pytest.mark.parametrize("batch", [None, 40], ids=["points", "lists"])
def test_map_from_nothing_finds_the_phases_and_is_verified(tmp_path, batch):
    agent, result = taken(tmp_path, batch=batch)
    assert len(agent.discovery.phases) == 2
    figures = in_words_of_the_truth(result).figures()
    assert figures["misclassification"] < 0.03
    assert figures["td"] < 0.08
    data = load_map(find_run("-1", tmp_path))
    assert data.start["model_hashes"]["classifier"] == UNNAMED
    measured = data.measured
    assert np.array_equal(measured, agent.sampler.measured)
    assert data.phases[:2] == ("phase 1", "phase 2")
    model = find_sampler_model(data.start)
    again = rebuild_agent(data.start, model)
    found = verify(data, again, find_classifier(data.start))
    assert found.passed, found.differences
    spectra = data.spectra.copy()
    data.spectra[:] = np.roll(spectra, 1, axis=0)  # somebody changed the data
    assert not verify(data, rebuild_agent(data.start, model), None).passed


def test_map_from_nothing_is_resumed_with_what_it_had_found(tmp_path):
    with pytest.raises(Killed):
        taken(tmp_path, stop_after=90)
    data = load_map(find_run("-1", tmp_path))
    assert 80 <= data.n_measured <= 90
    agent = rebuild_agent(data.start, find_sampler_model(data.start))
    for event in data.events():
        agent.ingest(event)
    assert agent.n_measured == data.n_measured
    assert len(agent.discovery.phases) == 2
    agent, _ = taken(tmp_path, agent=agent, md={"resumes": data.uid})
    assert agent.n_measured == round(0.15 * 1024)


def test_event_without_what_is_needed_is_refused_and_nothing_taken(tmp_path):
    phantom = make_object("pbsn-32")
    agent = unknown_agent(phantom, unknown_models(phantom), fraction=0.1)
    spectrum = np.zeros(phantom.axis.n_channels, np.int32)
    with pytest.raises(DataError, match="scan_pixel"):
        agent.ingest({"seq_num": 3, "data": {"eds_spectrum": spectrum, "eds_verdict": "low_counts"}})
    with pytest.raises(DataError, match="pixel 4000 lies outside"):
        agent.ingest({"data": {"scan_pixel": 4000, "eds_spectrum": spectrum, "eds_verdict": "low_counts"}})
    assert agent.n_measured == 0
    agent.ingest({"data": {"scan_pixel": 7, "eds_verdict": "ill"}})  # a failed point
    assert agent.n_measured == 1
    assert agent.sampler.measured.ravel()[7] == 0


def test_relabel_by_a_classifier_gives_a_map_of_named_phases(tmp_path):
    from slads_bluesky.record.relabel import configuration_for, relabelled
    from slads_bluesky.spectra import PhaseClassifier

    taken(tmp_path)
    run = find_run("-1", tmp_path)
    data = load_map(run)
    named = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
    configuration = configuration_for(data, named)
    assert "discovery" not in configuration
    agent = rebuild_agent({**data.start, "agent": configuration}, find_sampler_model(data.start))
    documents = list(relabelled([run.documents], data, agent, named))
    derived = load_map(lambda: iter(documents))
    assert derived.phases == ("Pb-Sn", "Sn")
    assert derived.n_measured == data.n_measured
    groups = {(int(a), int(b)) for a, b in zip(data.labels, derived.labels, strict=True) if a and b}
    assert {a for a, _ in groups} == {b for _, b in groups} == {1, 2}


def test_first_exposures_are_longer_where_the_dwell_is_not_fixed():
    phantom = make_object("pbsn-32")
    models = unknown_models(phantom)
    agent = unknown_agent(phantom, models, fraction=0.05, initial=0.02, counts=(400, 100))
    events = []

    def keep(name, doc):
        if name == "event" and "scan_pixel" in doc["data"]:
            events.append(doc["data"])

    run_map(phantom, models, agent, soft=True, subscribers=[keep], stop_rule=CountTarget(100))
    counts = np.array([data["eds_counts"] for data in events])
    first = np.isnan([data["scan_erd"] for data in events])
    assert first.sum() == 20
    assert (counts[first] >= 400).all()
    assert np.median(counts[~first]) < 150
    assert (counts[~first] >= 100).all()


def test_neighbours_of_a_spectrum_that_fits_no_phase_are_measured_next():
    about = {"n_channels": 32, "most": 6}
    settings = AgentSettings(
        ScanGrid((32, 32)), 6, fraction=0.5, sampler="low-discrepancy", more={"discovery": about}
    )
    agent = DiscoveringAgent.from_settings(settings)
    rng = np.random.default_rng(0)

    def measure(pixel, first):
        spectrum = rng.poisson(np.where(np.arange(32) // 8 == first, 40, 2))
        agent.ingest({"data": {"scan_pixel": pixel, "eds_spectrum": spectrum, "scan_erd": np.nan}})

    for _ in range(60):
        (at,) = agent.suggest()
        measure(at.pixel, at.pixel % 2)
    free = minimum_filter(agent.sampler.measured == -1, 3, mode="constant")
    odd = int(np.flatnonzero(free)[0])
    measure(odd, 3)
    assert agent.discovery.call(odd).verdict == "unknown"
    for _ in range(2):
        (at,) = agent.suggest()
        row, column = divmod(at.pixel - odd + 33, 32)
        assert max(abs(row - 1), abs(column - 1)) <= 1
        measure(at.pixel, 3)
    agent.discovery.search()
    assert len(agent.discovery.phases) == 3
    hidden, bound = agent.discovery.undiscovered()
    assert hidden == 0.0
    assert 0 < bound < 0.06
