"""A recorded map of mixed boundaries: its abundances are in the record, and it is verified like any other."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky import SladsAgent
from slads_bluesky.analysis.load import load_map
from slads_bluesky.phantom import Imperfections, make_object, training_spectra
from slads_bluesky.record.verify import verify
from slads_bluesky.sampling.learned.model import shipped_model
from slads_bluesky.simulated import simulated_object
from slads_bluesky.simulation.models import Models
from slads_bluesky.simulation.run import make_agent, run_map
from slads_bluesky.spectra import PhaseClassifier


@pytest.fixture(scope="module")
def recorded():
    specimen = make_object("pbsn-32", 5, Imperfections(blur_px=1.0))
    spectra = training_spectra("pbsn", 0, 12)
    classifier = PhaseClassifier.from_spectra(spectra, specimen.axis, noise_lambda=2.0)
    models = Models("learned", shipped_model(), classifier)
    documents = []
    agent = make_agent(specimen, models, fraction=0.04)
    take = lambda name, doc: documents.append((name, doc))  # noqa: E731
    result = run_map(specimen, models, agent, soft=True, subscribers=[take], error=1e-3)
    return documents, models, result


def test_start_document_names_the_specimen_the_volume_and_the_rule(recorded):
    documents, _, result = recorded
    start = documents[0][1]
    assert simulated_object(start).imperfections == {"blur_px": 1.0}
    assert start["agent"]["sampler"]["interaction_px"] == 1.0
    assert start["sequential"]["name"] == "MixtureTest"
    assert np.array_equal(make_object(*simulated_object(start)).majority, result.phantom.majority)


def test_mixed_map_is_verified_bit_for_bit_and_a_changed_abundance_is_found(recorded):
    documents, models, result = recorded
    data = load_map([lambda: iter(documents)])
    assert data.abundances.shape == (41, 2)
    assert (data.verdicts == "mixed").sum() > 2

    def agent():
        return SladsAgent.from_configuration(documents[0][1]["agent"], models.sampler)

    assert verify(data, agent(), models.classifier).counts == {}
    data.abundances[30] = 0.5
    changed = verify(data, agent(), models.classifier)
    assert changed.counts["abundances"] == 1
    assert result.figures()["td_majority"] < 0.2


def test_record_holds_the_sharp_map_and_exports_have_it(recorded, tmp_path):
    from slads_bluesky.export.arrays import write_npz

    documents, _, result = recorded
    data = load_map([lambda: iter(documents)])
    assert set(data.boundary_planes) == {
        "sharp", "sharp_uncertainty", "area_fraction_Pb-Sn", "area_fraction_Sn"
    }  # fmt: skip
    write_npz(data, tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as arrays:
        assert np.array_equal(arrays["sharp"], data.boundary_maps["sharp"])
        assert arrays["area_fractions"].shape == (2, *result.phantom.shape)
