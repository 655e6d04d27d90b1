"""``slads-bluesky classify``: spectra and maps from files, a table and JSON; bad files do not stop the others."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from slads_bluesky.cli import app
from slads_bluesky.spectra import EnergyAxis, PhaseClassifier, expected_counts
from slads_bluesky.spectra.io.emsa import write_emsa

AXIS = EnergyAxis(-0.05, 0.01, 1600)
PHASES = {"silica": "SiO2", "iron": "Fe"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "two"
    PhaseClassifier.from_compositions(PHASES, AXIS).save(path)
    return path


def spectrum(path, spec, *, axis=AXIS, beam_energy_kev=15.0, seed=0):
    counts = np.random.default_rng(seed).poisson(expected_counts(spec, axis, total_counts=5000.0))
    write_emsa(
        path,
        counts,
        axis,
        title=path.stem,
        when=datetime(2026, 1, 1, tzinfo=UTC),
        beam_energy_kev=beam_energy_kev,
    )
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["classify", *map(str, arguments)], env={"COLUMNS": "200"})


def test_classify_spectra_of_one_detector_are_rebinned_and_named(model, tmp_path):
    drifted = EnergyAxis(-0.048, 0.00998, 1590)
    files = [spectrum(tmp_path / "a.msa", "SiO2"), spectrum(tmp_path / "b.msa", "Fe", axis=drifted)]
    result = run(*files, "--classifier", model, "--json", tmp_path / "j")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "j").read_text())
    assert [(r["title"], r["phase"], r["verdict"]) for r in found["results"]] == [
        ("a", "silica", "ok"),
        ("b", "iron", "ok"),
    ]
    assert found["results"][1]["abundances"]["iron"] > 0.9
    assert "silica" in result.output


def test_classify_a_map_counts_its_pixels(model, tmp_path):
    rng = np.random.default_rng(1)
    shapes = [expected_counts(spec, AXIS, total_counts=500.0) for spec in PHASES.values()]
    counts = np.array([rng.poisson(shapes[i // 40], AXIS.n_channels) for i in range(80)])
    np.savez(
        tmp_path / "m.npz",
        counts=counts.reshape(8, 10, -1).astype(np.uint16),
        energy_scale=0.01,
        energy_offset=-0.05,
    )
    result = run(tmp_path / "m.npz", "--classifier", model, "--json", tmp_path / "j")
    assert result.exit_code == 0, result.output
    (found,) = json.loads((tmp_path / "j").read_text())["results"]
    labels = np.array(found["labels"])
    assert found["n_spectra"] == 80
    assert (labels[:40] == 1).mean() > 0.9
    assert (labels[40:] == 2).mean() > 0.9


def test_classify_files_that_cannot_be_used_are_named_and_the_others_done(model, tmp_path):
    other = EnergyAxis(-0.48, 0.005, 3600)
    files = [
        spectrum(tmp_path / "elsewhere.msa", "Fe", axis=other),
        spectrum(tmp_path / "beam.msa", "Fe", beam_energy_kev=20.0),
        spectrum(tmp_path / "good.msa", "Fe"),
        tmp_path / "missing.msa",
    ]
    result = run(*files, "--classifier", model, "--json", tmp_path / "j")
    assert result.exit_code != 0
    found = json.loads((tmp_path / "j").read_text())
    assert [r["title"] for r in found["results"]] == ["good"]
    assert {path.rsplit("/")[-1] for path in found["refused"]} == {"elsewhere.msa", "beam.msa", "missing.msa"}
    result = run(files[0], "--classifier", model, "--rebin", "--json", tmp_path / "j")
    assert json.loads((tmp_path / "j").read_text())["results"][0]["phase"] == "iron"
