"""A queue server that is silent, confused or gone is one line for whoever asks it, and is asked again later."""

import threading
import time

import pytest
import zmq

from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.queueing import manager as module
from slads_bluesky.queueing.manager import Manager


class Server:
    """Answers over a real 0MQ socket with the bytes that it is given, None for no answer at all."""

    def __init__(self):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.answers = []
        self.delay_s = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self._end.is_set():
            if self._socket.poll(20):
                client, empty, _ = self._socket.recv_multipart()
                answer = self.answers.pop(0)
                time.sleep(self.delay_s)
                if answer is not None:
                    self._socket.send_multipart([client, empty, answer])

    def close(self):
        self._end.set()
        self._thread.join(10)
        self._socket.close()
        self._context.term()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def manager(server, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    made = Manager(f"tcp://127.0.0.1:{server.port}")
    yield made
    made.close()


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"\xff\xfe", b"{", b"null", b"[]", b"7", b'"idle"', b"[" * 100_000,
     b'{"success": false}', b'{"success": false, "msg": null}'],
    ids=lambda answer: repr(answer)[:20],
)  # fmt: skip
def test_answer_that_is_none_is_one_line_and_the_next_question_is_answered(server, manager, answer):
    server.answers = [answer, answer, b'{"success": true, "manager_state": "idle"}']
    for _ in range(2):
        with pytest.raises(InstrumentError, match=r"^queue server") as error:
            manager.status()
        assert "\n" not in str(error.value)
    assert manager.status()["manager_state"] == "idle"


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda manager: manager.plans(), b'{"success": true}'),
        (lambda manager: manager.plans(), b'{"success": true, "plans_allowed": 7}'),
        (lambda manager: manager.add("map_sample", {}), b'{"success": true}'),
        (lambda manager: manager.add("map_sample", {}), b'{"success": true, "item": null}'),
        (lambda manager: manager.queue(), b'{"success": true, "items": null}'),
    ],
    ids=range(5),
)
def test_answer_without_what_was_asked_for_is_one_line(server, manager, ask, answer):
    server.answers = [answer]
    with pytest.raises(InstrumentError, match=r"^queue server"):
        ask(manager)


def test_result_of_a_call_that_is_none_is_one_line(server, manager):
    server.answers = [b'{"success": true, "task_uid": "t"}', b'{"success": true, "status": "completed"}']
    with pytest.raises(InstrumentError, match=r"^queue server"):
        manager.call("phases_found", {})


def test_argument_that_is_no_json_is_one_line_and_the_next_question_is_answered(server, manager):
    with pytest.raises(InstrumentError, match="queue_item_add cannot be asked for: Object of type set"):
        manager.add("map_sample", {"sample": {1}})
    server.answers = [b'{"success": true}']
    assert manager.status() == {"success": True}


def test_answer_that_comes_too_late_is_not_taken_for_that_of_the_next_question(server, manager):
    server.delay_s = 0.7
    server.answers = [b'{"success": true, "n": 1}', b'{"success": true, "n": 2}']
    with pytest.raises(InstrumentError, match="does not answer"):
        manager.status()
    server.delay_s = 0.0
    assert manager.status()["n"] == 2


def test_queue_of_odd_items_is_listed_without_them(server, manager):
    server.answers = [b'{"success": true, "items": [7, {"name": "map_sample"}, null], "running_item": []}']
    queue = manager.queue()
    assert queue["items"] == [{"name": "map_sample"}]
    assert queue["running_item"] is None


@pytest.mark.parametrize("ask", ["phases", "check_instrument"])
def test_result_of_another_kind_than_asked_for_is_one_line(server, manager, tmp_path, ask):
    from slads_bluesky.queueing.operator import Operator

    idle = b'{"success": true, "manager_state": "idle", "worker_environment_exists": true}'
    server.answers = [idle] * (ask == "check_instrument") + [
        b'{"success": true, "task_uid": "t"}',
        b'{"success": true, "status": "completed", "result": {"success": true, "return_value": null}}',
    ]
    with pytest.raises(InstrumentError, match=r"^queue server .* returns no (dict|list)"):
        getattr(Operator(manager, tmp_path), ask)()


def test_manager_asked_by_several_threads_answers_each(server, manager):
    server.answers = [b'{"success": true}'] * 20
    threads = [threading.Thread(target=lambda: [manager.status() for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert server.answers == []


def test_manager_that_was_closed_is_one_line_for_each_who_asks(server, manager):
    manager.close()
    for _ in range(2):  # the second one waits for nothing that the first one holds
        with pytest.raises(InstrumentError, match=r"^queue server"):
            manager.status()


def test_manager_closed_while_somebody_waits_for_an_answer_lets_them_go(server, manager):
    server.answers = [None]
    said = []

    def ask():
        with pytest.raises(InstrumentError) as error:
            manager.status()
        said.append(str(error.value))

    thread = threading.Thread(target=ask)
    thread.start()
    while server.answers:
        thread.join(0.01)
    manager.close()
    thread.join(30)
    assert not thread.is_alive()
    assert said[0].startswith("queue server")


@pytest.mark.parametrize(
    "address", ["localhost:60615", "tcp://", "carrier://pigeon:7", "tcp://127.0.0.1:port"]
)
def test_address_that_is_none_is_named(address):
    with pytest.raises(ConfigError, match="queue server"):
        Manager(address)


def test_page_of_a_manager_that_is_silent_ends_without_waiting_for_it(server, tmp_path, monkeypatch):
    from slads_bluesky.queueing.operator import Operator
    from slads_bluesky.watch.queue_state import QueueState

    monkeypatch.setattr(module, "TIMEOUT_S", 1000.0)
    server.answers = [None]
    state = QueueState(Operator(Manager(f"tcp://127.0.0.1:{server.port}"), tmp_path))
    while server.answers:  # until it has asked
        time.sleep(0.01)
    state.close()
    assert not state._thread.is_alive()
