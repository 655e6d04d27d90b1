"""``slads-bluesky quantify``: a table, candidates and JSON; wrong arguments are one line."""

import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from slads_bluesky.cli import app
from slads_bluesky.errors import SladsError
from slads_bluesky.spectra import EnergyAxis, expected_counts
from slads_bluesky.spectra.io.emsa import write_emsa

AXIS = EnergyAxis(-0.05, 0.02, 800)


@pytest.fixture(scope="module")
def periclase(tmp_path_factory):
    path = tmp_path_factory.mktemp("spectra") / "mgo.msa"
    expected = expected_counts("MgO", AXIS, takeoff_deg=35.0, total_counts=200_000.0)
    write_emsa(
        path,
        np.random.default_rng(0).poisson(expected),
        AXIS,
        title="an oxide",
        when=datetime(2026, 1, 1, tzinfo=UTC),
        live_time_s=10.0,
        current_na=1.0,
        beam_energy_kev=15.0,
        takeoff_deg=35.0,
    )
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["quantify", *map(str, arguments)], env={"COLUMNS": "200"})


def test_quantify_a_file_by_itself_as_standard_names_it(periclase, tmp_path):
    result = run(
        periclase, "--elements", "O,Mg", "--standard", f"{periclase}=MgO", "--json", tmp_path / "j.json"
    )
    assert result.exit_code == 0, result.output
    assert "standards-based, analytical total" in result.output
    assert "candidates: periclase" in result.output
    (found,) = json.loads((tmp_path / "j.json").read_text())["results"]
    fractions = {e["symbol"]: e["mass_fraction"] for e in found["elements"]}
    assert fractions["Mg"] == pytest.approx(0.603, abs=0.01)
    assert found["analytical_total"] == pytest.approx(1.0, abs=0.01)
    assert all(e["standard"] for e in found["elements"])
    assert found["candidates"][0]["name"] == "periclase"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--valence", "Fe"], "--valence takes SYMBOL=VALUE"),
        (["--valence", "Fe=three"], "--valence takes a number"),
        (["--elements", "Qq"], "no element 'Qq'"),
        (["--standard", "nothing.msa=MgO"], r"nothing\.msa: there is no such file"),
        (["--candidates", "nothing.csv"], r"nothing\.csv: cannot be read"),
        (["--beam-energy", "99"], "beam energy must be 1 to 50 keV"),
    ],
)
def test_quantify_refuses_a_wrong_argument_naming_it(periclase, options, message):
    result = run(periclase, *options)
    assert isinstance(result.exception, SladsError)
    assert re.search(message, str(result.exception))
