"""Whether this process is a queue server's worker, in which nothing is shown and nobody is asked."""

from __future__ import annotations

import sys

__all__ = ["is_headless"]


def is_headless() -> bool:
    """Whether this process is a queue server's worker.

    bluesky-queueserver need not be installed; in a worker it is loaded before the startup files run.
    """
    server = sys.modules.get("bluesky_queueserver")
    return server is not None and bool(server.is_re_worker_active())
