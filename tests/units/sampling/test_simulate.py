"""The commands `simulate` and `train sampler`, from the outside."""

import json

import numpy as np
import pytest

from slads_bluesky.cli import main


def run(*arguments):
    """Exit code of the command line."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return caught.value.code


@pytest.fixture
def images(tmp_path, make_blobs):
    paths = {}
    for name, n_labels, seed in (("test", 2, 1), ("a", 2, 2), ("four", 4, 3)):
        paths[name] = tmp_path / f"{name}.npy"
        np.save(paths[name], make_blobs((40, 48), 3.0, n_labels, seed=seed))
    return paths


@pytest.fixture
def trained(tmp_path, model):
    path = tmp_path / "model.safetensors"
    model.save(path)
    return path


def test_the_figures_of_slads_are_those_of_the_compiled_loop(tmp_path, images, trained, model):
    from slads_bluesky.sampling import distortion_curve

    out = tmp_path / "o.json"
    arguments = ["simulate", images["test"], "--model", trained, "--fraction", 0.2, "--seed", 4]
    assert run(*arguments, "--checkpoints", "0.01,0.1", "--json", out) == 0
    figures = json.loads(out.read_text())
    assert {
        "boundary_fraction",
        "sampler",
        "checkpoints",
        "decision_us",
        "first_decision_s",
        "train_s",
        "peak_rss_mb",
    } <= set(figures)
    assert set(figures["decision_us"]) == {"median", "mean", "p99"}
    columns = {"fraction", "n", "td", "td_knn", "largest_missed_patch"}
    assert [set(row) for row in figures["checkpoints"]] == [columns] * 3
    assert [row["fraction"] for row in figures["checkpoints"]] == [0.01, 0.1, 0.2]
    numbers = [row["n"] for row in figures["checkpoints"]]
    assert numbers == [19, 192, 384]
    curve, _ = distortion_curve(np.load(images["test"]), model, numbers, 4)
    assert [row["td"] for row in figures["checkpoints"]] == pytest.approx(curve.tolist())
    assert [row["td_knn"] for row in figures["checkpoints"]] == pytest.approx(curve.tolist())
    assert figures["first_decision_s"] > 0
    assert figures["peak_rss_mb"] > 50


@pytest.mark.parametrize("sampler", ["random", "low-discrepancy"])
def test_masks_that_do_not_look(tmp_path, images, sampler):
    out = tmp_path / "o.json"
    assert run("simulate", images["test"], "--sampler", sampler, "--fraction", 1, "--json", out) == 0
    figures = json.loads(out.read_text())
    assert figures["sampler"] == sampler
    assert figures["checkpoints"][-1]["td"] == 0.0
    distortions = [row["td"] for row in figures["checkpoints"]]
    assert distortions[0] > distortions[3] > distortions[-1]


def test_training_from_the_command_line(tmp_path, images, capsys):
    from PIL import Image

    model, out = tmp_path / "m.safetensors", tmp_path / "o.json"
    assert run("train", "sampler", images["a"], "-o", model, "--json", out, "--seed", 5) == 0
    figures = json.loads(out.read_text())
    assert figures["phases"] == [1, 2]
    assert figures["images"][0]["file"] == str(images["a"])
    assert figures["seed"] == 5
    assert run("simulate", images["test"], "--model", model, "--fraction", 0.1) == 0
    grey = tmp_path / "bse.png"
    noise = np.random.default_rng(0).normal(0, 10, (40, 48))
    Image.fromarray((60 * np.load(images["a"]) + noise).clip(0, 255).astype(np.uint8)).save(grey)
    assert run("train", "sampler", grey, "-o", model, "--json", out) == 2  # grey levels are no labels
    capsys.readouterr()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (np.ones((4, 4, 4), np.uint8), [], "2 dimensions, it has 3"),
        (np.ones((4, 4)), [], "integer labels, it holds float64"),
        (np.zeros((0, 4), np.uint8), [], "is empty"),
        (np.zeros((4, 4), np.uint8), [], "label 0 only"),
        (None, ["--fraction", "0"], "fraction must lie in (0, 1], not 0"),
        (None, ["--fraction", "1.5"], "not 1.5"),
        (None, ["--fraction", "nan"], "not nan"),
        (None, ["--initial", "2"], "initial must lie in (0, 1], not 2"),
        (None, ["--checkpoints", "0.1,x"], "not '0.1,x'"),
        (None, ["--checkpoints", "7"], "not 7"),
        (None, ["--train", "four"], "four.npy has the labels [1, 2, 3, 4]"),
        (None, ["--train", "nowhere.npy"], "nowhere.npy: no such file"),
        (None, [], "needs --train IMAGE or --model FILE"),
        (None, ["--sampler", "best"], "unknown sampler 'best'"),
        (None, ["--json", "/nowhere/at/all.json"], "cannot write /nowhere/at/all.json"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, images, capsys, make, options, message):
    image = images["test"]
    if make is not None:
        image = tmp_path / "bad.npy"
        np.save(image, make)
    options = [str(images["four"]) if o == "four" else o for o in options]
    before = sorted(tmp_path.iterdir())
    assert run("simulate", image, *options) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
