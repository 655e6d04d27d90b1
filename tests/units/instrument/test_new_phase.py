"""An unexpected phase: the map ends, the phase is accepted from its spectra, and the map is resumed."""

import json

import numpy as np
import pytest

from slads_bluesky.cli import main
from slads_bluesky.errors import RecordError
from slads_bluesky.instrument import open_session
from slads_bluesky.phantom import make_object, training_spectra
from slads_bluesky.plans.queue import queue_plans
from slads_bluesky.record import close_catalog
from slads_bluesky.spectra.likelihood.classifier import PhaseClassifier

OBJECT, EXPECTED = "powder-32", ("CaO", "LaO", "C")


@pytest.fixture
def open_lab(tmp_path, shared_cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    monkeypatch.delenv("SLADS_INSTRUMENT", raising=False)
    opened = []

    def make(classifier):
        path = tmp_path / f"instrument{len(opened)}.yml"
        path.write_text(
            f"mode: soft\nsimulation: {{object: {OBJECT}}}\ngrid: {{shape: [32, 32]}}\n"
            f"sampler: {{name: learned, fraction: 0.25}}\nclassifier: {{file: {classifier}}}\n"
            f"catalog: {{directory: {tmp_path / 'record'}}}\ndisplay: {{progress: false, live: false}}\n"
        )
        opened.append(open_session(path))
        return opened[-1]

    yield make
    for session in opened:
        session.close()
    close_catalog(opened[0].db)


def test_it_is_accepted_in_the_middle_of_a_map(open_lab, tmp_path, capsys):
    phantom = make_object(OBJECT, 0)
    known = {phase: spectra for phase, spectra in training_spectra(OBJECT).items() if phase in EXPECTED}
    PhaseClassifier.from_spectra(known, axis=phantom.axis, beam_energy_kev=15.0).save(tmp_path / "three")
    first = open_lab(tmp_path / "three")
    (uid,) = first.RE(queue_plans(first).map_sample("unexpected", rows=32, columns=32, budget_nc=1500.0))
    begun = first.records.load(uid)
    assert (begun.verdicts == "unknown").sum() >= 3  # as many as make a group
    # the sampler returns to such places, and there are soon ten
    assert "of none of the known phases: end the map" in capsys.readouterr().err

    figures = tmp_path / "figures.json"
    options = ["--accept", "Si", "--catalog", str(tmp_path / "record"), "--json", str(figures)]
    with pytest.raises(SystemExit) as ended:
        main(["relabel", uid[:8], *options])
    assert ended.value.code == 0
    output = json.loads(figures.read_text())
    assert f"name the classifier {output['classifier_file']} as classifier.file" in capsys.readouterr().out

    second = open_lab(output["classifier_file"])
    assert second.models.classifier.phases == (*EXPECTED, "Si")
    plans = queue_plans(second)
    with pytest.raises(RecordError, match="had the classifier"):
        second.RE(plans.resume_map(uid))  # the run as it was: three phases
    second.RE(plans.resume_map(-1))
    whole = second.records.load(-1)
    assert whole.n_measured == round(0.25 * 32 * 32)
    assert np.array_equal(whole.pixels[: begun.n_measured], begun.pixels)
    names = np.array(["", *second.models.classifier.phases])
    truth = np.array(["", *phantom.phases])[phantom.truth]
    assert np.mean(names[whole.reconstruction] != truth) < 0.02
