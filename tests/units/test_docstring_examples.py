"""Every example in a docstring is run as written, in an empty folder."""

import doctest
import importlib
import os
from pathlib import Path

import pytest

import slads_bluesky

ROOT = Path(__file__).parents[2]

IN_ORDER = ("open_session", "adaptive_map", "find_run", "load_map", "open_catalog")
"""Public names whose examples continue one another: the record that one writes, the next ones read."""


def _modules_with_examples():
    for top, package in (("slads_bluesky", "slads_bluesky"), ("devices", "slads_bluesky.devices"),
                         ("plans", "slads_bluesky.plans")):  # fmt: skip
        for path in sorted((ROOT / top).rglob("*.py")):
            inside = path.relative_to(ROOT / top)
            if top == "slads_bluesky" and inside.parts[0] in ("devices", "plans"):
                continue  # the same files through the symlinks
            if ">>>" in path.read_text(encoding="utf-8"):
                yield ".".join((package, *inside.with_suffix("").parts)).removesuffix(".__init__")


def _run(tests):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said = []
    for test in tests:
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    return runner.tries


def _own_examples(module):
    found = [t for t in doctest.DocTestFinder(exclude_empty=True).find(module) if t.examples]
    named = {f"{getattr(slads_bluesky, name).__module__}.{name}" for name in IN_ORDER}
    return [test for test in found if test.name not in named]


@pytest.fixture
def empty_folder(tmp_path, monkeypatch, shared_cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    monkeypatch.delenv("SLADS_INSTRUMENT", raising=False)
    before = dict(os.environ)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("name", list(_modules_with_examples()))
def test_docstring_examples_of_a_module_give_what_they_show(name, empty_folder):
    tests = _own_examples(importlib.import_module(name))
    if tests:
        assert _run(tests) > 0


def test_public_names_examples_in_order_give_what_they_show(empty_folder):
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=False)
    for name in IN_ORDER:
        tests = [t for t in finder.find(getattr(slads_bluesky, name), name) if t.examples]
        assert tests, f"{name} has no example"
        _run(tests)


@pytest.mark.parametrize("name", sorted(set(slads_bluesky.__all__) - {"__version__"}))
def test_public_name_has_an_example(name):
    found = doctest.DocTestFinder(exclude_empty=True).find(getattr(slads_bluesky, name), name)
    assert any(test.examples for test in found)
