"""The command ``denoise``: a full raster in, labels from all counts out."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from slads_bluesky.cli import app, main
from slads_bluesky.spectra import EnergyAxis, PhaseClassifier

AXIS = EnergyAxis(0.0, 0.02, 400)


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    """A folder with a classifier, two rasters of one field at few counts, and the truth."""
    folder = tmp_path_factory.mktemp("denoise")
    rng = np.random.default_rng(0)
    energies = AXIS.energies()
    shapes = [
        0.2
        + part * np.exp(-0.5 * ((energies - 1.74) / 0.06) ** 2)
        + np.exp(-0.5 * ((energies - 3.69) / 0.06) ** 2)
        for part in (1.0, 3.0)
    ]
    shapes = [shape / shape.sum() for shape in shapes]
    spectra = {name: rng.poisson(2e4 * s, (6, 400)) for name, s in zip("AB", shapes, strict=True)}
    PhaseClassifier.from_spectra(spectra, AXIS).save(folder / "c.safetensors")
    y, x = np.mgrid[:32, :32]
    truth = ((y - 15) ** 2 + (x - 18) ** 2 < 81).astype(int)
    for name, counts in (("few", 25.0), ("many", 400.0)):
        taken = rng.poisson(counts * np.array(shapes)[truth]).astype(np.uint16)
        np.savez(folder / f"{name}.npz", counts=taken, energy_scale=0.02, energy_offset=0.0)
    return folder, truth + 1


@pytest.mark.parametrize("options", [[], ["--reference"]])
def test_denoise_of_few_counts_agrees_with_many(raster, tmp_path, options):
    folder, truth = raster
    out, figures = tmp_path / "out.npz", tmp_path / "figures.json"
    result = CliRunner().invoke(
        app,
        ["denoise", str(folder / "few.npz"), "--classifier", str(folder / "c.safetensors"), "-o", str(out),
         "--against", str(folder / "many.npz"), "--json", str(figures), *options],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(figures.read_text())
    assert found["agreement"] > found["agreement_alone"] + 0.02
    with np.load(out) as data:
        assert (data["labels"] != truth).mean() < 0.03
        assert data["probability"].shape == (32, 32, 2)
    assert "expected error" in result.output


def test_denoise_of_another_field_is_one_line(raster, tmp_path, capsys):
    folder, _ = raster
    with np.load(folder / "many.npz") as data:
        np.savez(tmp_path / "part.npz", **{**data, "counts": data["counts"][:16]})
    with pytest.raises(SystemExit) as ended:
        main(
            ["denoise", str(folder / "few.npz"), "--classifier", str(folder / "c.safetensors"),
             "--against", str(tmp_path / "part.npz")]
        )  # fmt: skip
    assert ended.value.code == 2
    assert "part.npz" in capsys.readouterr().err
