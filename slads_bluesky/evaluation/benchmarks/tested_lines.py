"""Which lines of the runtime the tests run, counted at little cost: by probes in the bytecode.

A tracer makes the tests a third slower. Probes cost a few per cent (SlipCover: Altmayer Pizzorno and Berger,
"SlipCover: near zero-overhead code coverage for Python", ISSTA 2023); `tests/conftest.py` lets them stay where they
are. Not counted: modules that numba compiles parts of, since a probe in them would not compile. What runs only in a
process that a test starts counts as not reached, so that the figure is a lower bound.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..figures import Figure, at_least, measured

__all__ = ["add_up", "figures_of_lines", "measure_tested_lines"]

SOURCES = ("slads_bluesky", "devices", "plans")
_COMPILED = re.compile(r"^\s*@(numba\.)?(njit|jit|compiled|vectorize)\b", re.MULTILINE)
# SlipCover is a plugin of pytest as well: where warnings are errors, "already imported" would end the tests at once
_QUIET = ("-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning")
GOAL = 90.0
"""Per cent of the lines."""


def measure_tested_lines(
    arguments: Sequence[str], *, root: Path | None = None, kept: Path | None = None
) -> dict[str, Any]:
    """Run tests in a checkout and count the lines of the runtime that they reach.

    Parameters
    ----------
    arguments : sequence of str
        Of pytest; without any, all tests.
    root : Path, optional
        The checkout; by default the one that this package is imported from.
    kept : Path, optional
        File of the lines that were reached; what it holds counts as reached too, so that tests can be run in pieces.

    Returns
    -------
    dict
        ``tests``: exit status of pytest; ``lines``, ``reached``: of the runtime; ``modules``: the same of each.

    Raises
    ------
    ConfigError
        If there are no tests here, or SlipCover is not installed.
    """
    base = root if root is not None else Path(__file__).parents[3]
    if not (base / "tests").is_dir():
        raise ConfigError(f"{base} has no tests: coverage is measured in a checkout")
    if find_spec("slipcover") is None:
        raise ConfigError("coverage needs the package slipcover: pip install 'slads-bluesky[test]'")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="slads-coverage-") as scratch:
        out = Path(scratch) / "lines.json"
        command = [
            sys.executable, "-m", "slipcover", "--source", ",".join(str(base / name) for name in SOURCES),
            "--omit", ",".join(_not_counted(base)), "--json", "--out", str(out), "-m", "pytest", *_QUIET, *arguments,
        ]  # fmt: skip
        done = subprocess.run(command, cwd=base, env=_environment(), check=False)
        if not out.is_file():
            raise ConfigError(f"nothing was counted: pytest ended with {done.returncode}")
        lines = json.loads(out.read_text())
    if kept is not None:
        add_up(lines, kept)
    modules = _modules(lines, base)
    if modules and not any(reached for _, reached in modules.values()):
        raise ConfigError(
            f"nothing was counted: no line was reached by tests that ended with {done.returncode}"
        )
    return {
        "tests": done.returncode, "lines": sum(n for n, _ in modules.values()),
        "reached": sum(n for _, n in modules.values()), "modules": modules,
    }  # fmt: skip


def _environment() -> dict[str, str]:
    """Of a pytest of its own, also where one of pytest-xdist's workers asks for it.

    A worker that is counted itself has the folder of its counts in the environment: an inner run would remove it.
    """
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_XDIST", "SLIPCOVER"))
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def add_up(lines: dict[str, Any], kept: Path) -> None:
    """Add what a file holds to `lines`, and write all of it into the file."""
    import slipcover

    if kept.is_file():
        slipcover.merge_coverage(lines, json.loads(kept.read_text()))
    kept.write_text(json.dumps(lines))


def _not_counted(base: Path) -> list[str]:
    """Files that numba compiles parts of, and those that are not of the runtime."""
    compiled = [
        str(path.resolve())
        for name in SOURCES
        for path in (base / name).rglob("*.py")
        if _COMPILED.search(path.read_text(encoding="utf-8"))
    ]
    return [str(base / "slads_bluesky/evaluation") + "/*", *sorted(set(compiled))]


def _modules(lines: dict[str, Any], base: Path) -> dict[str, tuple[int, int]]:
    """Lines of each module, and how many of them were reached."""
    found = {}
    for name, about in lines["files"].items():
        path = (base / name).resolve()
        if path.is_relative_to(base.resolve()):
            reached, missed = len(about["executed_lines"]), len(about["missing_lines"])
            found[str(path.relative_to(base.resolve()))] = (reached + missed, reached)
    return dict(sorted(found.items()))


def figures_of_lines(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue on trust, from the results of `measure_tested_lines`."""
    share = 100.0 * found["reached"] / found["lines"] if found["lines"] else None
    return [
        at_least("lines of the runtime that tests reach", share, GOAL, "%"),
        measured("lines of the runtime", found["lines"]),
        measured("exit status of the tests", found["tests"]),
    ]
