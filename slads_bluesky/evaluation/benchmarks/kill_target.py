"""The acquisition that `kills` kills: ``python -m slads_bluesky.evaluation.benchmarks.kill_target``.

It maps a simulated object with a record, and prints one line for each Event once it is on record.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ...phantom import make_object
from ...record import Recorder
from ...simulation.models import prepare_models
from ...simulation.run import make_agent, run_map

__all__ = ["main"]


def main(arguments: Sequence[str]) -> None:
    """Map an object: folder of the record, object, fraction of the pixels, seed, ``soft`` or ``ioc``."""
    directory, name, fraction, seed, devices = arguments
    with Recorder(directory) as recorder:
        _say("writer", recorder.writer_pid)
        phantom, models = make_object(name, int(seed)), prepare_models(name, seed=int(seed))

        def on_record(kind: str, doc: dict[str, Any]) -> None:
            # subscribed after the recorder: what is printed here is on record
            if kind == "event" and "scan_pixel" in doc["data"]:
                _say("event", doc["uid"], doc["data"]["scan_pixel"])

        agent = make_agent(phantom, models, fraction=float(fraction), seed=int(seed))
        run_map(phantom, models, agent, soft=devices == "soft", subscribers=[recorder, on_record])
        _say("end", recorder.close(120))


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
