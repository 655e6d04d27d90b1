"""The client classes of runs, whatever else in this process asked databroker for its earlier interfaces."""

from __future__ import annotations

__all__ = ["restore_run_clients"]


def restore_run_clients() -> None:
    """Let runs be read by the present interface again.

    The ``.v2`` and ``.v1`` of a catalog or run (bluesky-tiled-plugins 2.0) copy Tiled's table of client classes, but
    the copy shares its entries: from then on every open catalog of the process gives runs of the second version.
    """
    from bluesky_tiled_plugins.clients.bluesky_run import BlueskyRun
    from tiled.client.container import DEFAULT_STRUCTURE_CLIENT_DISPATCH

    for clients in DEFAULT_STRUCTURE_CLIENT_DISPATCH.values():
        clients.set("BlueskyRun", lambda: BlueskyRun)
