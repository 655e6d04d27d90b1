"""The catalog's writer as a process: ``python -m slads_bluesky.record.catalog.follower_process``.

It starts with each session and each command that measures, and is waited for at the end. Tiled, dask and what they
import are many objects, all of which stay: they are neither searched for cycles nor taken down at the end.
"""

from __future__ import annotations

import gc
import logging
import os
import sys

from slads_bluesky.memory import collection_paused

__all__ = ["main"]


def main() -> None:
    """Be the follower, and end the process with its status."""
    with collection_paused():
        from .follower import main as follow
    gc.freeze()  # what was imported stays
    status = follow()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)  # all is written and closed


if __name__ == "__main__":
    main()
