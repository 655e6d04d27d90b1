"""Hides installed packages from a process, as if only some distributions and what they require were there."""

from __future__ import annotations

import importlib.util
import sys
from importlib import abc, metadata

from packaging.requirements import Requirement

__all__ = ["closure", "hide_all_but"]


def closure(*names: str) -> set[str]:
    """Names of distributions (with ``[extras]``) and of all that they require, extras only where asked for."""
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

    for requirement in map(Requirement, names):
        walk(requirement.name, (*sorted(requirement.extras), ""))
    return {name for name, _ in found}


class Hider(abc.MetaPathFinder):
    """Finds hidden modules first, and says that they are not there."""

    def __init__(self, hidden: set[str]) -> None:
        self.hidden = hidden

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raise ModuleNotFoundError for a hidden module."""
        if fullname.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def hide_all_but(*names: str) -> None:
    """Hide the top-level modules that only other distributions bring; what is imported already stays.

    The plug-ins of hidden distributions are hidden, too: what looks for entry points does not find theirs.
    """
    visible = closure(*names)

    def shown(name: str) -> bool:
        return name.lower().replace("_", "-") in visible

    hidden = {
        module for module, owners in metadata.packages_distributions().items() if not any(map(shown, owners))
    }
    hider = Hider(hidden - set(sys.modules))
    sys.meta_path.insert(0, hider)
    there = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        return None if name.partition(".")[0] in hider.hidden else there(name, package)

    importlib.util.find_spec = find_spec
    if "entrypoints" in map(str.lower, visible):  # the package has a search of its own
        import entrypoints

        found = entrypoints.get_group_named

        def get_group_named(*which: object) -> dict[str, object]:
            return {
                name: point
                for name, point in found(*which).items()
                if point.module_name.partition(".")[0] not in hider.hidden
            }

        entrypoints.get_group_named = get_group_named
    all_of_them = metadata.distributions

    def distributions(**context: object) -> object:
        return (one for one in all_of_them(**context) if shown(one.metadata["Name"]))

    metadata.distributions = distributions
