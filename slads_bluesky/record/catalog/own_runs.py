"""A session's view of a catalog: ``[-1]`` is the session's own newest run, whoever else records there."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = ["own_runs"]

LOOKED_AT = 100
"""Runs of others, begun since, that are passed over at most; with more, the catalog's own order holds."""


def own_runs(catalog: Any, uids: Sequence[str]) -> Any:
    """Return a view of a catalog in which negative numbers count back from the newest run of a session.

    Parameters
    ----------
    catalog : databroker client
    uids : sequence of str
        Runs of the session, the newest last; it may grow. While it is empty, the numbers count from the end.

    Returns
    -------
    databroker client
        With the same connection: searches, iteration, uids and scan_ids are those of `catalog`.
    """

    class OwnRuns(type(catalog)):  # type: ignore[misc]  # whichever client the catalog has
        """The catalog, for the one session that `uids` are of."""

        def __getitem__(self, key: Any) -> Any:
            if uids and isinstance(key, Integral) and key < 0:
                return super().__getitem__(int(key) - self._begun_since(uids[-1]))
            return super().__getitem__(key)

        def _begun_since(self, newest: str) -> int:
            """Runs that other sessions have begun since."""
            keys = self.keys()
            for number in range(LOOKED_AT):
                try:
                    if keys[-1 - number] == newest:
                        return number
                except IndexError:
                    break
            return 0  # not written yet

        def new_variation(self, **changes: Any) -> Any:
            """Results of a search are the catalog's: they hold some runs, and numbers count from their end."""
            return catalog.new_variation(**changes)

    view = catalog.new_variation()
    view.__class__ = OwnRuns
    return view
