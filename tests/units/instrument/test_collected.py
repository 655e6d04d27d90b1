"""Spectra of collect_spectra as training files: of a repeated event the last, and without a microscope's settings."""

from __future__ import annotations

import event_model
import numpy as np
import pytest

from slads_bluesky.errors import RecordError
from slads_bluesky.instrument.collected import collected_spectra, write_phases
from slads_bluesky.record.runs import RecordedRun


def run(phase, rows, numbers=None, *, kilovolt=None, offset=0.0, eds="eds"):
    """A run of collect_spectra as it is recorded: its events under the given sequence numbers."""
    bundle = event_model.compose_run(metadata={"plan_name": "collect_spectra", "detectors": [eds]})
    key = {"source": "s", "dtype": "number", "shape": []}
    axis = {f"{eds}_energy_offset": offset, f"{eds}_energy_width": 0.01}
    configuration = {
        eds: {"data": axis, "timestamps": dict.fromkeys(axis, 1.0), "data_keys": dict.fromkeys(axis, key)}
    }
    documents = [("start", bundle.start_doc)]
    if kilovolt is not None:
        base = bundle.compose_descriptor(
            name="baseline", data_keys={"sem_high_voltage": key}, object_keys={"sem": ["sem_high_voltage"]}
        )
        documents += [
            ("descriptor", base.descriptor_doc),
            (
                "event",
                base.compose_event(data={"sem_high_voltage": kilovolt}, timestamps={"sem_high_voltage": 1.0}),
            ),
        ]
    keys = {
        "collect_phase": {**key, "dtype": "string"},
        f"{eds}_live_time": key,
        f"{eds}_spectrum": {**key, "dtype": "array", "shape": [8]},
    }
    primary = bundle.compose_descriptor(name="primary", data_keys=keys, configuration=configuration)
    documents.append(("descriptor", primary.descriptor_doc))
    for number, row in zip(numbers or range(1, len(rows) + 1), rows, strict=True):
        data = {
            "collect_phase": phase,
            f"{eds}_live_time": float(row[0]),
            f"{eds}_spectrum": np.array(row, np.int32),
        }
        documents.append(
            ("event", primary.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0), seq_num=number))
        )
    stop = bundle.compose_stop()
    return RecordedRun(bundle.start_doc, stop, lambda: iter([*documents, ("stop", stop)]), "test")


def rows(*first):
    return [[n, 2, 3, 4, 5, 6, 7, 8] for n in first]


def test_collected_spectra_of_a_run_that_went_back_hold_each_spot_once():
    found = collected_spectra([run("Sn", rows(1, 2, 3, 20, 30), [1, 2, 3, 2, 3], kilovolt=15.0)])
    assert found.spectra["Sn"][:, 0].tolist() == [1, 20, 30]
    assert found.live_time_s["Sn"].tolist() == [1.0, 20.0, 30.0]
    assert found.beam_kev == 15.0


def test_phases_of_several_runs_without_a_microscope_are_written(tmp_path):
    """With an empty ``sem:`` no run has a beam energy; NaN differs from NaN, the settings do not."""
    found = collected_spectra([run("Sn", rows(1, 2)), run("Pb", rows(3)), run("Sn", rows(4))])
    assert np.isnan(found.beam_kev)
    assert found.spectra["Sn"][:, 0].tolist() == [1, 2, 4]
    text = write_phases(found, tmp_path / "phases").read_text()
    assert "beam_energy_kev" not in text
    assert len(list((tmp_path / "phases").glob("*.msa"))) == 4


@pytest.mark.parametrize("other", [{"kilovolt": 20.0}, {"kilovolt": None}, {"kilovolt": 15.0, "offset": 0.5}])
def test_spectra_of_other_settings_are_refused_with_both_runs(other):
    first, second = run("Sn", rows(1), kilovolt=15.0), run("Sn", rows(2), **other)
    with pytest.raises(RecordError, match=rf"run {first.uid[:8]}: .*run {second.uid[:8]}: "):
        collected_spectra([first, second])


def test_runs_of_other_plans_only_are_refused():
    with pytest.raises(RecordError, match="no run of collect_spectra"):
        collected_spectra([])
