"""Events with the name of their stream, whether they come one by one or in pages."""

import event_model
import pytest

from slads_bluesky.streams import StreamRouter, events_by_stream, final_events


@pytest.fixture
def documents():
    """Two streams, an event that came again, and a page."""
    bundle = event_model.compose_run()
    keys = {"x": {"source": "s", "dtype": "number", "shape": []}}
    primary = bundle.compose_descriptor(name="primary", data_keys=keys)
    failed = bundle.compose_descriptor(name="failed", data_keys=keys)

    def event(of, seq_num, x):
        return of.compose_event(data={"x": x}, timestamps={"x": 0.0}, seq_num=seq_num)

    page = event_model.pack_event_page(event(primary, 3, 30), event(primary, 4, 40))
    return [
        ("start", bundle.start_doc),
        ("descriptor", primary.descriptor_doc),
        ("descriptor", failed.descriptor_doc),
        ("event", event(primary, 1, 10)),
        ("event", event(failed, 1, -1)),
        ("event", event(primary, 2, 20)),
        ("event", event(primary, 2, 21)),
        ("event_page", page),
        ("stop", bundle.compose_stop()),
    ]


def test_events_by_stream_with_a_page_gives_single_events(documents):
    got = [
        (name, stream, doc["data"]["x"])
        for name, stream, doc in events_by_stream(documents)
        if name == "event"
    ]
    values = [
        ("primary", 10),
        ("failed", -1),
        ("primary", 20),
        ("primary", 21),
        ("primary", 30),
        ("primary", 40),
    ]
    assert got == [("event", *value) for value in values]
    kinds = [name for name, _, _ in events_by_stream(documents)]
    assert (kinds[:3], kinds[-1]) == (["start", "descriptor", "descriptor"], "stop")


def test_final_events_of_a_repeated_number_are_the_last(documents):
    assert [doc["data"]["x"] for _, doc in final_events(documents, ("primary",))] == [10, 21, 30, 40]
    assert [stream for stream, _ in final_events(documents)].count("failed") == 1


def test_router_with_an_unknown_descriptor_passes_the_event_over(documents):
    router, seen = StreamRouter(), []
    router.stream_event = lambda stream, doc: seen.append(stream)
    for name, doc in documents[3:]:
        router(name, doc)
    assert seen == []


def test_router_after_a_run_forgets_its_descriptors(documents):
    router = StreamRouter()
    for name, doc in documents:
        router(name, doc)
    assert router._stream_of == {}
