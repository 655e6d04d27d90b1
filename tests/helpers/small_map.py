"""One small map over soft devices, its documents, and the journal it left; fixtures for several folders of tests."""

from types import SimpleNamespace

import numpy as np
import pytest

from slads_bluesky.agent import SladsAgent
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.grid import ScanGrid
from slads_bluesky.phantom.objects import make_object
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.protocols import Classification, Suggestion
from slads_bluesky.record import Journal


class FirstLook:
    """Nearest mean spectrum by angle; a spectrum with hardly a count is ill."""

    def __init__(self, phantom):
        self._means = np.array([np.mean(phantom.templates[i], axis=0) for i in range(len(phantom.phases))])
        self._units = self._means / np.linalg.norm(self._means, axis=1, keepdims=True)
        self.phases, self.n_channels, self.sha256 = tuple(phantom.phases), phantom.axis.n_channels, "c" * 64

    def classify(self, counts):
        cosine = self._units @ counts / (np.linalg.norm(counts) + 1e-9)
        best = int(np.argmax(cosine))
        if cosine[best] < 0.5:
            return Classification(0, 1.0, "ill")
        return Classification(best + 1, float(cosine[best] / cosine.sum()), "ok")


class ExpectingAgent(SladsAgent):
    """Expects something of each pixel after the first twenty, as SLADS would; which costs no training."""

    def suggest(self, n=1):
        found = super().suggest(n)
        return found if self.n_measured < 20 else [Suggestion(s.pixel, (s.pixel % 97) / 8) for s in found]


def make_agent(phantom, n_wanted, grid=None, sampler="low-discrepancy", seed=0):
    grid = grid if grid is not None else ScanGrid(phantom.shape)
    return ExpectingAgent.from_configuration(
        {
            "grid": grid.to_json(),
            "n_labels": len(phantom.phases),
            "phases": list(phantom.phases),
            "fraction": n_wanted / grid.n_pixels,
            "seed": seed,
            "sampler": {"name": sampler, "initial": None, "stop_at": None},
        }
    )


@pytest.fixture(scope="session")
def phantom():
    return make_object("pbsn-64")


@pytest.fixture
def soft(phantom):
    """A fresh soft microscope, a RunEngine, and how to map with them."""
    from bluesky import RunEngine

    beam, eds, sem = soft_microscope(phantom, FirstLook(phantom))
    engine = RunEngine({}, context_managers=[])

    def plan(n, grid=None, map_every=None, **md):
        agent = make_agent(phantom, n, grid)
        return adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=1.0, map_every=map_every, md=md)

    return SimpleNamespace(beam=beam, eds=eds, sem=sem, RE=engine, plan=plan, phantom=phantom)


@pytest.fixture(scope="session")
def recorded(phantom, tmp_path_factory):
    """A finished map of 250 pixels: its documents, and a record's folder with its journal."""
    from bluesky import RunEngine

    record = tmp_path_factory.mktemp("record")
    beam, eds, sem = soft_microscope(phantom, FirstLook(phantom))
    engine = RunEngine({}, context_managers=[])
    documents = []
    with Journal(record / "journal") as journal:
        engine.subscribe(journal)
        engine.subscribe(lambda name, doc: documents.append((name, doc)))
        engine(
            adaptive_map(
                beam, eds, make_agent(phantom, 250), baseline=[sem], dwell_s=1.0, md={"sample": "solder"}
            )
        )
    return SimpleNamespace(documents=documents, directory=record, uid=documents[0][1]["uid"])
