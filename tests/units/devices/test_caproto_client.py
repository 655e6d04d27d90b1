"""caproto's client goes on when a server is lost at an awkward moment, whatever is raised in its threads then."""

import socket
import threading
import time
from types import SimpleNamespace

import pytest
from caproto import CaprotoTimeoutError, LocalProtocolError
from caproto.threading.client import Context, DeadCircuitError, SharedBroadcaster, Subscription

from slads_bluesky.devices import caproto_client
from slads_bluesky.devices.caproto_client import keep_client, revive
from slads_bluesky.evaluation.trust.proxy import NetworkProxy


class Circuit:
    def send(self, *commands):
        raise AssertionError(f"nothing to ask for, and yet {commands}")


class LostChannel:
    """A PV whose channel is lost just when it is subscribed to."""

    def __init__(self, context, error):
        self.context, self.error = context, error
        self._idle, self.channel_ready = False, threading.Event()
        self.channel_ready.set()

    @property
    def timeout(self):
        raise self.error


@pytest.fixture
def context():
    keep_client()
    keep_client()  # again does no harm
    broadcaster = SharedBroadcaster()
    context = Context(broadcaster)
    yield context
    context.disconnect()
    broadcaster.disconnect()


def until(condition, timeout_s=5.0):
    limit = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("no channel"),
        CaprotoTimeoutError("2 s"),
        DeadCircuitError(),
        LocalProtocolError("state"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_subscription_of_a_lost_channel_is_passed_over_and_made_when_it_is_back(context, error):
    lost = Subscription(LostChannel(context, error), 0, 0, 0, 0, 0, 0)
    lost.callbacks[0] = print
    with context.subscriptions_lock:
        context.subscriptions_to_activate[Circuit()] = {lost}
    context.activate_subscriptions_now.set()
    context._activate_subscriptions_thread.join(1.0)
    assert not context.subscriptions_to_activate
    assert context._activate_subscriptions_thread.is_alive()
    assert lost.needs_reactivation


def test_channel_that_is_not_back_yet_keeps_no_other_waiting(context):
    keep_client()
    pv = SimpleNamespace(context=context, channel_ready=threading.Event(), _idle=False, timeout=60.0)
    lost = Subscription(pv, 0, 0, 0, 0, 0, 0)
    lost.callbacks[0] = print
    begin = time.monotonic()
    assert lost.compose_command() is None
    assert time.monotonic() - begin < 30
    assert lost.needs_reactivation


def test_server_that_refuses_the_connection_is_searched_again(context, monkeypatch):
    monkeypatch.setattr(caproto_client, "SEARCH_AGAIN_S", 0.1)
    with socket.socket() as taken:  # a port where nobody listens
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
        (pv,) = context.get_pvs("NOBODY:Serves:This")
        context.broadcaster.server_protocol_versions[address] = 13
        context._search_results_queue.put((address, [pv.name]))
        assert until(lambda: pv.circuit_manager is not None)
        assert until(lambda: pv in context.pvs_needing_circuits[pv.name])
    assert context._process_search_results_thread.is_alive()
    assert not pv.connected


def test_thread_that_has_ended_is_started_again(context, recwarn):
    context._close_event.set()
    context._activate_subscriptions_thread.join(5.0)
    context._close_event.clear()
    assert "_activate_subscriptions" in revive(context)
    assert context._activate_subscriptions_thread.is_alive()
    revive(context)  # the other loop of the context may have taken longer to end
    context._process_search_results_thread.join(1.0)
    revive(context)
    assert context._process_search_results_thread.is_alive()
    assert revive(context) == []


class Growing(dict):
    """Channels of a connection to which another thread adds one just when they are looked through."""

    def values(self):
        yield from list(super().values())[:1]
        raise RuntimeError("dictionary changed size during iteration")


def lose(cm, network):
    network.restore()  # which closes every connection
    assert until(cm.dead.is_set)


def close_half(cm, _):
    cm.socket.shutdown(socket.SHUT_WR)  # nothing can be sent, and nothing has been received that says so


@pytest.mark.parametrize("strike", [lose, close_half])
def test_connection_lost_before_its_channels_are_entered_loses_none(context, microscope, monkeypatch, strike):
    """Over real Channel Access: all PVs are back, also the one that was being connected."""
    names = [f"{microscope.prefix}Beam:{name}" for name in ("X", "Y", "Current", "Blank")]
    struck = []
    with NetworkProxy(microscope.port) as network:
        monkeypatch.setenv("EPICS_CA_ADDR_LIST", f"127.0.0.1:{network.port}")
        get = Context.get_circuit_manager

        def get_and_strike(self, address, priority):
            cm = get(self, address, priority)
            if self is context and not struck:
                struck.append(cm)
                strike(cm, network)
            return cm

        monkeypatch.setattr(Context, "get_circuit_manager", get_and_strike)
        pvs = context.get_pvs(*names)
        assert until(lambda: all(pv.connected for pv in pvs), 20.0), pvs
        assert struck
        assert context._process_search_results_thread.is_alive()


def test_connection_lost_while_a_channel_is_entered_loses_none(context, microscope, monkeypatch):
    names = [f"{microscope.prefix}Beam:{name}" for name in ("X", "Y", "Current", "Blank")]
    with NetworkProxy(microscope.port) as network:
        monkeypatch.setenv("EPICS_CA_ADDR_LIST", f"127.0.0.1:{network.port}")
        pvs = context.get_pvs(*names)
        assert until(lambda: all(pv.connected for pv in pvs), 20.0), pvs
        lost = pvs[0].circuit_manager
        lost.channels = Growing(lost.channels)
        lose(lost, network)
        assert until(lambda: all(pv.connected and pv.circuit_manager is not lost for pv in pvs), 20.0), pvs
