"""A session whose instrument.yml states an interaction volume: spectra are read as mixtures."""

from __future__ import annotations

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.instrument import open_session, read_settings
from slads_bluesky.plans.queue import queue_plans
from slads_bluesky.spectra.dwell_mixed import MixtureTest

SETTINGS = """
mode: soft
acquisition: {acquisition}
simulation: {{object: pbsn-32}}
grid: {{shape: [32, 32], step_um: 0.5}}
sampler: {{name: {name}, fraction: 0.02, interaction_um: 0.6}}
classifier: {{train: likelihood}}
dose: {{dwell_s: 0.2, error: 0.001}}
catalog: {{directory: record}}
display: {{progress: false, live: false}}
"""


def test_a_session_with_an_interaction_volume_reads_mixtures_and_records_the_sharp_map(
    tmp_path, monkeypatch, shared_cache
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    path = tmp_path / "instrument.yml"
    path.write_text(SETTINGS.format(acquisition="point", name="learned"))
    session = open_session(path)
    try:
        plans = queue_plans(session)
        assert isinstance(session.prepare_map()["stop_rule"], MixtureTest)
        session.RE(plans.map_sample("solder"))
        data = session.records.load(-1)
        assert data.starts[0]["agent"]["sampler"]["interaction_px"] == pytest.approx(1.2)
        assert data.abundances.shape == (20, 2)
        assert set(data.boundary_maps) == {"sharp", "sharp_uncertainty", "area_fractions"}
        assert session.records.verify(-1).passed
    finally:
        session.close()


@pytest.mark.parametrize(("name", "acquisition"), [("joint", "point"), ("learned", "list")])
def test_samplers_and_lists_that_take_no_mixtures_are_refused(
    tmp_path, monkeypatch, shared_cache, name, acquisition
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    path = tmp_path / "instrument.yml"
    path.write_text(SETTINGS.format(acquisition=acquisition, name=name))
    with pytest.raises(ConfigError, match="interaction_um"):
        read_settings(path)
