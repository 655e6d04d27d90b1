"""Whether maps of the joint sampler are replayed, resumed and repeated exactly: a small one on soft devices."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ...agent import SladsAgent
from ...agent_settings import AgentSettings
from ...analysis.load import load_map
from ...devices.sim.soft import soft_microscope
from ...grid import ScanGrid
from ...phantom import make_object
from ...plans.adaptive import adaptive_map
from ...plans.engine import BeamSafeEngine
from ...record.resume import rebuild_agent
from ...record.verify import verify
from ...simulation.models import prepare_models
from ...simulation.run import make_flyer
from ...spectra.dwell import adaptive_dwell
from ..figures import Figure, equal

__all__ = ["record_figures"]

OBJECT, FRACTION, CAP_S = "pbsn-32", 0.08, 1.0


def record_figures() -> list[Figure]:
    """Map a small object point by point and by lists, and replay, resume and repeat the map.

    Returns
    -------
    list of Figure
    """
    models = prepare_models(OBJECT, sampler="joint", classifier="likelihood")
    found = []
    for title, lists in (("point by point", False), ("by lists", True)):
        documents, agent = _map(models, lists)
        data = load_map([partial(iter, documents)])
        result = verify(data, rebuild_agent(data.start, models.sampler), models.classifier)
        found.append(equal(f"joint map {title}: replayed and verified bit for bit", result.passed, True))
        again = rebuild_agent(data.start, models.sampler)
        for event in data.events():
            for _ in range(2):  # emitted twice by a resumed run
                again.ingest(event)
        same = np.array_equal(again.sampler.reconstruct(), agent.sampler.reconstruct())
        found.append(equal(f"joint map {title}: the same state when it is resumed", bool(same), True))
    once, twice = (_map(models, False)[1].sampler for _ in range(2))
    same = np.array_equal(once.measured, twice.measured) and once.suggest(5) == twice.suggest(5)
    return [*found, equal("joint map: the same again from the same seed", bool(same), True)]


def _map(models: Any, lists: bool) -> tuple[list[tuple[str, dict[str, Any]]], SladsAgent]:
    """Documents of a small map, and the agent that drove it."""
    phantom = make_object(OBJECT, 0)
    rule = adaptive_dwell(models.classifier, 1e-3, CAP_S)
    beam, eds, sem = soft_microscope(phantom, models.classifier, stop_rule=rule)
    settings = AgentSettings.for_models(
        ScanGrid(phantom.shape), models.classifier, models.sampler, sampler="joint", fraction=FRACTION
    )
    agent = SladsAgent.from_settings(settings, models.sampler)
    documents: list[tuple[str, dict[str, Any]]] = []
    engine: Any = BeamSafeEngine({}, context_managers=[])
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    flyer = make_flyer(beam, eds) if lists else None
    engine(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=CAP_S, flyer=flyer))
    return documents, agent
