"""The instrument that the plans are tested on, soft and over Channel Access; a small real agent and classifier."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators

from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.grid import ScanGrid
from slads_bluesky.phantom.objects import make_object
from slads_bluesky.protocols import Classification, EventKeys, Suggestion
from slads_bluesky.streams import final_events


class TemplateClassifier:
    """Largest multinomial log-likelihood under each phase's mean spectrum; far too few counts are ill."""

    def __init__(self, phantom):
        self.templates = np.array(
            [np.mean(phantom.templates[i], axis=0) + 2.0 for i in range(len(phantom.phases))]
        )
        self._log = np.log(self.templates / self.templates.sum(1, keepdims=True))
        self.phases = tuple(phantom.phases)
        self.n_channels = phantom.axis.n_channels
        self.axis = SimpleNamespace(offset_kev=phantom.axis.offset_kev, width_kev=phantom.axis.width_kev)
        self.sha256 = "5" * 64

    def classify(self, counts):
        scores = self._log @ counts
        best = int(np.argmax(scores))
        weights = np.exp(np.clip(scores - scores[best], -700, 0))
        shape = (
            counts
            @ self.templates[best]
            / (np.linalg.norm(counts) * np.linalg.norm(self.templates[best]) + 1)
        )
        if counts.sum() < 10 or shape < 0.5:
            return Classification(0, 1.0, "ill")
        return Classification(best + 1, float(weights[best] / weights.sum()), "ok")

    def classify_batch(self, counts):
        rows = [self.classify(c) for c in counts]
        return (np.array([r.label for r in rows], np.uint8), np.array([r.probability for r in rows]),
                np.array([r.verdict for r in rows]))  # fmt: skip


class FarthestAgent:
    """A first handful of points on a lattice, then next to wherever neighbours' labels differ."""

    def __init__(self, grid: ScanGrid, n_wanted: int, seed: int = 0):
        self.grid, self.keys, self.n_wanted = grid, EventKeys(), n_wanted
        self.labels: dict[int, int] = {}
        self.ingested: list[dict] = []
        order = np.random.default_rng(seed).permutation(grid.shape[0] * grid.shape[1])
        self._order = [int(p) for p in order]
        self._seed = seed

    @property
    def n_measured(self):
        return len(self.labels)

    def suggest(self, n=1):
        out = []
        if self.n_measured >= 16:
            known = np.array(list(self.labels))
            rows, cols = np.divmod(known, self.grid.shape[1])
            for pixel in self._order[:200]:
                if pixel not in self.labels:
                    r, c = divmod(pixel, self.grid.shape[1])
                    near = known[np.argsort((rows - r) ** 2 + (cols - c) ** 2, kind="stable")[:4]]
                    out.append((len({self.labels[int(k)] for k in near}), -pixel))
            out = [Suggestion(-p, float(s)) for s, p in sorted(out, reverse=True)[:n]]
        if not out:
            out = [Suggestion(p, float("nan")) for p in self._order if p not in self.labels][:n]
        return out

    def ingest(self, event):
        data = event["data"]
        pixel = int(data[self.keys.pixel])
        self.labels[pixel] = int(data[self.keys.label]) if data[self.keys.verdict] == "ok" else 0
        self.ingested.append(event)

    @property
    def stop_reason(self):
        return "enough" if self.n_measured >= self.n_wanted else ""

    def should_stop(self):
        return bool(self.stop_reason)

    def configuration(self):
        return {"agent": "FarthestAgent", "seed": self._seed, "model_hashes": {"sampler": "0" * 64}}

    def map_data(self):
        measured = np.full(self.grid.shape, -1, np.int16)
        for pixel, label in self.labels.items():
            measured.flat[pixel] = label
        return {"labels": np.maximum(measured, 0).astype(np.uint8), "measured": measured,
                "n_measured": self.n_measured, "fraction": self.n_measured / self.grid.n_pixels,
                "distortion_estimate": float("nan")}  # fmt: skip


class Documents(list):
    """Everything that was emitted, each document checked against its schema as it comes."""

    __hash__ = object.__hash__

    def __call__(self, name, document):
        schema_validators[DocumentNames[name]].validate(_jsonable(document))
        self.append((name, document))

    @property
    def start(self):
        return self[0][1]

    @property
    def stop(self):
        assert self[-1][0] == "stop"
        return self[-1][1]

    def descriptor(self, stream):
        return next(d for n, d in self if n == "descriptor" and d["name"] == stream)

    def events(self, stream="primary"):
        """Events of a stream; of a repeated seq_num the last, as a catalog has it."""
        return sorted((doc for _, doc in final_events(self, (stream,))), key=lambda doc: doc["seq_num"])


def _jsonable(value):
    if isinstance(value, dict):
        return {key: _jsonable(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def check_events_belong_together(events, instrument, phantom, classifier):
    """Position, spectrum, label and dose of each event are of its pixel."""
    for event in events:
        data = event["data"]
        pixel = data["scan_pixel"]
        assert (data["beam_x"], data["beam_y"]) == instrument.grid.position(pixel)
        assert (data["scan_row"], data["scan_col"]) == instrument.grid.row_column(pixel)
        visits = [phantom.spectrum(pixel, visit) for visit in range(4)]
        assert any(np.array_equal(data["eds_spectrum"], spectrum) for spectrum in visits)
        label, probability, verdict = classifier.classify(np.asarray(data["eds_spectrum"]))
        assert (data["eds_label"], data["eds_verdict"]) == (label, verdict)
        assert data["eds_probability"] == pytest.approx(probability)
        assert data["eds_counts"] == np.sum(data["eds_spectrum"])
        assert data["eds_live_time"] == 10.0


PREFIX = "PLANS:"


@pytest.fixture(scope="session")
def phantom():
    return make_object("pbsn-64")


@pytest.fixture(scope="session")
def classifier(phantom):
    return TemplateClassifier(phantom)


@pytest.fixture(scope="session")
def ioc_log(tmp_path_factory):
    return tmp_path_factory.mktemp("ioc") / "log.jsonl"


@pytest.fixture(scope="session")
def ioc(ioc_log):
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-64", prefix=PREFIX, log=ioc_log) as microscope:
        yield microscope


@pytest.fixture(scope="session")
def ca_devices(ioc, classifier):
    from ophyd import EpicsSignal

    from slads_bluesky.devices import EDSDetector, Microscope, SEMBeam

    beam = SEMBeam(f"{PREFIX}Beam:", name="beam")
    return (
        beam,
        EDSDetector(
            f"{PREFIX}EDS:mca1",
            name="eds",
            classifier=classifier,
            beam=beam,
            elevation_angle_deg=28.5,
            energy_resolution_ev=126.0,
        ),
        Microscope(f"{PREFIX}Beam:", name="sem"),
        EpicsSignal(f"{PREFIX}Sim:Reset", name="reset", put_complete=True, timeout=20),
    )


@pytest.fixture
def soft(phantom, classifier):
    """A fresh soft microscope."""
    beam, eds, sem = soft_microscope(phantom, classifier)
    return SimpleNamespace(kind="soft", beam=beam, eds=eds, sem=sem, grid=ScanGrid(phantom.shape))


@pytest.fixture
def over_ca(ca_devices, phantom):
    """The microscope over Channel Access with a fresh specimen."""
    from ophyd.device import Staged

    beam, eds, sem, reset = ca_devices
    reset.set(1).wait(10)
    yield SimpleNamespace(kind="ioc", beam=beam, eds=eds, sem=sem, grid=ScanGrid(phantom.shape))
    for device in (eds, beam):
        if device._staged is not Staged.no:  # left so by a test that failed, not to be met by the next one
            device.unstage()


@pytest.fixture(params=["soft", "ioc"])
def instrument(request):
    """Both of them, one after the other."""
    return request.getfixturevalue("soft" if request.param == "soft" else "over_ca")


@pytest.fixture
def make_agent(phantom):
    def make(n_wanted, seed=0):
        return FarthestAgent(ScanGrid(phantom.shape), n_wanted, seed)

    return make


@pytest.fixture
def RE():
    from bluesky import RunEngine

    return RunEngine({}, context_managers=[])


@pytest.fixture
def documents():
    return Documents()


@pytest.fixture
def new_documents():
    return Documents


@pytest.fixture
def belong_together():
    return check_events_belong_together


@pytest.fixture(scope="session")
def sim(ioc):
    """``sim("Trip", 1)``: put to a PV of the simulation."""
    from ophyd import EpicsSignal

    signals = {}

    def put(name, value, wait=True):
        if name not in signals:
            signals[name] = EpicsSignal(f"{PREFIX}Sim:{name}", name=name, put_complete=True, timeout=20)
            signals[name].wait_for_connection(10)
        if wait:
            signals[name].set(value).wait(10)
        else:
            signals[name].put(value)

    return put
