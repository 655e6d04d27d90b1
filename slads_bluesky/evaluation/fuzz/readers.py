"""The readers of this program, each with valid inputs to begin from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["READERS", "Reader"]

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Reader:
    """One reader: what it reads, and how."""

    name: str
    file: str
    """Name of the file that it is given."""
    samples: Callable[[Path], list[bytes]]
    """Makes valid inputs, in a folder of their own."""
    open: Callable[[], Any]
    """Context manager that gives the function that reads a path."""
    listing: bool = False
    """Whether its error lists every wrong field, a line each, after a line that names the file."""


@contextmanager
def _journal() -> Iterator[Read]:
    from ...record import read_journal

    yield lambda path: list(read_journal(path, on_damage=lambda text: None))


@contextmanager
def _phases() -> Iterator[Read]:
    from ...spectra.io.phase_file import load_phases

    yield load_phases


@contextmanager
def _instrument() -> Iterator[Read]:
    from ...instrument.settings import read_settings

    yield read_settings


@contextmanager
def _spectra() -> Iterator[Read]:
    from ...spectra.io.formats import read_spectra

    yield read_spectra


@contextmanager
def _map() -> Iterator[Read]:
    from ...spectra.io.maps import read_map

    yield read_map


@contextmanager
def _labels() -> Iterator[Read]:
    from ...images.files import read_label_image

    yield read_label_image


@contextmanager
def _frame() -> Iterator[Read]:
    from ...images.frames import read_frame

    yield read_frame


@contextmanager
def _calibration() -> Iterator[Read]:
    from ...spectra.likelihood.computed import DetectorCalibration

    yield DetectorCalibration.load


@contextmanager
def _joint() -> Iterator[Read]:
    from ...sampling.joint.model import JointModel

    yield JointModel.load


@contextmanager
def _recorded_map() -> Iterator[Read]:
    """Everything that is made of a map's documents, not only the documents."""
    from ...analysis.load import load_map
    from ...errors import RecordError
    from ...record import read_journal

    def read(path: Path) -> Any:
        documents = list(read_journal(path, on_damage=lambda text: None))
        try:
            return load_map([lambda: iter(documents)])
        except RecordError as error:  # documents have no file: the culprit is named by its run
            raise RecordError(f"{path}: {error}" if str(error).startswith("run ") else str(error)) from error

    yield read


@contextmanager
def _classifier() -> Iterator[Read]:
    from ...spectra import load_classifier

    yield load_classifier


@contextmanager
def _sampler() -> Iterator[Read]:
    from ...sampling.factory import load_model

    yield lambda path: load_model("slads", path)


@contextmanager
def _learned() -> Iterator[Read]:
    from ...sampling.factory import load_model

    yield lambda path: load_model("learned", path)


@contextmanager
def _messages() -> Iterator[Read]:
    """Through a real socket: the bytes of the file are the message."""
    import zmq

    from ...callbacks.publish.zmq import ZMQListener

    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.linger = 0
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        with ZMQListener(f"127.0.0.1:{port}") as listener:
            publisher.setsockopt(zmq.SNDTIMEO, 1000)
            first = _message_samples(Path())[0]
            while listener.next(0.05) is None:  # until the subscription has arrived
                publisher.send(first)
            while listener.next(0.05) is not None:
                continue

            def read(path: Path) -> Any:
                publisher.send(path.read_bytes())
                return listener.next(2.0)

            yield read


def _journal_samples(folder: Path) -> list[bytes]:
    from ...record import Journal

    with Journal(folder) as journal:
        for name, doc in _documents():
            journal(name, doc)
    return [path.read_bytes() for path in sorted(folder.glob("*.msgpack"))]


def _documents() -> Iterator[tuple[str, Any]]:
    import event_model

    run = event_model.compose_run(metadata={"sample": "steel", "grid": {"shape": [8, 8]}})
    yield "start", run.start_doc
    keys = {
        "eds_spectrum": {"source": "x", "dtype": "array", "dtype_numpy": "<i4", "shape": [64]},
        "scan_pixel": {"source": "x", "dtype": "integer", "dtype_numpy": "<i8", "shape": []},
        "eds_verdict": {"source": "x", "dtype": "string", "shape": []},
    }
    primary = run.compose_descriptor(name="primary", data_keys=keys)
    yield "descriptor", primary.descriptor_doc
    for pixel in range(3):
        data = {"eds_spectrum": np.arange(64, dtype=np.int32), "scan_pixel": pixel, "eds_verdict": "ok"}
        yield "event", primary.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0), validate=False)
    yield "stop", run.compose_stop()


def _message_samples(folder: Path) -> list[bytes]:
    from ...codec import pack

    return [b" ".join([b"slads", name.encode(), pack(doc)]) for name, doc in _documents()]


def _phase_samples(folder: Path) -> list[bytes]:
    (folder / "one.msa").write_bytes(_emsa_samples(folder)[0])
    return [
        b"beam_energy_kev: 15\nphases:\n  CaO: {composition: CaO}\n  Pb-Sn: {composition: {Pb: 0.38, Sn: 0.62}}\n",
        b"axis: {offset_kev: 0.0, width_kev: 0.01, n_channels: 512}\nresolution_ev: 130\nphases:\n"
        b"  Si: {composition: Si}\n  'Fe3O4':\n    composition: Fe3O4\n",
    ]


def _instrument_samples(folder: Path) -> list[bytes]:
    return [
        b"mode: soft\nsimulation: {object: pbsn-32}\ngrid: {shape: [32, 32]}\nclassifier: {train: likelihood}\n"
        b"dose: {dwell_s: 10, error: 0.001}\n",
        b"mode: hardware\ndevices:\n  beam: {class: SEMBeam, prefix: 'SEM:Beam:'}\n"
        b"  eds: {class: EDSDetector, prefix: 'SEM:EDS:mca1', options: {elevation_angle_deg: 28.5}}\n  sem:\n"
        b"grid: {size_um: [64, 64], step_um: [1.0, 0.5], centre_um: [0, -3]}\n"
        b"sampler: {name: slads, fraction: 0.1, stop_at: 0.01, confidence: 0.9}\ncatalog: {directory: rec}\n"
        b"publishers: ['127.0.0.1:5577']\n",
    ]


def _emsa_samples(folder: Path) -> list[bytes]:
    from ...spectra.axis import EnergyAxis
    from ...spectra.io.emsa import write_emsa

    axis = EnergyAxis(0.0, 0.01, 256)
    path = folder / "written.msa"
    write_emsa(
        path,
        np.arange(256),
        axis,
        title="K412",
        when=datetime(2026, 1, 2),
        live_time_s=1.0,
        beam_energy_kev=15.0,
    )
    typed = (
        b"#FORMAT      : EMSA/MAS Spectral Data File\r\n#VERSION     : 1.0\r\n#TITLE       : K412\r\n"
        b"#NPOINTS     : 8.\r\n#NCOLUMNS    : 2.\r\n#XUNITS      : eV\r\n#YUNITS      : counts\r\n"
        b"#DATATYPE    : XY\r\n#XPERCHAN    : 10.\r\n#OFFSET      : 0.\r\n#SIGNALTYPE  : EDS\r\n"
        b"#BEAMKV   -kV: 20.0\r\n#LIVETIME  -s: 60.\r\n#SPECTRUM    : Spectral Data Starts Here\r\n"
        + b"".join(f"{10 * i}., {i * i}.\r\n".encode() for i in range(8))
        + b"#ENDOFDATA   : \r\n"
    )
    return [path.read_bytes(), typed]


def _map_samples(folder: Path) -> list[bytes]:
    counts = (np.arange(32 * 33 * 24) % 7).astype(np.uint8).reshape(32, 33, 24)
    out = []
    for more in ({}, {"labels": np.arange(32 * 33).reshape(32, 33) % 2 + 1}):
        stream = io.BytesIO()
        np.savez(stream, counts=counts, energy_scale=0.01, energy_offset=0.0, **more)  # type: ignore[arg-type]
        out.append(stream.getvalue())
    return out


def _npy_samples(folder: Path) -> list[bytes]:
    stream = io.BytesIO()
    np.save(stream, np.arange(144, dtype=np.uint8).reshape(12, 12) % 3 + 1)
    return [stream.getvalue()]


def _picture_samples(kind: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        from PIL import Image

        image = np.arange(144, dtype=np.uint8).reshape(12, 12) % 3 + 1
        out = []
        for mode in ("L", "P"):
            stream = io.BytesIO()
            Image.fromarray(image, "L").convert(mode).save(stream, kind)
            out.append(stream.getvalue())
        return out

    return make


def _classifier_samples(folder: Path) -> list[bytes]:
    from ...spectra import PhaseClassifier
    from ...spectra.axis import EnergyAxis

    path = folder / "classifier.safetensors"
    axis = EnergyAxis(0.0, 0.04, 128)
    PhaseClassifier.from_compositions({"Sn": "Sn", "Fe": "Fe"}, axis).save(path)
    return [path.read_bytes()]


def _sampler_samples(folder: Path) -> list[bytes]:
    from ...phantom import make_labels
    from ...sampling import train_slads

    path = folder / "sampler.safetensors"
    train_slads([make_labels("pbsn", 32, 0, "train")], seed=0, cs=(8.0,), calibrated=False).save(path)
    return [path.read_bytes()]


def _learned_samples(folder: Path) -> list[bytes]:
    from ...sampling.learned.model import SHIPPED

    return _with_plain_header(SHIPPED)


def _joint_samples(folder: Path) -> list[bytes]:
    from ...sampling.joint.model import SHIPPED

    return _with_plain_header(SHIPPED)


def _calibration_samples(folder: Path) -> list[bytes]:
    from ...spectra.likelihood.computed import DetectorCalibration

    path = folder / "calibration.json"
    DetectorCalibration(("Si", "Fe"), 15.0, 130.0, gain=1e-3, mean={"line": 0.1}, sd={"line": 0.5}).save(path)
    return [path.read_bytes()]


def _frame_samples(folder: Path) -> list[bytes]:
    import tifffile

    grey = np.arange(144, dtype=np.float32).reshape(12, 12)
    out = []
    for image in (grey, grey.astype(np.uint16)):
        stream = io.BytesIO()
        tifffile.imwrite(stream, image)
        out.append(stream.getvalue())
    return out


def _recorded_map_samples(folder: Path) -> list[bytes]:
    from bluesky import RunEngine

    from ...agent import SladsAgent
    from ...devices.sim.soft import soft_microscope
    from ...grid import ScanGrid
    from ...phantom import make_object
    from ...plans.adaptive import adaptive_map
    from ...record import Journal
    from ...sampling.static import StaticSampler
    from ...spectra import PhaseClassifier

    phantom = make_object("pbsn-32")
    classifier = PhaseClassifier.from_compositions({"Pb": "Pb", "Sn": "Sn"}, phantom.axis)
    beam, eds, _ = soft_microscope(phantom, classifier)
    grid = ScanGrid((32, 32))
    agent = SladsAgent(grid, StaticSampler(grid.shape, labels=2), n_labels=2, fraction=0.01)
    with Journal(folder) as journal:
        engine: Any = RunEngine({}, context_managers=[])
        engine.subscribe(journal)
        engine(adaptive_map(beam, eds, agent, dwell_s=0.01))
    return [path.read_bytes() for path in sorted(folder.glob("*.msgpack"))]


def _with_plain_header(model: Path) -> list[bytes]:
    """Make a file of a model's header as text: to change the bytes of its weights finds nothing."""
    whole = model.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    text = json.dumps(header).encode()
    return [len(text).to_bytes(8, "little") + text + whole[8 + size :]]


READERS = (
    Reader("journal", "run.msgpack", _journal_samples, _journal),
    Reader("phases.yml", "phases.yml", _phase_samples, _phases),
    Reader("instrument.yml", "instrument.yml", _instrument_samples, _instrument, listing=True),
    Reader("EMSA spectrum", "spectrum.msa", _emsa_samples, _spectra),
    Reader(".npz map", "map.npz", _map_samples, _map),
    Reader("label image .npy", "labels.npy", _npy_samples, _labels),
    Reader("label image .png", "labels.png", _picture_samples("PNG"), _labels),
    Reader("label image .tif", "labels.tif", _picture_samples("TIFF"), _labels),
    Reader("classifier file", "classifier.safetensors", _classifier_samples, _classifier),
    Reader("SLADS model file", "sampler.safetensors", _sampler_samples, _sampler),
    Reader("learned model file", "learned.safetensors", _learned_samples, _learned),
    Reader("frame .tif", "frame.tif", _frame_samples, _frame),
    Reader("detector calibration", "calibration.json", _calibration_samples, _calibration),
    Reader("joint model file", "joint.safetensors", _joint_samples, _joint),
    Reader("map in a journal", "map.msgpack", _recorded_map_samples, _recorded_map),
    Reader("0MQ message", "message", _message_samples, _messages),
)
