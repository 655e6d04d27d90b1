"""What recording costs a point, and what reading a large map back costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...simulated import simulation_metadata

__all__ = ["measure_record"]

_READ = """
import json, sys, time
began = time.perf_counter()
import bluesky_tiled_plugins, tiled.client, tiled.server.app
from slads_bluesky.record import open_catalog
from slads_bluesky.record.runs import read_array
from slads_bluesky.memory import peak_rss_mb
imported = time.perf_counter()
run = open_catalog(sys.argv[1], create=False)[sys.argv[2]]
opened = time.perf_counter()
spectra = read_array(run["primary"]["eds_spectrum"])
labels = run["primary"]["eds_label"].read()
print(json.dumps({"import_s": imported - began, "open_s": opened - imported, "read_s": time.perf_counter() - opened,
    "shape": list(spectra.shape), "counts": int(spectra.sum()), "labels": int(labels.sum()),
    "peak_rss_mb": peak_rss_mb()}))
"""


def measure_record(
    points: int,
    object_name: str,
    *,
    seed: int,
    folder: Path | None = None,
    told: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Record a large map without an instrument; write it to a catalog, read it back and verify it.

    Parameters
    ----------
    points : int
        Points of the map.
    object_name : str
        Object that is mapped.
    seed : int
        Of the object and of the training.
    folder : Path, optional
        Where to work; by default the system's temporary files.
    told : callable, optional
        Told in a few words what is done now.

    Returns
    -------
    dict
        Times a point, memory, and whether what was read back is what was recorded.
    """
    from ...phantom import make_object
    from ...simulation.models import prepare_models

    with tempfile.TemporaryDirectory(
        prefix="slads-bench-", dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        work = Path(scratch)
        told("preparing models")
        models = prepare_models(object_name, seed=seed, progress=lambda stage, done: told(stage))
        phantom = make_object(object_name, seed)
        told(f"taking {points} points")
        taken = _take(work, phantom, models, points, seed)
        told("the catalog")
        written = _catalog(work, taken["uid"], points)
        told("reading back")
        read = _read(work, taken["uid"])
        told("verifying")
        verified = _verify(work, taken["uid"], models)
    return {
        "points": points,
        "object": object_name,
        "journal_ms": taken["journal_ms"],
        "journal_fsync_ms": taken["fsync_ms"],
        "journal_mb": taken["mb"],
        "writer_ms_a_point": written["ms_a_point"],
        "writer_peak_rss_mb": written["peak_rss_mb"],
        **{f"catalog_{key}": value for key, value in read.items()},
        "read_back_equal": read["counts"] == taken["counts"] and read["labels"] == taken["labels"],
        "verify_points_per_s": verified["points_per_s"],
        "verify_passed": verified["passed"],
    }


def _take(work: Path, phantom: Any, models: Any, points: int, seed: int) -> dict[str, Any]:
    """Record a map without an instrument: the agent decides, the object gives the spectra, each is classified."""
    from ...record import Journal, journal_directory
    from ...simulation.run import make_agent

    agent = make_agent(phantom, models, fraction=min(1.0, points / phantom.truth.size), seed=seed)
    seconds: list[float] = []
    counts = labels = 0
    with Journal(journal_directory(work)) as journal:
        start = None
        for name, doc in _documents(phantom, models, agent, points):
            start = start or doc
            began = time.perf_counter()
            journal(name, doc)
            if name == "event":
                seconds.append(time.perf_counter() - began)
                counts += int(doc["data"]["eds_spectrum"].sum())
                labels += doc["data"]["eds_label"]
                agent.ingest(doc)
    assert start is not None
    path = journal_directory(work) / f"{start['uid']}.msgpack"
    return {
        "uid": start["uid"],
        "journal_ms": _median_p99(seconds),
        "fsync_ms": _fsync(work, path),
        "mb": path.stat().st_size / 1e6,
        "counts": counts,
        "labels": labels,
    }


def _documents(phantom: Any, models: Any, agent: Any, points: int) -> Iterator[tuple[str, Any]]:
    import event_model

    from ...plans.adaptive import versions

    configuration = agent.configuration()
    bundle = event_model.compose_run(
        metadata={
            "plan_name": "adaptive_map",
            **simulation_metadata(phantom.name, phantom.seed),
            "grid": configuration["grid"],
            "agent": configuration,
            "phases": list(phantom.phases),
            "model_hashes": configuration["model_hashes"],
            "versions": versions(),
        }
    )
    yield "start", bundle.start_doc
    number, text = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}, {"dtype": "string", "shape": []}
    integer = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
    spectrum = {"dtype": "array", "dtype_numpy": "<i4", "shape": [phantom.axis.n_channels]}
    kinds = {
        "scan_pixel": integer,
        "scan_erd": number,
        "eds_spectrum": spectrum,
        "eds_label": integer,
        "eds_probability": number,
        "eds_verdict": text,
        "eds_live_time": number,
        "eds_real_time": number,
        "beam_pixel_dose": number,
    }
    keys = {key: {"source": "bench", **kind} for key, kind in kinds.items()}
    primary = bundle.compose_descriptor(name="primary", data_keys=keys)
    yield "descriptor", primary.descriptor_doc
    for _ in range(points):
        suggestion = agent.suggest(1)[0]
        counts = phantom.spectrum(suggestion.pixel)
        label, probability, verdict = models.classifier.classify(counts)
        data = {
            "scan_pixel": int(suggestion.pixel),
            "scan_erd": float(suggestion.erd),
            "eds_spectrum": counts,
            "eds_label": int(label),
            "eds_probability": float(probability),
            "eds_verdict": str(verdict),
            "eds_live_time": 10.0,
            "eds_real_time": 14.5,
            "beam_pixel_dose": 14.5,
        }
        stamps = dict.fromkeys(data, time.time())
        yield "event", primary.compose_event(data=data, timestamps=stamps, validate=False)
    yield "stop", bundle.compose_stop()


def _fsync(work: Path, path: Path, n: int = 500) -> dict[str, float]:
    """Journal the first events again, waiting for the disk after each."""
    from ...record import Journal, read_journal

    seconds = []
    with Journal(work / "fsync", fsync=True) as journal:
        for name, doc in read_journal(path):
            began = time.perf_counter()
            journal(name, doc)
            seconds.append(time.perf_counter() - began)
            if len(seconds) == n:
                break
    return _median_p99(seconds[2:])


def _catalog(work: Path, uid: str, points: int) -> dict[str, float]:
    """Have a process of its own write the journal into a new catalog; imports and start are not counted."""
    script = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from slads_bluesky.record import journal_directory, open_catalog\n"
        "from slads_bluesky.record.catalog.writer import write_run\n"
        "from slads_bluesky.memory import peak_rss_mb\n"
        "catalog = open_catalog(sys.argv[1], catch_up=False)\n"
        "began = time.perf_counter()\n"
        "n = write_run(catalog, journal_directory(sys.argv[1]) / (sys.argv[2] + '.msgpack'))\n"
        "print(json.dumps({'s': time.perf_counter() - began, 'n': n,\n"
        "    'peak_rss_mb': peak_rss_mb()}))\n"
    )
    done = _run(script, str(work), uid)
    return {"ms_a_point": done["s"] * 1e3 / points, "peak_rss_mb": done["peak_rss_mb"]}


def _read(work: Path, uid: str) -> dict[str, Any]:
    return _run(_READ, str(work), uid)


def _run(script: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _verify(work: Path, uid: str, models: Any) -> dict[str, Any]:
    from ...analysis.run_data import load_map
    from ...record.rebuild import rebuild_agent
    from ...record.runs import find_run
    from ...record.verify import verify

    data = load_map([find_run(uid, str(work)).documents])
    agent = rebuild_agent(data.start, models.sampler)
    began = time.perf_counter()
    result = verify(data, agent, models.classifier)
    return {"points_per_s": data.n_measured / (time.perf_counter() - began), "passed": result.passed}


def _median_p99(seconds: list[float]) -> dict[str, float]:
    return {
        "median": float(np.median(seconds)) * 1e3,
        "p99": float(np.percentile(seconds, 99)) * 1e3,
    }
