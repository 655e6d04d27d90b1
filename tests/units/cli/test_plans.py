"""``slads-bluesky plans``: every plan of the queue, every parameter with its default, meaning and limits."""

import json
from pathlib import Path

import pytest

from slads_bluesky.cli import main

PROFILE = Path(__file__).parents[3] / "profile" / "instrument.yml"


def test_plans_lists_each_parameter_with_default_and_limits(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["plans", "--instrument", str(PROFILE), "--json", str(tmp_path / "plans.json")])
    assert end.value.code == 0
    found = json.loads((tmp_path / "plans.json").read_text())
    assert list(found) == ["map_sample", "resume_map", "raster_map", "collect_spectra"]
    for name, plan in found.items():
        assert plan["description"], name
        assert all(parameter["description"] for parameter in plan["parameters"]), name
    rows = {parameter["name"]: parameter for parameter in found["map_sample"]["parameters"]}
    assert rows["sample"]["default"] == "required"
    assert rows["fraction"] == {
        "name": "fraction", "default": "0.15", "description": "Part of the pixels to measure. (0.0001 … 1)",
    }  # fmt: skip
    assert "(1 … 4096)" in capsys.readouterr().out


def test_plans_of_a_missing_file_is_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        main(["plans", "--instrument", "nowhere.yml"])
    assert end.value.code == 2
    assert "nowhere.yml: cannot be read" in capsys.readouterr().err
