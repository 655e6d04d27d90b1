"""What the start document of a map holds: all that a replay, a table or a plot needs."""

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from slads_bluesky.codehash import DECISIONS, decisions_hash
from slads_bluesky.protocols import Agent, StopRule

__all__ = ["start_document", "versions"]

VERSIONS_OF = ("slads-bluesky", "bluesky", "ophyd", "event-model", "numpy", "scipy", "numba", "torch")


def start_document(
    beam: Any,
    eds: Any,
    agent: Agent,
    arguments: Mapping[str, Any],
    md: Mapping[str, Any] | None,
    rule: StopRule | None = None,
) -> dict[str, Any]:
    """Metadata that a replay, a table or a plot needs; JSON only.

    Parameters
    ----------
    beam, eds : devices
        Named in ``motors`` and ``detectors``.
    agent : Agent
        Its grid, configuration, and from that seed and model hashes.
    arguments : mapping
        Arguments of the plan.
    md : mapping, optional
        The user's; wins where keys are the same, except for what a replay needs.
    rule : StopRule, optional
        What ends each acquisition early.
    """
    grid, configuration = agent.grid, agent.configuration()
    (y0, y1), (x0, x1) = grid.extents_um
    fields = [f"{beam.name}_y", f"{beam.name}_x"]
    own = getattr(agent, "detector_classifier", None)  # of an agent that finds the phases itself
    classifier = own if own is not None else getattr(eds, "classifier", None)
    hashes = dict(configuration.get("model_hashes", {}))
    if classifier is not None:
        hashes.setdefault("classifier", classifier.sha256)
    return {
        "plan_name": "adaptive_map",
        "plan_type": "generator",
        "detectors": [eds.name],
        "motors": [beam.name],
        "hints": {"dimensions": [([field], "primary") for field in fields]},
        **(md or {}),
        "plan_args": {
            "beam": beam.name,
            "eds": eds.name,
            "agent": configuration.get("agent", ""),
            **arguments,
        },
        "shape": [int(n) for n in grid.shape],
        "extents": [[y0, y1], [x0, x1]],
        "grid": grid.to_json(),
        "agent": configuration,
        "seed": configuration.get("seed"),
        "model_hashes": hashes,
        "sequential": _rule(rule),
        "phases": list(getattr(classifier, "phases", ())),
        "versions": versions(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the packages that a result may depend on, if installed, and of the sources that decide."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found[DECISIONS] = decisions_hash()[:12]
    return found


def _rule(rule: Any) -> dict[str, Any] | None:
    """What stops each acquisition early, None if its presets alone do."""
    if rule is None:
        return None
    facts = {key: getattr(rule, key, None) for key in ("error", "cap_s", "abundance_sd")}
    return {
        "name": type(rule).__name__,
        **{key: value for key, value in facts.items() if value is not None},
    }
