"""Documents over a real 0MQ proxy in a process of its own; what happens when it is not there, or goes."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from bluesky.callbacks.zmq import RemoteDispatcher
from readme_blocks import all_blocks

from slads_bluesky.callbacks.publish import make_publisher
from slads_bluesky.callbacks.publish import zmq as zmq_module
from slads_bluesky.callbacks.publish.zmq import ZMQPublisher, proxy_address
from slads_bluesky.codec import pack, unpack
from slads_bluesky.devices.sim.ports import free_port
from slads_bluesky.errors import ConfigError, DataError


class Proxy:
    """bluesky's own proxy, as its command starts it."""

    def __init__(self, into, out):
        self.into, self.out = into, out
        self.start()

    def start(self):
        command = [sys.executable, "-m", "bluesky.commandline.zmq_proxy"]
        addresses = [f"127.0.0.1:{self.into}", f"127.0.0.1:{self.out}"]
        self.process = subprocess.Popen(
            [*command, "--in-address", addresses[0], "--out-address", addresses[1]], stdout=subprocess.DEVNULL
        )

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def proxy():
    running = Proxy(free_port(), free_port())
    yield running
    running.stop()


class Listener:
    """A RemoteDispatcher in a thread, which hears what another process would hear."""

    def __init__(self, port):
        self.documents, self.stopped = [], threading.Event()
        self._dispatcher = RemoteDispatcher(f"127.0.0.1:{port}", deserializer=unpack, strict=True)
        self._dispatcher.subscribe(self._take)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        with contextlib.suppress(asyncio.CancelledError, RuntimeError):
            self._dispatcher.start()

    def _take(self, name, doc):
        self.documents.append((name, doc))
        if name == "stop":
            self.stopped.set()

    def hears(self, publisher):
        """Wait until what is published comes through: the listener's own connection takes a moment too."""
        limit = time.monotonic() + 20
        while not self.documents and time.monotonic() < limit:
            publisher("bulk_events", {})
            publisher.flush()
            time.sleep(0.02)
        assert self.documents
        time.sleep(0.1)
        self.documents.clear()

    def close(self):
        loop = (
            self._dispatcher.loop
        )  # stop() closes the loop, which must not run then: its task is cancelled instead
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        self._thread.join(10)


@pytest.fixture
def listener(proxy):
    heard = Listener(proxy.out)
    yield heard
    heard.close()


def _same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return one == other or (one != one and other != other)


def test_consumer_of_the_how_to_prints_a_run(soft, proxy):
    """The five lines as they stand, but for the port, in a process of their own."""
    (block,) = (b for b in all_blocks() if b.first == "from bluesky.callbacks.zmq import RemoteDispatcher")
    assert len([line for line in block.text.splitlines() if line]) == 5
    code = block.text.replace("localhost:5578", f"127.0.0.1:{proxy.out}")
    assert code != block.text
    command = [sys.executable, "-u", "-c", code]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as consumer,
        ZMQPublisher(f"127.0.0.1:{proxy.into}", patience_s=60) as publisher,
    ):
        said, connected = [], threading.Event()

        def listen():
            for line in consumer.stdout:
                said.append(line)
                connected.set()

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        probe = {"descriptor": "none"}
        while not connected.is_set() and consumer.poll() is None:
            publisher("bulk_events", probe)
            publisher.flush()
            connected.wait(0.05)
        (uid,) = soft.RE(soft.plan(5), publisher)
        assert publisher.flush()
        deadline = time.monotonic() + 60
        while not any(line.startswith("stop") for line in said) and time.monotonic() < deadline:
            time.sleep(0.02)
        consumer.terminate()
        listening.join(10)
    text = "".join(said)
    assert "Traceback" not in text
    assert f"start {{'uid': '{uid}'" in text
    assert text.count("\nevent {") >= 5
    assert "\nstop {" in text


def test_a_map_arrives_whole_and_in_order_at_another_dispatcher(soft, proxy, listener):
    emitted = []
    with ZMQPublisher(f"127.0.0.1:{proxy.into}", patience_s=60) as publisher:
        listener.hears(publisher)
        soft.RE.subscribe(publisher)
        soft.RE.subscribe(lambda name, doc: emitted.append((name, doc)))
        soft.RE(soft.plan(40))
        assert publisher.flush()
    assert listener.stopped.wait(10)
    assert [name for name, _ in listener.documents] == [name for name, _ in emitted]
    assert all(_same(doc, heard) for (_, doc), (_, heard) in zip(emitted, listener.documents, strict=True))
    assert publisher.n_dropped == 0


def test_documents_that_come_before_the_proxy_answers_are_held(soft, proxy):
    # a proxy's process takes a second to start; 0MQ alone would drop all of these
    heard = Listener(proxy.out)
    with ZMQPublisher(f"127.0.0.1:{proxy.into}", patience_s=60) as publisher:
        for i in range(20):
            publisher("event", {"seq_num": i})
        assert publisher.flush(60)
        assert (publisher.n_sent, publisher.n_dropped) == (20, 0)
    heard.close()


@pytest.mark.parametrize("listens", [True, False])
def test_a_proxy_that_is_not_there_is_reported_or_logged_once_and_holds_nothing_up(soft, caplog, listens):
    problems = []
    where = f"127.0.0.1:{free_port()}"
    publisher = ZMQPublisher(where, patience_s=3600, on_problem=problems.append if listens else None)
    soft.RE.subscribe(publisher)
    soft.RE(soft.plan(60))  # ends, though the publisher would wait an hour with its first document
    assert (publisher.n_sent, publisher.n_dropped) == (0, 0)
    assert publisher.close(20)  # and does not wait when it is to end
    assert publisher.n_sent == 0
    assert publisher.n_dropped >= 60
    logged = [record.getMessage() for record in caplog.records if "0MQ" in record.getMessage()]
    assert (problems, logged)[not listens] == [f"0MQ proxy at tcp://{where}: no proxy answers"]
    assert not (problems, logged)[listens]


def test_a_proxy_that_dies_and_comes_back(proxy):
    problems = []
    with ZMQPublisher(f"127.0.0.1:{proxy.into}", patience_s=60, on_problem=problems.append) as publisher:
        publisher("event", {"seq_num": 1})
        assert publisher.flush(60)
        assert publisher.n_sent == 1
        proxy.stop()
        limit = time.monotonic() + 20
        while not problems and time.monotonic() < limit:
            publisher("event", {"seq_num": 2})
            publisher.flush()
        assert "lost" in problems[0]
        proxy.start()
        sent = publisher.n_sent
        while publisher.n_sent == sent and time.monotonic() < limit + 20:
            publisher("event", {"seq_num": 3})
            publisher.flush()
            time.sleep(0.02)
        assert publisher.n_sent > sent
    assert len(problems) == 1


def test_a_full_queue_drops_events_and_keeps_what_makes_a_run(monkeypatch):
    problems, taken, gate, under_way = [], [], threading.Event(), threading.Event()

    def slow(doc):
        under_way.set()
        gate.wait(30)
        taken.append(doc["n"])
        raise DataError("not today")

    monkeypatch.setattr(zmq_module, "pack", slow)

    class There(ZMQPublisher):
        def _look(self, wait_ms=0):
            self._there = self._ever_there = True

    publisher = There("127.0.0.1:9", queued=10, on_problem=problems.append)
    publisher("start", {"n": "start"})
    assert under_way.wait(30)  # from here on no place in the queue is free again
    for i in range(100):
        publisher("event", {"n": i})
    publisher("stop", {"n": "stop"})
    dropped = publisher.n_dropped
    gate.set()
    assert publisher.close(10)
    assert (taken[0], taken[-1]) == ("start", "stop")
    assert taken[1:-1] == list(range(len(taken) - 2))
    assert dropped == 102 - len(taken) >= 89
    assert publisher.n_dropped == 102
    assert publisher.n_sent == 0
    assert len(problems) == 2
    assert "10 documents wait" in problems[0]
    assert "start document not sent: not today" in problems[1]


def test_documents_keep_their_arrays_and_nothing_is_pickled():
    doc = {"data": {"spectrum": np.arange(5, dtype="<i4"), "x": np.float64(0.5)}, "shape": [2, 3]}
    back = unpack(pack(doc))
    assert _same({"spectrum": doc["data"]["spectrum"]}, {"spectrum": back["data"]["spectrum"]})
    assert back["shape"] == [2, 3]
    with pytest.raises(DataError, match="objects"):
        pack({"data": np.array([object()], dtype=object)})


@pytest.mark.parametrize(
    "where", ["", "5577", "host", "host:0", "host:99999", "http://host:1", "a b:1", "ipc://"]
)
def test_an_address_that_is_not_one(where):
    with pytest.raises(ConfigError, match=r"host:port|a port is"):
        make_publisher(where)


@pytest.mark.parametrize(
    ("where", "address"),
    [
        ("host:5577", "tcp://host:5577"),
        ("tcp://[::1]:5577", "tcp://[::1]:5577"),
        ("ipc:///tmp/x", "ipc:///tmp/x"),
    ],
)
def test_an_address_that_is_one(where, address):
    assert proxy_address(where) == address


@pytest.mark.parametrize("where", ["kafka://", "kafka://broker:9092", "kafka:///topic"])
def test_a_kafka_line_names_broker_and_topic(where):
    with pytest.raises(ConfigError, match="broker and its topic"):
        make_publisher(where)


def test_kafka_without_its_extra_says_what_to_install():
    import importlib.util

    if importlib.util.find_spec("bluesky_kafka"):
        pytest.skip("bluesky-kafka is installed here")
    with pytest.raises(ConfigError, match=r"slads-bluesky\[kafka\]"):
        make_publisher("kafka://localhost:9092/slads")
