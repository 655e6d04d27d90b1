"""Prints, as JSON, the data keys of every stream of a run: those of the descriptors that the plans really emit.

A map, a map by point lists and a collection of spectra over soft devices, whose data keys are those over EPICS.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bluesky import RunEngine

from slads_bluesky import LearnedSampler, PhaseClassifier, ScanGrid, SladsAgent, adaptive_map
from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.sim.soft import SoftBSE, soft_microscope
from slads_bluesky.devices.sim.softlist import SoftListEngine
from slads_bluesky.discovering_agent import DiscoveringAgent
from slads_bluesky.instrument.operator import OperatorStream
from slads_bluesky.phantom import make_object
from slads_bluesky.plans.collect import collect_phase
from slads_bluesky.plans.fly import adaptive_lists
from slads_bluesky.record.operator_log import append_action
from slads_bluesky.sampling.joint.sampler import JointSampler


def streams() -> dict[str, dict[str, Any]]:
    """Data keys by stream, in the order of their first appearance."""
    found: dict[str, dict[str, Any]] = {}

    def note(name: str, doc: dict[str, Any]) -> None:
        if name == "descriptor":
            kept = found.setdefault(doc["name"], {})
            for key, entry in doc["data_keys"].items():
                kept.setdefault(key, entry)
            for device, about in doc.get("configuration", {}).items():
                for key, entry in about["data_keys"].items():
                    found.setdefault(f"configuration of {device}", {}).setdefault(key, entry)

    grid = ScanGrid((32, 32))
    classifier = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
    beam, eds, sem = soft_microscope(make_object("pbsn-32"), classifier)

    def agent() -> SladsAgent:
        return SladsAgent(grid, LearnedSampler(grid.shape, labels=2), n_labels=2, fraction=0.03)

    engine = RunEngine({}, context_managers=[])
    engine.subscribe(note)
    engine(adaptive_map(beam, eds, agent(), baseline=[sem], dwell_s=0.1, image=SoftBSE("bse", beam.sem)))
    engine(
        adaptive_lists(SparseFlyer(SoftListEngine(beam.sem), eds, beam), beam, eds, agent(), dwell_s=0.005)
    )
    weighing = SladsAgent(grid, JointSampler(grid.shape, labels=2), n_labels=2, fraction=0.03)
    engine(adaptive_map(beam, eds, weighing, baseline=[sem], dwell_s=0.1))
    search = {"discovery": {"n_channels": classifier.n_channels}}
    finding = AgentSettings(grid, 12, fraction=0.02, sampler="low-discrepancy", more=search)
    engine(adaptive_map(beam, eds, DiscoveringAgent.from_settings(finding), baseline=[sem], dwell_s=0.1))
    eds.configure({"abundances": True})
    mixing = SladsAgent.from_settings(AgentSettings(grid, n_labels=2, fraction=0.02, interaction_px=1.0))
    engine(adaptive_map(beam, eds, mixing, baseline=[sem], dwell_s=0.1))
    with tempfile.TemporaryDirectory() as record:
        engine.preprocessors.append(OperatorStream(Path(record)))
        append_action(Path(record), "Ada", "pause")
        engine(collect_phase(beam, eds, "Sn", [[0.0, 0.0]], dwell_s=0.1))
    ordinary = {name: keys for name, keys in found.items() if not name.startswith("configuration")}
    return {**ordinary, **{name: keys for name, keys in found.items() if name not in ordinary}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(streams()))
