"""The start-document key that marks a run as simulated, and names the specimen that was mapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["KEY", "SimulatedObject", "simulated_object", "simulation_metadata"]

KEY = "slads_simulation"
"""Key of the start document; a namespace of its own, so that no word of a user's can be taken for it."""


class SimulatedObject(NamedTuple):
    """The specimen of a simulated run."""

    name: str
    """Kind and size, such as ``pbsn-64``."""
    seed: int
    """Random seed of the phantom."""
    imperfections: Mapping[str, float] | None = None
    """What it has besides, as `slads_bluesky.phantom.Imperfections.to_json` gives it; None: nothing."""


def simulation_metadata(
    name: str, seed: int, imperfections: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Metadata that marks a run as one of a simulated specimen.

    Parameters
    ----------
    name : str
        Name of the phantom, as `slads_bluesky.phantom.make_object` takes it.
    seed : int
        Its random seed.
    imperfections : mapping, optional
        What it has besides, as `slads_bluesky.phantom.Imperfections.to_json` gives it.

    Returns
    -------
    dict
        For the start document; JSON only.

    Examples
    --------
    >>> simulation_metadata("pbsn-64", 0)
    {'slads_simulation': {'object': 'pbsn-64', 'seed': 0}}
    """
    about: dict[str, Any] = {"object": str(name), "seed": int(seed)}
    if imperfections:
        about["imperfections"] = {str(key): float(value) for key, value in imperfections.items()}
    return {KEY: about}


def simulated_object(start: Mapping[str, Any]) -> SimulatedObject | None:
    """Name and seed of the simulated specimen of a run.

    Parameters
    ----------
    start : mapping
        Start document.

    Returns
    -------
    SimulatedObject or None
        None if the run is not marked as simulated. A run recorded before the key existed is recognized by both of
        ``object`` and ``object_seed``; ``object`` alone is a user's own word.

    Examples
    --------
    >>> simulated_object({"object": "meteorite 7"}) is None
    True
    >>> simulated_object({"object": "pbsn-64", "object_seed": 3})
    SimulatedObject(name='pbsn-64', seed=3, imperfections=None)
    """
    about = start.get(KEY)
    if about is None:
        about = {"object": start.get("object"), "seed": start.get("object_seed")}
    if not isinstance(about, Mapping):
        return None
    name, seed = about.get("object"), about.get("seed")
    if not isinstance(name, str) or isinstance(seed, bool) or not isinstance(seed, int):
        return None
    imperfections = about.get("imperfections")
    return SimulatedObject(name, seed, imperfections if isinstance(imperfections, Mapping) else None)
