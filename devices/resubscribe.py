"""Subscriptions of caproto's client that outlive a server which goes away while they are made.

One thread asks again for all subscriptions of a process after a lost connection. In caproto 1.x it ends with an
AttributeError if a channel is lost just then, and from then on no PV of the process is monitored any more: the thread
has to pass over such a channel, which is asked for once more when its server is back.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["keep_subscriptions"]


def keep_subscriptions() -> None:
    """Let the thread pass over a channel that is lost; does nothing where caproto's client is not in use."""
    client = sys.modules.get("caproto.threading.client")
    kind: Any = getattr(client, "Subscription", None)
    if kind is None or getattr(kind.compose_command, "passes_over_lost", False):
        return
    compose = kind.compose_command

    def compose_command(self: Any, *arguments: Any, **more: Any) -> Any:
        try:
            return compose(self, *arguments, **more)
        except AttributeError:  # no channel, or no circuit
            return None

    compose_command.passes_over_lost = True  # type: ignore[attr-defined]
    kind.compose_command = compose_command
