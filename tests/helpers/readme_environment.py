"""Hides every package that the README's own install does not bring: ``python -c "import readme_environment; …"``.

As a pytest plugin (``-p readme_environment``, this folder on PYTHONPATH) pytest and what it needs stay visible.
What a test extra brings along has hidden faults of the plain install before.
"""

from __future__ import annotations

import sys
from importlib import abc, metadata

from packaging.requirements import Requirement

TOOLS = (
    "pytest",
    "pytest-cov",
    "slipcover",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "pip",
    "setuptools",
)


def closure(*names: str) -> set[str]:
    """Names of distributions and of all that they require, extras only where one asks for them."""
    found: set[tuple[str, tuple[str, ...]]] = set()

    def walk(name: str, extras: tuple[str, ...]) -> None:
        key = (name.lower().replace("_", "-"), extras)
        if key in found:
            return
        found.add(key)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                walk(need.name, (*sorted(need.extras), ""))

    for name in names:
        walk(name, ("",))
    return {name for name, _ in found}


def hidden_modules() -> set[str]:
    """Top-level modules that only other distributions bring."""
    visible = closure("slads-bluesky", *TOOLS)
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if not visible & {owner.lower().replace("_", "-") for owner in owners}
    }


class Hider(abc.MetaPathFinder):
    """Finds hidden modules first, and says that they are not there."""

    def __init__(self, hidden: set[str]) -> None:
        self.hidden = hidden

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raise ModuleNotFoundError for a hidden module."""
        if fullname.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


_hidden = hidden_modules() - set(sys.modules)
sys.meta_path.insert(0, Hider(_hidden))
