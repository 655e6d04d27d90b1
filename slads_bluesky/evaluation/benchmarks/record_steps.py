"""Steps of `bench record` that run in a process of their own, so that time and memory are theirs alone.

``python -m slads_bluesky.evaluation.benchmarks.record_steps write|read RECORD UID`` prints a line of JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

__all__ = ["main", "read", "write"]


def write(record: str, uid: str) -> dict[str, Any]:
    """Write one journal into a new catalog; imports and opening are not counted."""
    from ...memory import peak_rss_mb
    from ...record import journal_directory, open_catalog
    from ...record.catalog.writer import write_run

    catalog = open_catalog(record, catch_up=False)
    began = time.perf_counter()
    n = write_run(catalog, journal_directory(record) / f"{uid}.msgpack")
    return {"write_s": time.perf_counter() - began, "documents": n, "peak_rss_mb": peak_rss_mb()}


def read(record: str, uid: str) -> dict[str, Any]:
    """Open a catalog and read all spectra and labels of one run."""
    began = time.perf_counter()
    from ...memory import peak_rss_mb
    from ...record import open_catalog
    from ...record.runs import read_array

    for library in ("bluesky_tiled_plugins", "tiled.client", "tiled.server.app"):
        importlib.import_module(library)
    imported = time.perf_counter()
    run = open_catalog(record, create=False)[uid]
    opened = time.perf_counter()
    spectra = read_array(run["primary"]["eds_spectrum"])
    labels = run["primary"]["eds_label"].read()
    return {
        "import_s": imported - began,
        "open_s": opened - imported,
        "read_s": time.perf_counter() - opened,
        "shape": list(spectra.shape),
        "counts": int(spectra.sum()),
        "labels": int(labels.sum()),
        "peak_rss_mb": peak_rss_mb(),
    }


def main(arguments: Sequence[str]) -> None:
    """Run one step and print its figures."""
    step, record, uid = arguments
    sys.stdout.write(json.dumps({"write": write, "read": read}[step](record, uid)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
