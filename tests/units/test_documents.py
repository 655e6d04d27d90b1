"""What a document must have, checked before anything reads it."""

import event_model
import pytest

from slads_bluesky.documents import check_document
from slads_bluesky.errors import DataError


def composed():
    """One document of each kind that event-model composes, all of them valid."""
    bundle = event_model.compose_run(metadata={"sample": "x"})
    keys = {"x": {"source": "s", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
    event = descriptor.compose_event(data={"x": 1.0}, timestamps={"x": 2.0})
    resource = bundle.compose_resource(spec="h5", root="/", resource_path="a", resource_kwargs={})
    datum = resource.compose_datum(datum_kwargs={"i": 1})
    stream = bundle.compose_stream_resource(
        mimetype="application/x-hdf5", uri="file://localhost/a.h5", data_key="x", parameters={}
    )
    return {
        "start": bundle.start_doc, "descriptor": descriptor.descriptor_doc, "event": event,
        "event_page": event_model.pack_event_page(event), "resource": resource.resource_doc, "datum": datum,
        "datum_page": event_model.pack_datum_page(datum), "stream_resource": stream.stream_resource_doc,
        "stream_datum": stream.compose_stream_datum(
            {"start": 0, "stop": 1}, {"start": 1, "stop": 2}, descriptor.descriptor_doc
        ),
        "stop": bundle.compose_stop(),
    }  # fmt: skip


@pytest.mark.parametrize("name", composed())
def test_document_as_event_model_makes_it_is_accepted(name):
    check_document(name, dict(composed()[name]))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("event", {"seq_num": 0}, "'seq_num' is not a number of an event"),
        ("event", {"seq_num": True}, "'seq_num'"),
        ("event", {"data": [1]}, "'data' is not a mapping"),
        ("event", {"time": "now"}, "'time' is not a time"),
        ("event", {"time": float("nan")}, "'time' is not a time"),
        ("start", {"time": 1e300}, "'time' is not a time"),
        ("start", {"uid": 7}, "'uid' is not a text"),
        ("descriptor", {"data_keys": {"x": {"dtype": 1, "shape": []}}}, "data key 'x'"),
        ("descriptor", {"configuration": {"eds": []}}, "'configuration'"),
        ("stop", {"num_events": {"primary": "many"}}, "'num_events'"),
        ("event_page", {"seq_num": [1, 2]}, "differ in length"),
        ("event_page", {"data": {"x": 7}}, "differ in length"),
    ],
)
def test_document_with_a_wrong_value_is_refused_by_its_key(name, change, words):
    with pytest.raises(DataError, match=words):
        check_document(name, {**composed()[name], **change})


@pytest.mark.parametrize("name", ["poem", 7, None, "bulk_events"])
def test_document_of_an_unknown_kind_is_refused(name):
    with pytest.raises(DataError, match="no document"):
        check_document(name, {})
