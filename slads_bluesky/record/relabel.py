"""A recorded map reclassified by another classifier, as a derived run: after a phase was accepted, say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import event_model
import numpy as np

from slads_bluesky.analysis.load import POINTS
from slads_bluesky.analysis.run_data import RunData, Source
from slads_bluesky.errors import RecordError
from slads_bluesky.protocols import Agent, Classifier
from slads_bluesky.streams import events_by_stream

from .journal.writing import Document

__all__ = ["configuration_for", "relabelled"]

COPIED = ("baseline", "image")
"""Streams that a derived run has as they were."""

# plan_args stay: the dwell in them is that of the points, and of those with which the map may be resumed
_NOT_INHERITED = ("uid", "time", "scan_id", "resumes", "plan_name", "plan_type")


def configuration_for(data: RunData, classifier: Classifier) -> dict[str, Any]:
    """Return the agent's configuration of a map, for the phases of another classifier.

    Parameters
    ----------
    data : RunData
    classifier : Classifier

    Raises
    ------
    RecordError
        If the classifier does not know the map's phases, in their order and first: labels would change meaning.
    """
    known = tuple(classifier.phases)
    found = (
        "discovery" in data.start["agent"]
    )  # its labels were those of phases without names, and are all new
    if not found and known[: len(data.phases)] != data.phases:
        raise RecordError(
            f"the classifier's phases {', '.join(known)} do not begin with the map's {', '.join(data.phases)}"
        )
    configuration = {key: value for key, value in data.start["agent"].items() if key != "discovery"}
    hashes = {**configuration.get("model_hashes", {}), "classifier": classifier.sha256}
    return {**configuration, "n_labels": len(known), "phases": list(known), "model_hashes": hashes}


def relabelled(
    sources: Sequence[Source], data: RunData, agent: Agent, classifier: Classifier, scan_id: int | None = None
) -> Iterator[Document]:
    """Yield the documents of the derived run: every point with its new label, and the map that follows from them.

    Parameters
    ----------
    sources : sequence of callable
        Documents of the map's runs, as for `load_map`.
    data : RunData
        The same map, with its spectra.
    agent : Agent
        Fresh, of `configuration_for`; ingests all points and reconstructs.
    classifier : Classifier
    scan_id : int, optional
        Number of the derived run.

    Raises
    ------
    RecordError
        If the map has no spectra of the classifier's channels.
    """
    calls = _calls(data, classifier)
    inherited = {key: value for key, value in data.start.items() if key not in _NOT_INHERITED}
    configuration = agent.configuration()
    bundle = event_model.compose_run(
        metadata={
            **inherited,
            "plan_name": "relabel",
            "derived_from": data.uid,
            "agent": configuration,
            "phases": list(classifier.phases),
            "model_hashes": configuration.get("model_hashes", {}),
            **({} if scan_id is None else {"scan_id": scan_id}),
        }
    )
    yield "start", dict(bundle.start_doc)
    composers: dict[str, Any] = {}
    points: dict[int, tuple[str, dict[str, Any]]] = {}
    for source in sources:
        for name, stream, doc in events_by_stream(source()):
            if name == "descriptor" and stream in (*POINTS, *COPIED) and stream not in composers:
                composers[stream] = bundle.compose_descriptor(
                    name=stream,
                    data_keys=_data_keys(
                        {key: about for key, about in doc["data_keys"].items() if key not in _parts(data)},
                        data.keys.spectrum,
                        data.keys.log_likelihood,
                        classifier,
                    ),
                    object_keys=doc.get("object_keys"),
                    configuration=_configuration(doc, classifier),
                )
                yield "descriptor", dict(composers[stream].descriptor_doc)
            elif name == "event" and stream in POINTS:
                points[doc["data"][data.keys.pixel]] = (stream, doc)
            elif name == "event" and stream in COPIED:
                yield "event", _event(composers[stream], doc["data"], doc["timestamps"])
    data.teach_image(agent)
    for pixel in data.pixels.tolist():
        stream, doc = points[pixel]
        old = (data.keys.log_likelihood, *_parts(data))
        kept = {key: value for key, value in doc["data"].items() if key not in old}
        stamps = {key: value for key, value in doc["timestamps"].items() if key not in old}
        called = calls.get(pixel, {})
        if data.keys.log_likelihood in called:
            stamps[data.keys.log_likelihood] = doc["time"]
        event = _event(composers[stream], {**kept, **called}, stamps)
        agent.ingest(event)
        yield "event", event
    the_map = {f"map_{key}": value for key, value in agent.map_data().items()}
    descriptor = bundle.compose_descriptor(
        name="map", data_keys={k: _data_key(v) for k, v in the_map.items()}
    )
    yield "descriptor", dict(descriptor.descriptor_doc)
    yield "event", _event(descriptor, the_map, dict.fromkeys(the_map, data.times[-1]))
    yield "stop", dict(bundle.compose_stop(reason=f"relabelled from {data.uid[:8]}"))


def _calls(data: RunData, classifier: Classifier) -> dict[int, dict[str, Any]]:
    """What the classifier says of each pixel that has a spectrum."""
    spectra = data.spectra_of(classifier.n_channels)
    asked = np.flatnonzero(~data.failed)
    labels, probabilities, verdicts = classifier.classify_batch(spectra[asked])
    keys = data.keys
    weighs = getattr(classifier, "log_likelihoods", None)
    return {
        int(data.pixels[i]): {
            keys.label: int(labels[j]),
            keys.probability: float(probabilities[j]),
            keys.verdict: str(verdicts[j]),
            **({} if weighs is None else {keys.log_likelihood: weighs(spectra[i])}),
        }
        for j, i in enumerate(asked)
    }


def _parts(data: RunData) -> tuple[str, ...]:
    """Keys of abundances: they are of the old classifier's phases."""
    keys = data.keys
    return (
        keys.majority,
        f"{keys.majority}_probability",
        keys.abundances,
        keys.abundance_sd,
        keys.unbounded,
        keys.unbounded_sd,
    )


def _data_keys(
    keys: Mapping[str, Any], spectrum: str, evidence: str, classifier: Classifier
) -> dict[str, Any]:
    """Data keys of the points; the log-likelihoods are those of the new classifier's phases, if it has any."""
    out = {key: about for key, about in keys.items() if key != evidence}
    if hasattr(classifier, "log_likelihoods") and spectrum in keys:
        shape = [len(classifier.phases) + 1]
        out[evidence] = {"source": "relabel", "dtype": "array", "dtype_numpy": "<f8", "shape": shape}
    return out


def _configuration(doc: Mapping[str, Any], classifier: Classifier) -> dict[str, Any]:
    """Configuration of the devices, with the hash of the new classifier where there was that of the old."""
    out: dict[str, Any] = {}
    for device, about in doc.get("configuration", {}).items():
        own = f"{device}_classifier"
        new = {own: classifier.sha256} if own in about["data"] else {}
        out[device] = {**about, "data": {**about["data"], **new}}
    return out


def _event(descriptor: Any, data: Mapping[str, Any], timestamps: Mapping[str, Any]) -> dict[str, Any]:
    return dict(descriptor.compose_event(data=dict(data), timestamps=dict(timestamps), validate=False))


def _data_key(value: Any) -> dict[str, Any]:
    array = np.asarray(value)
    kind = "array" if array.ndim else "integer" if array.dtype.kind in "iu" else "number"
    return {"source": "relabel", "dtype": kind, "dtype_numpy": array.dtype.str, "shape": list(array.shape)}
