"""Documents through Kafka: our publisher and the consumer of the how-to, over a broker that speaks the protocol.

The broker is librdkafka's own mock cluster, which listens on TCP in this process: no Kafka is installed here. What it
does not have is a disk, several machines, and access control.
"""

import time

import numpy as np
import pytest

kafka = pytest.importorskip("confluent_kafka")


@pytest.fixture(scope="module")
def broker():
    mock = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored:1", "log_level": 2})
    found = next(iter(mock.list_topics(timeout=60).brokers.values()))
    yield f"{found.host}:{found.port}"
    mock.flush(1)


@pytest.mark.filterwarnings("ignore")  # those of a client that is not ours
def test_consumer_of_the_how_to_receives_what_the_publisher_sends(broker, recorded):
    from bluesky_kafka import RemoteDispatcher

    from slads_bluesky.callbacks.publish.kafka import KafkaPublisher
    from slads_bluesky.codec import unpack

    sent, problems, received = recorded.documents[:60], [], []
    publisher = KafkaPublisher(broker, "slads", on_problem=problems.append)
    for name, doc in sent:
        publisher(name, doc)
    publisher.close()
    dispatcher = RemoteDispatcher(
        ["slads"], broker, "my-group", deserializer=unpack, consumer_config={"auto.offset.reset": "earliest"}
    )
    dispatcher.subscribe(lambda name, doc: received.append((name, doc)))
    deadline = time.monotonic() + 120
    dispatcher.start(continue_polling=lambda: len(received) < len(sent) and time.monotonic() < deadline)
    assert problems == []
    assert [name for name, _ in received] == [name for name, _ in sent]
    for (name, ours), (_, theirs) in zip(sent, received, strict=True):
        if name == "event" and "eds_spectrum" in ours["data"]:
            assert np.array_equal(ours["data"]["eds_spectrum"], theirs["data"]["eds_spectrum"])
        assert ours["uid"] == theirs["uid"]
