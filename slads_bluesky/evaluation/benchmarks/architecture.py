"""Figures of the source tree itself: modules, imports, circles, lines, and the time to import it.

An arrow is an import of one module of the package by another, at the top of a file or inside a function; imports for
type checking only are left out. A circle is a set of modules, or of packages, that import one another. A package and
its own sub-packages are none (``docs/decisions/0007``): that their modules form no circle is measured as well.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ...errors import ConfigError
from ..figures import Figure, equal, measured

__all__ = ["circles", "measure_tree", "package_of", "tree_figures"]

PACKAGE = "slads_bluesky"
EVALUATION = re.compile(
    rf"^{PACKAGE}\.(evaluation|benchmarks|reproduction|spectra\.assessment\w*|cli\.(bench\w*|paper))(\.|$)"
)
"""Modules that measure what the project claims, by their names of today and of before they had a room."""
REPEATS = 5


def measure_tree(root: Path) -> dict[str, Any]:
    """Measure the import graph, the lines and the import times of a checkout.

    Parameters
    ----------
    root : Path
        Folder that holds ``slads_bluesky/``.

    Returns
    -------
    dict
        ``modules``, ``arrows``, ``circles`` (lists of modules), ``package_circles`` (lists of packages),
        ``packages`` (name to its counts), ``lines`` (of ``runtime``, ``evaluation``, ``tests``), ``times_s``.

    Raises
    ------
    ConfigError
        If `root` holds no package, or grimp is not installed.
    """
    root = root.resolve()
    if not (root / PACKAGE / "__init__.py").is_file():
        raise ConfigError(f"{root}: holds no {PACKAGE}/__init__.py")
    graph = _import_graph(root)
    modules, arrows = graph["modules"], [(a, b) for a, b in graph["arrows"]]
    parents = {module.rpartition(".")[0] for module in modules}
    room = {module: package_of(module, parents) for module in modules}
    between = {(room[a], room[b]) for a, b in arrows if room[a] != room[b]}
    apart = {(a, b) for a, b in between if not is_within(a, b) and not is_within(b, a)}
    return {
        "root": str(root),
        "modules": len(modules),
        "arrows": len(arrows),
        "circles": circles(modules, arrows),
        "package_circles": circles(set(room.values()), apart),
        "package_arrows": len(between),
        "packages": _packages(room, arrows),
        "lines": _lines(root),
        "times_s": _times(root),
    }


def tree_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures that the issue on the house asks for, from the result of `measure_tree`."""
    lines, times = found["lines"], found["times_s"]
    return [
        measured("modules", found["modules"]),
        measured("arrows (imports between modules)", found["arrows"]),
        measured("packages", len(found["packages"])),
        measured("arrows between packages", found["package_arrows"]),
        equal("circles of modules", len(found["circles"]), 0),
        measured("modules in circles", sum(map(len, found["circles"]))),
        equal("circles of packages", len(found["package_circles"]), 0),
        measured("packages in circles", sum(map(len, found["package_circles"]))),
        *(measured(f"lines of {name}", lines[name]) for name in ("runtime", "evaluation", "tests")),
        *(measured(f"time of {name}", 1e3 * seconds, "ms") for name, seconds in times.items()),
    ]


def circles(nodes: Iterable[str], arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the strongly connected sets of more than one node, largest first.

    Examples
    --------
    >>> circles("abcd", [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d")])
    [['a', 'b']]
    """
    names = sorted(nodes)
    index = {name: i for i, name in enumerate(names)}
    pairs = np.array([(index[a], index[b]) for a, b in arrows], np.int64).reshape(-1, 2)
    matrix = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(names),) * 2)
    _, component = connected_components(matrix, directed=True, connection="strong")
    sets = [[names[i] for i in np.flatnonzero(component == c)] for c in np.unique(component)]
    return sorted((found for found in sets if len(found) > 1), key=len, reverse=True)


def is_within(package: str, other: str) -> bool:
    """Whether a package is a part of another one.

    Examples
    --------
    >>> is_within("sampling.slads", "sampling"), is_within("sampling", "sampling.slads")
    (True, False)
    """
    return package.startswith(f"{other}.")


def package_of(module: str, modules: Container[str] = ()) -> str:
    """Return the package that a module lies in, or that it is, without the name of the whole.

    Parameters
    ----------
    module : str
        Full name.
    modules : container of str
        Full names of the modules that are packages.

    Examples
    --------
    >>> package_of("slads_bluesky.sampling.slads.erd"), package_of("slads_bluesky.grid")
    ('sampling.slads', 'grid')
    >>> package_of("slads_bluesky.sampling.slads", {"slads_bluesky.sampling.slads"})
    'sampling.slads'
    """
    parts = module.split(".")[1:]
    if module in modules:
        return ".".join(parts)
    return ".".join(parts[:-1]) or (parts[0] if parts else "")


def _import_graph(root: Path) -> dict[str, Any]:
    """Build the graph in a process that finds the package in `root`, not in this installation."""
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("import_graph.py")), PACKAGE],
        env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"{root}: the import graph cannot be made ({last})")
    graph: dict[str, Any] = json.loads(done.stdout)
    return graph


def _packages(room: Mapping[str, str], arrows: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in room.values()}
    for name in room.values():
        counts[name]["modules"] += 1
    for a, b in arrows:
        inside = room[a] == room[b]
        counts[room[a]]["inside" if inside else "out"] += 1
        counts[room[b]]["in"] += not inside
    for found in circles(room, arrows):
        for module in found:
            counts[room[module]]["in_circles"] += 1
    keys = ("modules", "inside", "out", "in", "in_circles")
    return {name: {key: count[key] for key in keys} for name, count in sorted(counts.items())}


def _lines(root: Path) -> dict[str, int]:
    """Lines of Python files, blank ones and comments included."""
    found = Counter(runtime=0, evaluation=0, tests=0)
    for path in sorted((root / PACKAGE).rglob("*.py")) + [
        path for name in ("devices", "plans") for path in sorted((root / name).rglob("*.py"))
    ]:
        relative = path.relative_to(root)
        if "__pycache__" in relative.parts or any(parent.is_symlink() for parent in path.parents):
            continue
        module = ".".join(relative.with_suffix("").parts)
        found["evaluation" if EVALUATION.match(module) else "runtime"] += _count(path)
    found["tests"] = sum(_count(path) for path in (root / "tests").rglob("*.py"))
    return dict(found)


def _count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _times(root: Path) -> dict[str, float]:
    """Fewest seconds of some starts of Python, each with what a user waits for."""
    commands = {
        "python alone": ["-c", "pass"],
        f"import {PACKAGE}": ["-c", f"import {PACKAGE}"],
        "slads-bluesky --help": ["-m", PACKAGE, "--help"],
    }
    environment = {**os.environ, "PYTHONPATH": str(root)}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS):
        for name, arguments in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=True)
            times[name].append(time.perf_counter() - began)
    return {name: min(seconds) for name, seconds in times.items()}
