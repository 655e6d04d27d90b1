"""A hash of the sources that a result depends on: found from the imports, none left out."""

from pathlib import Path

import pytest

import slads_bluesky
from slads_bluesky import codehash
from slads_bluesky.codehash import code_hash, imported_sources
from slads_bluesky.evaluation.paper.fingerprint import SOURCES

ROOT = Path(slads_bluesky.__file__).parent


def names(*modules):
    return {str(path.relative_to(ROOT)) for path in imported_sources(*modules)}


def test_imported_sources_of_a_trial_hold_everything_that_decides_a_figure():
    found = names(*SOURCES)
    for name in ("callbacks/statistics.py", "grid.py", "protocols.py", "modelfile.py", "agent.py",
                 "sampling/slads/erd.py", "spectra/likelihood/kernel.py", "plans/adaptive.py"):  # fmt: skip
        assert name in found


def test_imported_sources_of_models_leave_the_control_stack_out():
    found = names("slads_bluesky.simulation.models")
    assert "spectra/paper/training.py" in found
    assert not any(name.startswith(("plans/", "devices/", "cli/", "record/")) for name in found)


def test_imported_sources_unknown_module_names_it():
    with pytest.raises(ValueError, match="nonsense"):
        imported_sources("slads_bluesky.nonsense")


def test_code_hash_changes_with_a_source(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("def f():\n    from .b import g\n")
    (tmp_path / "b.py").write_text("g = 1\n")
    monkeypatch.setattr(codehash, "_ROOT", tmp_path)
    imported_sources.cache_clear()
    code_hash.cache_clear()
    try:
        before = code_hash("slads_bluesky.a")
        (tmp_path / "b.py").write_text("g = 2\n")
        code_hash.cache_clear()
        assert code_hash("slads_bluesky.a") != before
    finally:
        imported_sources.cache_clear()
        code_hash.cache_clear()


def test_imported_sources_find_an_import_in_any_block(tmp_path, monkeypatch):
    monkeypatch.setattr(codehash, "_ROOT", tmp_path)
    blocks = ("if x:\n    {}", "try:\n    pass\nfinally:\n    {}", "try:\n    pass\nexcept ValueError:\n    {}",
              "for i in x:\n    pass\nelse:\n    {}", "match x:\n    case 1:\n        {}",
              "class A:\n    async def f(self):\n        with x:\n            {}")  # fmt: skip
    for i, block in enumerate(blocks):
        (tmp_path / f"found{i}.py").write_text("")
        (tmp_path / f"block{i}.py").write_text(block.format(f"from . import found{i}"))
        assert {p.name for p in imported_sources(f"slads_bluesky.block{i}")} == {
            f"block{i}.py",
            f"found{i}.py",
        }
