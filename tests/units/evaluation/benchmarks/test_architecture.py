"""Figures of a source tree: on one small enough to count by hand."""

from pathlib import Path

import pytest

import slads_bluesky
from slads_bluesky.errors import ConfigError
from slads_bluesky.evaluation.benchmarks.architecture import measure_tree


@pytest.fixture
def tree(tmp_path):
    """Five packages; `b` and `c` import each other, inside a function on one side."""
    files = {
        "__init__": "",
        "__main__": "",
        "a/__init__": "from ..b import one",
        "b/__init__": "",
        "b/one": "def f():\n    from ..c import two\n    return two",
        "c/__init__": "",
        "c/two": "from ..b import one",
        "d/__init__": "",  # a package that stands above and below its own room: no circle
        "d/ground": "",
        "d/factory": "from .room import one",
        "d/room/__init__": "",
        "d/room/one": "from ..ground import __doc__",
        "evaluation/__init__": "",
        "evaluation/bench": "from .. import a\n\nprint(a)",
    }
    for name, text in files.items():
        path = tmp_path / "slads_bluesky" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text("1\n2\n")
    return tmp_path


def test_measure_tree_of_five_packages_counts_arrows_circles_and_lines(tree):
    pytest.importorskip("grimp")
    found = measure_tree(tree)
    assert (found["modules"], found["arrows"]) == (14, 6)
    assert found["circles"] == [["slads_bluesky.b.one", "slads_bluesky.c.two"]]
    assert found["package_circles"] == [["b", "c"]]
    assert found["packages"]["b"] == {"modules": 2, "inside": 0, "out": 1, "in": 2, "in_circles": 1}
    assert found["lines"] == {"runtime": 7, "evaluation": 3, "tests": 2}
    assert found["times_s"].keys() >= {"python alone", "import slads_bluesky"}


def test_measure_tree_of_another_folder_raises_naming_it(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no slads_bluesky/__init__\.py"):
        measure_tree(tmp_path)


def test_this_tree_has_no_circle_of_modules_or_packages():
    pytest.importorskip("grimp")
    root = Path(slads_bluesky.__file__).resolve().parents[1]
    if not (root / "tests").is_dir():
        pytest.skip("not a checkout")
    found = measure_tree(root)
    assert (found["circles"], found["package_circles"]) == ([], [])
