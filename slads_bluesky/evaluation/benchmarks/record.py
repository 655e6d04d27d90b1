"""Cost of recording, per point, and of reading a large map back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...progress import Progress, no_progress, part_of
from ...simulated import simulation_metadata
from ..figures import Figure, at_least, at_most, equal, measured
from ..process import run_module

__all__ = ["measure_record", "record_figures"]

_STEPS = f"{__package__}.record_steps"


def measure_record(
    points: int,
    object_name: str,
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress = no_progress,
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
    progress : callable, optional
        Called with the stage and the fraction of the work that is done, about.

    Returns
    -------
    dict
        Times per point, memory, and whether the data read back are those recorded.
    """
    from ...phantom import make_object
    from ...simulation.models import prepare_models

    with tempfile.TemporaryDirectory(
        prefix="slads-bench-", dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        work = Path(scratch)
        progress("preparing models", 0.0)
        models = prepare_models(object_name, seed=seed, progress=part_of(progress, 0.0, 0.1))
        phantom = make_object(object_name, seed)
        progress(f"taking {points} points", 0.1)
        taken = _take(work, phantom, models, points, seed)
        progress("writing the catalog", 0.5)
        written = run_module(_STEPS, "write", str(work), taken["uid"])
        progress("reading back", 0.8)
        read = run_module(_STEPS, "read", str(work), taken["uid"])
        progress("verifying", 0.9)
        verified = _verify(work, taken["uid"], models)
    return {
        "points": points,
        "object": object_name,
        "journal_ms": taken["journal_ms"],
        "journal_fsync_ms": taken["fsync_ms"],
        "journal_mb": taken["mb"],
        "writer_ms_a_point": written["write_s"] * 1e3 / points,
        "writer_peak_rss_mb": written["peak_rss_mb"],
        **{f"catalog_{key}": value for key, value in read.items()},
        "read_back_equal": read["counts"] == taken["counts"] and read["labels"] == taken["labels"],
        "verify_points_per_s": verified["points_per_s"],
        "verify_passed": verified["passed"],
    }


def record_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue on the record, from the results of `measure_record`."""
    journal = found["journal_ms"]
    reading = sum(found[f"catalog_{step}_s"] for step in ("import", "open", "read"))
    return [
        at_most("journal per point, median", journal["median"], 0.3, "ms"),
        measured("journal per point, 99 %", journal["p99"], "ms"),
        measured("journal with fsync per point, median", found["journal_fsync_ms"]["median"], "ms"),
        at_most("catalog's writer per point", found["writer_ms_a_point"], 4.0, "ms"),
        at_most("catalog's writer, memory", found["writer_peak_rss_mb"], 1000, "MB"),
        at_most("reopened and read as arrays", reading, 10.0, "s"),
        measured("of that, imports", found["catalog_import_s"], "s"),
        measured("of that, opening", found["catalog_open_s"], "s"),
        at_most("reading, memory", found["catalog_peak_rss_mb"], 1000, "MB"),
        equal("read back equal to the recorded data", found["read_back_equal"], True),
        at_least("replay --verify", found["verify_points_per_s"], 1000, "points/s"),
        equal("replay --verify passed", found["verify_passed"], True),
    ]


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

    from ...plans.start import versions

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


def _verify(work: Path, uid: str, models: Any) -> dict[str, Any]:
    from ...analysis.load import load_map
    from ...record.resume import rebuild_agent
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
