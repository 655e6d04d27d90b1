"""caproto's client, kept alive when servers are lost at awkward moments.

The client of caproto 1.x does its work in a few threads of the process. Two of them end for good at an exception
that a lost server can raise in them, and from then on no PV of the process is monitored, or none is found again:

- the one that subscribes after a connection waits for each channel in turn (``Subscription.compose_command``), and
  fails where a channel is lost or not back within the timeout;
- the one that connects to a server which answered a search (``Context.get_circuit_manager``) fails where that server
  refuses the connection because it has ended meanwhile.

Here the first passes over such a channel, which is subscribed to when it is back, and the second searches again. A
thread that has ended in any other way is started again when a device connects.

A server that is lost a second time while its PVs are just being connected again leaves some of them behind: such a PV
is no longer searched for, and was entered too late to be among those that the lost connection searches for again. It
would stay disconnected for ever, with all others back. Here it is searched for again.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

__all__ = ["SEARCH_AGAIN_S", "keep_client"]

log = logging.getLogger(__name__)

SEARCH_AGAIN_S = 1.0
"""After a server that answered a search could not be connected to."""

_CONTEXT_THREADS = (
    ("_process_search_results_thread", "_process_search_results_loop"),
    ("_activate_subscriptions_thread", "_activate_subscriptions"),
)
_BROADCASTER_THREADS = (
    ("_command_thread", "command_loop"),
    ("_check_for_unresponsive_servers_thread", "_check_for_unresponsive_servers"),
    ("_retry_unanswered_searches_thread", "_retry_unanswered_searches"),
)


def keep_client() -> None:
    """Make caproto's client survive lost servers, and start again the threads of it that have ended.

    Does nothing where caproto's client is not in use; calling it again does no harm.
    """
    client: Any = sys.modules.get("caproto.threading.client")
    if client is None or not hasattr(client, "Subscription"):
        return
    if not getattr(client.Subscription.compose_command, "passes_over_lost", False):
        _pass_over_lost_channels(client)
        _search_again_for_lost_servers(client)
        _search_again_for_lost_channels(client)
    ophyd = sys.modules.get("ophyd")
    compat: Any = sys.modules.get("caproto.threading.pyepics_compat")
    if compat is not None and ophyd is not None and ophyd.cl.name == "caproto":
        revive(compat.PV.default_context())


def revive(context: Any) -> list[str]:
    """Start again the threads of a caproto context and its broadcaster that have ended.

    Parameters
    ----------
    context : caproto.threading.client.Context

    Returns
    -------
    list of str
        The loops that had ended.
    """
    ended = []
    for owner, threads in ((context, _CONTEXT_THREADS), (context.broadcaster, _BROADCASTER_THREADS)):
        for attribute, loop in threads:
            thread = getattr(owner, attribute, None)
            if thread is None or thread.is_alive() or owner._close_event.is_set():
                continue
            again = threading.Thread(target=getattr(owner, loop), name=thread.name, daemon=True)
            setattr(owner, attribute, again)
            again.start()
            ended.append(loop)
    if ended:
        log.warning("started again what had ended in caproto's client: %s", ", ".join(ended))
    return ended


def _pass_over_lost_channels(client: Any) -> None:
    compose = client.Subscription.compose_command

    def compose_command(self: Any, *arguments: Any, **more: Any) -> Any:
        # whoever connects the channel asks for what is marked so; marked first, so that none is missed in between
        self.needs_reactivation = True
        try:
            if not self.callbacks:
                self.needs_reactivation = False
                return None
            if not self.pv.channel_ready.is_set() and not self.pv._idle:
                return None
            command = compose(self, *arguments, **more)
        except Exception as error:
            log.debug("%r is subscribed to when it is back: %s", getattr(self, "pv", None), error)
            return None
        self.needs_reactivation = command is None and bool(self.callbacks)
        return command

    compose_command.passes_over_lost = True  # type: ignore[attr-defined]
    client.Subscription.compose_command = compose_command


def _search_again_for_lost_servers(client: Any) -> None:
    get = client.Context.get_circuit_manager

    def get_circuit_manager(self: Any, address: Any, priority: int) -> Any:
        try:
            return get(self, address, priority)
        except Exception as error:
            log.debug("%s answered a search and cannot be connected to: %s", address, error)
            return _Unreachable(client.ca, self, address, priority)

    client.Context.get_circuit_manager = get_circuit_manager


def _search_again_for_lost_channels(client: Any) -> None:
    manager, create = client.VirtualCircuitManager, client.ca.CreateChanRequest
    plain_send, plain_disconnected = manager.send, manager._disconnected

    def send(self: Any, *commands: Any, **more: Any) -> None:
        created = [command.cid for command in commands if isinstance(command, create)]
        if not created:
            plain_send(self, *commands, **more)
            return
        try:
            plain_send(self, *commands, **more)  # says nothing where the socket is gone already
        except Exception as error:
            log.debug("%s was lost while its channels were created: %s", self.circuit.address, error)
            self._disconnected()
        if self.dead.is_set():
            _search_later(self.context, [self.pvs[cid] for cid in created])

    def disconnected(self: Any, *, reconnect: bool = True) -> None:
        try:
            plain_disconnected(self, reconnect=reconnect)
        except RuntimeError as error:
            # the thread that connects entered a channel at this very moment
            log.debug("%s was lost while its channels were created: %s", self.circuit.address, error)
            if not self.dead.is_set():
                raise  # told once more when the socket is taken out
            if reconnect:
                # all of them: those looked through before the error are noted as searched for, and are not
                self.context.reconnect([(pv.name, pv.priority) for pv in list(self.pvs.values())])

    manager.send, manager._disconnected = send, disconnected


def _search_later(context: Any, pvs: list[Any]) -> None:
    """Search, in a moment, for those PVs whose connection is dead and for which nobody searches."""
    for pv in pvs:
        pv.circuit_ready.clear()

    def search() -> None:
        with context.pv_cache_lock:
            left = [
                (pv.name, pv.priority)
                for pv in pvs
                if pv.circuit_manager.dead.is_set()
                and pv not in context.pvs_needing_circuits.get(pv.name, ())
            ]
        if left and not context._close_event.is_set():
            context.reconnect(left)

    timer = threading.Timer(SEARCH_AGAIN_S, search)
    timer.daemon = True
    timer.start()


class _Unreachable:
    """Stands for the connection to a server that could not be made, until its PVs are searched for again.

    It has what the client uses of a connection; whoever sends over it is told that it is dead.
    """

    def __init__(self, ca: Any, context: Any, address: Any, priority: int) -> None:
        self.context = context
        self.circuit = ca.VirtualCircuit(
            our_role=ca.CLIENT, address=address, priority=priority, protocol_version=13
        )
        self.channels: dict[int, Any] = {}
        self.pvs: dict[int, Any] = {}
        self.subscriptions: dict[int, Any] = {}
        self.ioids: dict[int, Any] = {}
        self.dead = threading.Event()
        self.dead.set()
        self.connected = False
        self._lock = threading.Lock()

    def send(self, *commands: Any, **more: Any) -> None:
        with self._lock:
            lost, self.pvs = self.pvs, {}
            self.channels = {}
        if lost:
            _search_later(self.context, list(lost.values()))
        raise ConnectionError(f"no connection to {self.circuit.address}")
