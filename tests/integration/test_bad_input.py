"""What is wrong is said in one line that names it, with exit code 2, and nothing is left behind."""

import numpy as np
import pytest

from slads_bluesky.cli import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def _refused(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    output = capsys.readouterr().err
    assert exit_.value.code == 2
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["demo", "gold-128"], "gold-128"),
        (["demo", "pbsn-9999"], "9999"),
        (["demo", "--fraction", "0"], "fraction"),
        (["demo", "--fraction", "1.2"], "1.2"),
        (["demo", "--fraction", "nan"], "nan"),
        (["demo", "--json", "no/such/folder/x.json"], "no/such/folder/x.json"),
        (["demo", "--figure", "no/such/folder/x.png"], "no/such/folder/x.png"),
        (["demo", "--seed", "-1"], "-1"),
        (["demo", "--lists", "--classifier", "paper"], "--lists"),
    ],
)
def test_a_demo_that_cannot_be(capsys, tmp_path, arguments, culprit):
    output = _refused(capsys, *arguments)
    assert culprit in output
    assert len(output.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}  # matplotlib keeps its list of fonts there


def test_a_catalog_folder_that_is_not_writable(capsys):
    assert "/proc/record" in _refused(capsys, "demo", "--catalog", "/proc/record")


def test_a_catalog_folder_that_is_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file" in _refused(capsys, "demo", "--catalog", "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("array", "culprit"),
    [
        (np.ones((4, 4, 4), np.uint8), "dimension"),
        (np.ones((4, 4)), "float"),
        (np.ones((0, 4), np.uint8), "empty"),
        (np.zeros((4, 4), np.uint8), "0"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "ioc"])
def test_a_label_image_that_is_not_one(capsys, tmp_path, command, array, culprit):
    np.save(tmp_path / "bad.npy", array)
    good = np.ones((32, 32), np.uint8)
    good[:, 16:] = 2
    np.save(tmp_path / "good.npy", good)
    arguments = (
        ["simulate", "bad.npy", "--train", "good.npy"]
        if command == "simulate"
        else ["ioc", "--object", "bad.npy"]
    )
    output = _refused(capsys, *arguments)
    assert "bad.npy" in output
    assert culprit in output


def test_training_images_of_other_labels(capsys, tmp_path):
    image = np.ones((32, 32), np.uint8)
    image[:, 16:] = 2
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "b.npy", image + 1)
    output = _refused(capsys, "simulate", "a.npy", "--train", "b.npy")
    assert "b.npy" in output
    assert "[2, 3]" in output
