"""Reads changed inputs in a process of its own: ``python -m …fuzz.worker READER DIR SEED SECONDS``.

The input under way is in the folder, so that it is there when this process crashes or hangs. Every finding is a line
of JSON; so is a sign of life now and then.
"""

from __future__ import annotations

import gc
import json
import logging
import random
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import SladsError
from ...memory import peak_rss_mb
from ..process import forget_peak
from .mutation import mutate
from .readers import READERS, Reader

__all__ = ["HANG_S", "LEAST_MB", "judge", "main"]

HANG_S = 10.0
"""An input that takes longer hangs."""
LEAST_MB = 64.0
"""Memory that any input may take: the limit of ten times the file is for larger ones."""


def judge(reader: Reader, read: Any, path: Path) -> dict[str, Any]:
    """Read one file; return what came of it.

    Returns
    -------
    dict
        ``outcome``: ``read``, ``refused`` (an error of ours that names the culprit in one line), ``traceback``,
        ``several lines`` or ``unnamed``; ``what``: the error; ``where``: the innermost place in this package.
    """
    try:
        read(path)
    except SladsError as error:
        text = str(error)
        first, *others = text.strip().splitlines() or [""]
        if not first or any(not (reader.listing and line.startswith("  ")) for line in others):
            return {"outcome": "several lines", "what": text[:300], "where": _where(error)}
        if path.stem not in text and reader.name != "0MQ message":
            return {"outcome": "unnamed", "what": text[:300], "where": _where(error)}
        return {"outcome": "refused"}
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
        return {"outcome": "traceback", "what": what, "where": _where(error)}
    return {"outcome": "read"}


def _where(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "slads_bluesky" in f.filename
              and "evaluation" not in f.filename]  # fmt: skip
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def main(arguments: Sequence[str]) -> None:
    """Read changed inputs for some seconds."""
    name, folder, seed, seconds = arguments
    reader = next(reader for reader in READERS if reader.name == name)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    rng = random.Random(int(seed))
    scratch = Path(folder)
    (scratch / "samples").mkdir(parents=True, exist_ok=True)
    samples = reader.samples(scratch / "samples")
    path = scratch / reader.file
    counts: dict[str, int] = {}
    with reader.open() as read:
        for sample in samples:
            path.write_bytes(sample)
            outcome = judge(reader, read, path)
            if outcome["outcome"] != "read":
                raise RuntimeError(f"{name}: a valid sample is not read: {outcome}")
        gc.collect()
        end = reported = time.monotonic()
        end += float(seconds)
        while (now := time.monotonic()) < end:
            data = mutate(samples, rng.randint)
            path.write_bytes(data)
            forget_peak()
            before, cpu = peak_rss_mb(), time.process_time()
            found = judge(reader, read, path)
            # processor time: on a busy machine any input may take long by the clock
            grown, took = peak_rss_mb() - before, time.process_time() - cpu
            if grown > max(LEAST_MB, 10 * len(data) / 1e6):
                found = {"outcome": "memory", "what": f"{grown:.0f} MB for {len(data)} bytes", "where": ""}
            if took > HANG_S:
                found = {"outcome": "hang", "what": f"{took:.0f} s", "where": ""}
            counts[found["outcome"]] = counts.get(found["outcome"], 0) + 1
            if found["outcome"] not in ("read", "refused"):
                _say({**found, "input": data.hex() if len(data) < 20_000 else data[:20_000].hex()})
            if now - reported > 0.5:
                _say({"counts": counts})
                reported = now
    _say({"counts": counts, "end": True})


def _say(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
