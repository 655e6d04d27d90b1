"""A light detector and runs of a real RunEngine, for the tests of the record."""

import time
from collections import deque

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import numpy as np
from bluesky import RunEngine
from bluesky.utils import Msg
from ophyd.status import StatusBase

CHANNELS = 2040


class Detector:
    """Readable and triggerable: a spectrum, scalars of each kind, a string; counts its readings."""

    name = "eds"
    parent = None

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.spectra = []

    def trigger(self):
        self.spectra.append(self.rng.poisson(0.7, CHANNELS).astype("<i4"))
        status = StatusBase()
        status.set_finished()
        return status

    def read(self):
        n = len(self.spectra)
        values = {
            "eds_spectrum": self.spectra[-1],
            "scan_pixel": n * 7,
            "eds_live_time": 0.1 * n,
            "eds_label": n % 3,
            "eds_verdict": ["ok", "low_counts", "ill"][n % 3],
        }
        return {key: {"value": value, "timestamp": time.time()} for key, value in values.items()}

    def describe(self):
        source = {"source": "SIM:eds"}
        return {
            "eds_spectrum": {**source, "dtype": "array", "shape": [CHANNELS], "dtype_numpy": "<i4"},
            "scan_pixel": {**source, "dtype": "integer", "shape": [], "dtype_numpy": "<i8"},
            "eds_live_time": {**source, "dtype": "number", "shape": [], "dtype_numpy": "<f8", "units": "s"},
            "eds_label": {**source, "dtype": "integer", "shape": []},
            "eds_verdict": {**source, "dtype": "string", "shape": []},
        }

    def read_configuration(self):
        return {"eds_channels": {"value": CHANNELS, "timestamp": time.time()}}

    def describe_configuration(self):
        return {"eds_channels": {"source": "SIM:eds", "dtype": "integer", "shape": []}}


class MapReadable:
    """What the stream ``map`` records: two images."""

    name = "map"
    parent = None

    def __init__(self, shape=(16, 24)):
        self.labels = np.arange(shape[0] * shape[1], dtype="u1").reshape(shape)

    def read(self):
        now = time.time()
        return {
            "map_labels": {"value": self.labels, "timestamp": now},
            "map_measured": {"value": self.labels.astype("<i2") - 1, "timestamp": now},
        }

    def describe(self):
        shape = list(self.labels.shape)
        return {
            "map_labels": {"source": "x", "dtype": "array", "shape": shape, "dtype_numpy": "|u1"},
            "map_measured": {"source": "x", "dtype": "array", "shape": shape, "dtype_numpy": "<i2"},
        }

    def read_configuration(self):
        return {}

    def describe_configuration(self):
        return {}


def spectra_plan(detector, n, md=None, maps=2):
    """n points into ``primary``, a few maps into ``map``; a checkpoint right after each save."""
    image = MapReadable()

    @bpp.run_decorator(md={"plan_name": "spectra", **(md or {})})
    def inner():
        for i in range(n):
            yield Msg("checkpoint")
            yield from bps.trigger_and_read([detector])
            yield Msg("checkpoint")
            if maps and i % max(n // maps, 1) == 0:
                yield from bps.trigger_and_read([image], name="map")

    return (yield from inner())


def run_engine(*subscribers):
    engine = RunEngine({}, context_managers=[])
    documents = deque()
    for subscriber in subscribers:
        engine.subscribe(subscriber)
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    return engine, documents


def rewound_documents(md=None):
    """Documents of a run that went back twice, by one event and by two, and its events as emitted."""
    bundle = event_model.compose_run(metadata={"sample": "rewound", **(md or {})})
    detector = Detector(9)
    descriptor = bundle.compose_descriptor(name="primary", data_keys=detector.describe())
    events = []
    for seq_num in (1, 2, 3, 2, 3, 4, 4, 5):
        detector.trigger()
        data = {key: reading["value"] for key, reading in detector.read().items()}
        events.append(
            descriptor.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0), seq_num=seq_num)
        )
    stop = bundle.compose_stop()
    documents = [("start", bundle.start_doc), ("descriptor", descriptor.descriptor_doc)]
    return [*documents, *(("event", event) for event in events), ("stop", stop)], events


def same(a, b):
    """Equal documents: arrays by dtype and content, sequences by content."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
