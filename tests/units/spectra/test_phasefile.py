"""phases.yml and the commands that use it: what it may say, and errors that name file and field."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from slads_bluesky.cli import app, main
from slads_bluesky.errors import ConfigError, DataError, SladsError
from slads_bluesky.spectra import EnergyAxis, expected_counts, load_classifier
from slads_bluesky.spectra.io.phase_file import load_phases

AXIS = EnergyAxis(0.0, 0.02, 700)


def write_msa(path, spec, counts=5e4, seed=0, width=20.0, kilovolt=15.0):
    spectrum = np.random.default_rng(seed).poisson(expected_counts(spec, AXIS, total_counts=counts))
    lines = ["#FORMAT : EMSA/MAS Spectral Data File", "#XUNITS : eV", f"#XPERCHAN : {width}", "#OFFSET : 0"]
    lines += [f"#NPOINTS : {len(spectrum)}", f"#BEAMKV : {kilovolt}", "#SPECTRUM :"]
    path.write_text("\n".join([*lines, *[f"{v}," for v in spectrum], "#ENDOFDATA :"]) + "\n")


def run(*arguments):
    """Run the command line; it must end well."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        write_msa(tmp_path / f"ni{i}.msa", "Ni", seed=i)
    (tmp_path / "phases.yml").write_text(
        "phases:\n"
        "  iron: {composition: Fe}\n"
        "  nickel: {files: [ni0.msa, ni1.msa, ni2.msa]}\n"
        "  brass: {composition: {Cu: 0.63, Zn: 0.37}}\n"
    )
    return tmp_path


def test_compositions_and_files_make_one_classifier(folder):
    output = run(
        "train", "classifier", "--phases", folder / "phases.yml", "-o", folder / "m", "--json", folder / "j"
    )
    assert "iron, nickel, brass" in output
    figures = json.loads((folder / "j").read_text())
    assert figures["phases"] == ["iron", "nickel", "brass"]
    assert figures["measured"] == {"nickel": 3}
    classifier = load_classifier(folder / "m")
    assert classifier.axis == AXIS
    assert classifier.sha256 == figures["sha256"]
    rng = np.random.default_rng(5)
    for label, spec in enumerate(("Fe", "Ni", {"Cu": 0.63, "Zn": 0.37}), start=1):
        counts = rng.poisson(expected_counts(spec, AXIS, total_counts=2000.0))
        assert classifier.classify(counts)[::2] == (label, "ok")


def test_the_papers_networks_are_trained_from_compositions_too(folder):
    (folder / "two.yml").write_text(
        "axis: {offset_kev: 0.0, width_kev: 0.02, n_channels: 700}\n"
        "phases:\n  iron: {composition: Fe}\n  nickel: {composition: Ni}\n"
    )
    run("train", "classifier", "--phases", folder / "two.yml", "-o", folder / "p", "--kind", "paper")
    classifier = load_classifier(folder / "p")
    counts = np.random.default_rng(0).poisson(expected_counts("Ni", AXIS, total_counts=1.2e5))
    assert classifier.classify(counts)[::2] == (2, "ok")


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("", "phases"),
        ("phases: {}", "phases"),
        ("phases:\n  a: {composition: Xx}\n", "Xx"),
        ("phases:\n  a: {composition: {Fe: 0.5}}\n", "sum"),
        (
            "phases:\n  a: {composition: Fe}\n  a: {composition: Ni}\n",
            "line 3: 'a' is there already, on line 2",
        ),
        ("phases:\n  a: {}\n", "phases.a"),
        ("phases:\n  a: {composition: Fe, files: [x.msa]}\n", "phases.a"),
        ("phases:\n  a: {composition: Fe}\nbeam_energy_kev: 500\n", "beam_energy_kev"),
        ("phases:\n  a: {composition: Fe}\nbeam_kev: 500\n", "beam_"),
        ("phases:\n  a: {composition: Fe}\nbeam_keV: 5\n", "beam_keV"),
        ("phases:\n  a: {composition: Fe}\naxis: {offset_kev: 0, width_kev: -1, n_channels: 100}\n", "width"),
        ("phases:\n  ' ': {composition: Fe}\n", "name"),
        ("phases: [\n", "line"),
    ],
)
def test_what_the_file_may_not_say_is_named(tmp_path, text, culprit):
    path = tmp_path / "phases.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"phases\.yml.*{culprit}"):
        load_phases(path)


def test_spectra_that_do_not_fit_together_are_named(folder):
    path = folder / "phases.yml"
    write_msa(folder / "other.msa", "Ni", width=10.0)
    path.write_text("phases:\n  a: {files: [ni0.msa]}\n  b: {files: [other.msa]}\n")
    with pytest.raises(DataError, match=r"other\.msa.*'b'.*10 eV"):
        load_phases(path)
    write_msa(folder / "other.msa", "Ni", kilovolt=20.0)
    with pytest.raises(DataError, match=r"other\.msa.*20 keV"):
        load_phases(path)
    path.write_text("phases:\n  a: {files: [none.msa]}\n")
    with pytest.raises(DataError, match=r"none\.msa"):
        load_phases(path)
    with pytest.raises(ConfigError, match=r"nothing\.yml"):
        load_phases(folder / "nothing.yml")


def test_an_error_is_one_line_and_exit_code_2_and_leaves_nothing(folder, capsys):
    (folder / "phases.yml").write_text("phases:\n  a: {composition: Qq}\n")
    with pytest.raises(SystemExit) as stop:
        main(["train", "classifier", "--phases", str(folder / "phases.yml"), "-o", str(folder / "m")])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Qq" in message
    assert message.count("\n") == 1
    assert not (folder / "m").exists()


def test_bench_refuses_a_folder_that_is_not_there(tmp_path):
    result = CliRunner().invoke(app, ["bench", "spectra", "--nist", str(tmp_path / "none")])
    assert isinstance(result.exception, SladsError)
    assert "none" in str(result.exception)
