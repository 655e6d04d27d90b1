"""Whether anybody looks on."""

from __future__ import annotations

import os

__all__ = ["is_headless"]


def is_headless() -> bool:
    """Whether this is a queue server's worker, in which nothing is shown and nobody is asked."""
    return os.environ.get("_QSERVER_RE_WORKER_ACTIVE", "") not in ("", "0")
