"""A hash of the source code that a result depends on, so that no result of other code is taken for this one's.

The sources are found, not listed by hand: a module, and whatever of this package it imports, at the top or inside a
function, and so on. In a checkout the version stays while the code changes, hence the hash.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["DECISIONS", "code_hash", "decisions_hash", "imported_sources"]

DECISIONS = "slads-bluesky decisions"
"""Among a run's versions: the sources that decide and classify, which change while the package's version stays."""

_ROOT = Path(__file__).parent
_PACKAGE = "slads_bluesky"
_DECIDING = ("*.py", "sampling/**/*.py", "spectra/**/*.py", "images/**/*.py", "analysis/**/*.py")
"""What a recorded decision, label or verdict comes from, besides models and packages."""


def _source(module: str) -> Path | None:
    """File of a module of this package; None for what is none."""
    path = _ROOT.joinpath(*module.split(".")[1:])
    for candidate in (path / "__init__.py", path.with_suffix(".py") if module != _PACKAGE else path):
        if candidate.is_file():
            return candidate
    return None


def _statements(block: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements of a block and of the blocks in it; of expressions, which import nothing, none."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(block, field, ()):
            yield child
            yield from _statements(child)


def _imports(module: str, path: Path) -> set[str]:
    """Modules of this package that a source file imports, its packages' ``__init__`` and stub included."""
    is_package = path.name == "__init__.py"
    found: set[str] = set()
    stub = path.with_suffix(".pyi")
    for file in (path, *([stub] if stub.is_file() else [])):
        for node in _statements(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = module.split(".")
                    parts = parts[: len(parts) - node.level + is_package]
                    base = ".".join([*parts, *([node.module] if node.module else [])])
                found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] == _PACKAGE and name != _PACKAGE and _source(name)}


@lru_cache
def imported_sources(*modules: str) -> tuple[Path, ...]:
    """Source files of some modules and of all of this package that they import, sorted.

    Parameters
    ----------
    *modules : str
        Full names, such as ``slads_bluesky.simulation.models``.

    Raises
    ------
    ValueError
        If there is no such module.
    """
    todo, seen = list(modules), {}
    while todo:
        module = todo.pop()
        path = _source(module)
        if path is None:
            raise ValueError(f"{_PACKAGE} has no module '{module}'")
        if module not in seen:
            seen[module] = path
            todo += _imports(module, path) - seen.keys()
    return tuple(sorted(set(seen.values())))


@lru_cache
def code_hash(*modules: str) -> str:
    """Hash of this program's version and of the sources that some modules depend on.

    Parameters
    ----------
    *modules : str
        As for `imported_sources`.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> len(code_hash("slads_bluesky.grid"))
    64
    """
    digest = hashlib.sha256(version("slads-bluesky").encode())
    for path in imported_sources(*modules):
        digest.update(f"\n{path.relative_to(_ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@lru_cache
def decisions_hash() -> str:
    """Hash of the sources that decide and classify, which a run records beside the versions of its packages.

    Unlike `code_hash` it parses nothing, since a session computes it before its first map.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _DECIDING for path in _ROOT.glob(pattern)}):
        digest.update(f"\n{path.relative_to(_ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
