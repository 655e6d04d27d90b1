"""``slads-bluesky bench record``: what recording costs a point, and what reading a large map back costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .figures import check_writable, write_json

__all__ = ["bench_record", "register"]

_READ = """
import json, resource, sys, time
began = time.perf_counter()
import bluesky_tiled_plugins, tiled.client, tiled.server.app
from slads_bluesky.catalog import open_catalog
from slads_bluesky.catalog.runs import read_array
imported = time.perf_counter()
run = open_catalog(sys.argv[1], create=False)[sys.argv[2]]
opened = time.perf_counter()
spectra = read_array(run["primary"]["eds_spectrum"])
labels = run["primary"]["eds_label"].read()
print(json.dumps({"import_s": imported - began, "open_s": opened - imported, "read_s": time.perf_counter() - opened,
    "shape": list(spectra.shape), "counts": int(spectra.sum()), "labels": int(labels.sum()),
    "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("record")(bench_record)


def bench_record(
    points: Annotated[
        int, typer.Option(min=200, help="Points of the large map: 52429 are 5 % of 1024².")
    ] = 52429,
    object_name: Annotated[str, typer.Option("--object", help="Object that is mapped.")] = "pbsn-1024",
    folder: Annotated[
        Path | None, typer.Option(help="Where to work; by default the system's temporary files.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the object and of the training.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON too.")
    ] = None,
) -> None:
    """Measure journal, catalog, reading back and verification on one large map."""
    from rich.console import Console
    from rich.table import Table

    from ..models import prepare_models
    from ..phantom import make_object

    check_writable(json_file)
    console = Console(highlight=False)
    work = Path(tempfile.mkdtemp(prefix="slads-bench-", dir=folder))
    try:
        with console.status("preparing models") as status:
            models = prepare_models(object_name, seed=seed, told=lambda what: status.update(what))
            phantom = make_object(object_name, seed)
        with console.status(f"taking {points} points"):
            taken = _take(work, phantom, models, points, seed)
        with console.status("the catalog"):
            written = _catalog(work, taken["uid"], points)
        with console.status("reading back"):
            read = _read(work, taken["uid"])
        with console.status("verifying"):
            verified = _verify(work, taken["uid"], models)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    figures: dict[str, Any] = {
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
    table = Table(
        title=f"{points} points of {object_name}, {phantom.axis.n_channels} channels", title_justify="left"
    )
    for column in ("", "measured", "to reach"):
        table.add_column(column, justify="left" if not column else "right")
    total = read["import_s"] + read["open_s"] + read["read_s"]
    for row in (
        ("journal, a point: median", f"{taken['journal_ms']['median']:.3f} ms", "≤ 0.3 ms"),
        ("journal, a point: 99 %", f"{taken['journal_ms']['p99']:.3f} ms", ""),
        ("journal with fsync: median", f"{taken['fsync_ms']['median']:.3f} ms", ""),
        ("catalog's writer, a point", f"{written['ms_a_point']:.2f} ms", "≤ 4 ms"),
        ("catalog's writer, memory", f"{written['peak_rss_mb']:.0f} MB", "≤ 1000 MB"),
        ("reopened and read as arrays", f"{total:.1f} s", "≤ 10 s"),
        (
            "  imports, opening, reading",
            f"{read['import_s']:.1f}, {read['open_s']:.1f}, {read['read_s']:.1f} s",
            "",
        ),
        ("  memory of that", f"{read['peak_rss_mb']:.0f} MB", "≤ 1000 MB"),
        ("  the same as was recorded", "yes" if figures["read_back_equal"] else "NO", "yes"),
        ("replay --verify", f"{verified['points_per_s']:.0f} points/s", "≥ 1000"),
        ("  passed", "yes" if verified["passed"] else "NO", "yes"),
    ):
        table.add_row(*row)
    console.print(table)
    write_json(json_file, figures)


def _take(work: Path, phantom: Any, models: Any, points: int, seed: int) -> dict[str, Any]:
    """Record a map without an instrument: the agent decides, the object gives the spectra, each is classified."""
    from ..catalog import Journal, journal_directory
    from ..experiment import make_agent

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

    from ..plans.adaptive import versions

    configuration = agent.configuration()
    bundle = event_model.compose_run(
        metadata={
            "plan_name": "adaptive_map",
            "object": phantom.name,
            "object_seed": phantom.seed,
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
    from ..catalog import Journal, read_journal

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
        "import json, resource, sys, time\n"
        "from pathlib import Path\n"
        "from slads_bluesky.catalog import journal_directory, open_catalog\n"
        "from slads_bluesky.catalog.writer import write_run\n"
        "catalog = open_catalog(sys.argv[1], catch_up=False)\n"
        "began = time.perf_counter()\n"
        "n = write_run(catalog, journal_directory(sys.argv[1]) / (sys.argv[2] + '.msgpack'))\n"
        "print(json.dumps({'s': time.perf_counter() - began, 'n': n,\n"
        "    'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))\n"
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
    from ..catalog.verify import verify
    from ..rebuild import rebuild_agent
    from .record import open_map

    _, data = open_map(uid, str(work))
    agent = rebuild_agent(data.start, models.sampler)
    began = time.perf_counter()
    result = verify(data, agent, models.classifier)
    return {"points_per_s": data.n_measured / (time.perf_counter() - began), "passed": result.passed}


def _median_p99(seconds: list[float]) -> dict[str, float]:
    return {
        "median": float(np.median(seconds)) * 1e3,
        "p99": float(np.percentile(seconds, 99)) * 1e3,
    }
