"""A session with ``acquisition: list``: the same plans, their points visited in lists."""

from __future__ import annotations

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.instrument.settings import read_settings

SETTINGS = """
mode: soft
acquisition: list
lists: {{batch: {batch}}}
simulation: {{object: pbsn-32}}
grid: {{shape: [32, 32]}}
sampler: {{fraction: 0.15}}
classifier: {{train: likelihood}}
dose: {{dwell_s: 0.2, error: 0.001}}
catalog: {{directory: record}}
display: {{progress: false, live: false}}
"""


def test_session_by_lists_maps_resumes_and_verifies(tmp_path, monkeypatch, shared_cache):
    from slads_bluesky.instrument import open_session
    from slads_bluesky.plans.queue import queue_plans

    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    path = tmp_path / "instrument.yml"
    path.write_text(SETTINGS.format(batch=12))
    session = open_session(path)
    try:
        plans = queue_plans(session)
        agent = session.make_agent()
        pages = []

        def stop_half_way(name, doc):
            pages.append(name)
            if name == "event_page" and pages.count("event_page") == 4:
                raise RuntimeError("half-way")

        token = session.RE.subscribe(stop_half_way)
        with pytest.raises(RuntimeError, match="half-way"):
            session.RE(plans.map_sample("solder"))
        session.RE.unsubscribe(token)
        before = session.records.load(-1).n_measured
        assert 0 < before < agent.n_wanted
        assert session.records.verify(-1).passed
        session.RE(plans.resume_map())
        data = session.records.load(-1)
        assert data.n_measured == agent.n_wanted
        assert len(data.starts) == 2
        assert {decision.run for decision in data.lists} == {0, 1}
        assert session.records.verify(-1).passed
    finally:
        session.close()


def test_batch_that_is_none_is_named_with_its_line(tmp_path):
    path = tmp_path / "instrument.yml"
    path.write_text(SETTINGS.format(batch=-3))
    with pytest.raises(ConfigError, match=r"line 4.*a batch is a number of points"):
        read_settings(path)
