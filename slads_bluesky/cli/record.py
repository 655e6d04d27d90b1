"""``slads-bluesky runs | show | replay``: what is on record, listed, shown and verified."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, RecordError
from ..files import check_writable, write_json
from ..simulated import simulated_object
from ..terminal import make_console
from .options import Json

if TYPE_CHECKING:
    from ..analysis.run_data import RunData
    from ..record.runs import RecordedRun

__all__ = ["model_folders", "open_map", "register", "replay", "runs", "show"]

Where = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        metavar="DIR|URI|PROFILE",
        help="The record; by default the one in the user's data directory.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--catalog", metavar="DIR", help="The record; by default the one in the user's data directory."
    ),
]
"""As `Where`, for commands that add to the record: a folder."""
Uid = Annotated[
    str, typer.Argument(metavar="UID", help="A uid or its beginning, a scan_id, or -1 for the latest run.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(runs)
    # "-1" is a run, not an option
    app.command(context_settings={"ignore_unknown_options": True})(show)
    app.command(context_settings={"ignore_unknown_options": True})(replay)


def open_map(uid: str, where: str | None, spectra: bool = True) -> tuple[list[RecordedRun], RunData]:
    """Find a run and load its map: itself and the runs that it resumes."""
    from ..analysis.load import load_map
    from ..record.runs import find_run, map_runs

    chain = map_runs(find_run(uid, where), where)
    return chain, load_map([run.documents for run in chain], spectra=spectra)


def model_folders(where: str | None) -> list[Path]:
    """Folders in which a record keeps the models of its runs."""
    from ..modelstore import model_directory
    from ..record.runs import record_directory

    directory = record_directory(where)
    return [] if directory is None else [model_directory(directory)]


def runs(
    since: Annotated[
        str | None,
        typer.Option(
            help="Only runs from then on: a day such as 2026-03-01, today, yesterday, 3 days, 2 hours."
        ),
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Only runs of this sample.")] = None,
    object_name: Annotated[
        str | None, typer.Option("--object", help="Only runs of this simulated object.")
    ] = None,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """List the runs on record, the latest last."""
    from rich.table import Table

    from ..record.runs import list_runs

    console = make_console()
    check_writable(json_file)
    after = _since(since, datetime.now()) if since else 0.0
    rows: list[dict[str, Any]] = []
    for run in list_runs(catalog, lambda text: console.print(f"unreadable: {text}")):
        start, stop = run.start, run.stop or {}
        if start["time"] < after or (sample is not None and start.get("sample") != sample):
            continue
        specimen = simulated_object(start)
        if object_name is not None and (specimen is None or specimen.name != object_name):
            continue
        rows.append(
            {
                "uid": run.uid,
                "scan_id": start.get("scan_id"),
                "time": datetime.fromtimestamp(start["time"]).isoformat(" ", "seconds"),
                "plan_name": start.get("plan_name"),
                "sample": start.get("sample"),
                "shape": start.get("shape"),
                "n_events": (stop.get("num_events") or {}).get("primary") if run.stop else run.count_events(),
                "exit_status": run.exit_status,
                "ending": run.ending,
                "resumes": run.parent,
                "left_out": run.left_out,
            }
        )
    table = Table(box=None, pad_edge=False)
    for name in ("uid", "scan", "time", "plan", "sample", "grid", "points", "ended", "resumes"):
        table.add_column(name, justify="right" if name in ("scan", "points") else "left")
    for row in rows:
        table.add_row(
            row["uid"][:8],
            _text(row["scan_id"]),
            row["time"],
            _text(row["plan_name"]),
            _text(row["sample"]),
            " × ".join(map(str, row["shape"] or ())),
            _text(row["n_events"]),
            row["ending"],
            (row["resumes"] or "")[:8],
        )
    console.print(table if rows else "no runs", soft_wrap=not rows)
    for row in rows:
        if row["left_out"]:
            console.print(f"run {row['uid'][:8]} is in the journal only: {row['left_out']}")
    write_json(json_file, {"runs": rows})


def _since(text: str, now: datetime) -> float:
    """Seconds since 1970 of a day or of a time ago; ConfigError if it is neither."""
    from datetime import timedelta

    words = text.lower().removesuffix(" ago").split()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if words in (["today"], ["yesterday"]):
            return (midnight - timedelta(days=words == ["yesterday"])).timestamp()
        if len(words) == 2 and words[1].rstrip("s") in ("minute", "hour", "day", "week"):
            return (now - timedelta(**{words[1].rstrip("s") + "s": float(words[0])})).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--since takes a day such as 2026-03-01, today, yesterday, or a time such as '3 days', not '{text}'"
        ) from None


def show(uid: Uid, catalog: Where = None, json_file: Json = None) -> None:
    """Show one run in a screen: sample, plan, result, dose, time."""
    from ..analysis.summary import summarize

    check_writable(json_file)
    chain, data = open_map(uid, catalog, spectra=False)
    lines, figures = summarize(data)
    console = make_console()
    for line in lines:
        console.print(line)
    console.print(f"record     {chain[-1].source}")
    write_json(json_file, figures)


def replay(
    uid: Uid,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Classify and decide again, and compare all with the record; exit code 1 if it differs.",
        ),
    ] = False,
    speed: Annotated[
        float | None, typer.Option(help="Re-emit the documents this many times as fast as they came.")
    ] = None,
    sampler: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Model of another sampler: what it would have chosen.")
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another classifier: what it would have called each spectrum."),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the comparison with another sampler or classifier."),
    ] = None,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Replay a recorded run: verify it, compare it with another sampler or classifier, or show it."""
    console = make_console()
    check_writable(json_file)
    check_writable(figure)
    if verify:
        _verify(console, uid, catalog, sampler, classifier, json_file)
    elif sampler is not None or classifier is not None:
        from .counterfactual import compare

        _, data = open_map(uid, catalog)
        compare(console, data, sampler, classifier, model_folders(catalog), figure, json_file)
    else:
        _emit(uid, catalog, speed, json_file)


def _verify(
    console: Any,
    uid: str,
    catalog: str | None,
    sampler: Path | None,
    classifier: Path | None,
    json_file: Path | None,
) -> None:
    import time

    from ..plans.start import versions
    from ..progress import tracker
    from ..record.resume import find_classifier, find_sampler_model, load_sampler_model, rebuild_agent
    from ..record.verify import explain, verify
    from ..spectra import load_classifier

    _, data = open_map(uid, catalog)
    if "derived_from" in data.start:
        raise RecordError(
            f"run {data.uid[:8]} was relabelled from {data.start['derived_from'][:8]}: that is the one to verify"
        )
    folders = model_folders(catalog)
    model = (
        load_sampler_model(data.start, sampler)
        if sampler is not None
        else find_sampler_model(data.start, *folders)
    )
    judge = load_classifier(classifier) if classifier else find_classifier(data.start, *folders)
    agent = rebuild_agent(data.start, model)
    began = time.perf_counter()
    with tracker("verifying") as progress:
        result = verify(data, agent, judge, progress)
    took = time.perf_counter() - began
    hashes = {"classifier": judge.sha256, **({} if model is None else {"sampler": model.sha256})}
    why = explain(data.start, hashes, versions())
    if result.passed:
        console.print(
            f"run {data.uid[:8]}: all {result.n_events} decisions, labels and verdicts are the same again"
        )
    else:
        console.print(f"run {data.uid[:8]} differs, first at {result.differences[0]}")
        console.print("  " + ", ".join(f"{what}: {n}" for what, n in result.counts.items()))
        for line in why or ["models and versions are those of the run: the data were changed"]:
            console.print(f"  {line}")
    write_json(
        json_file,
        {
            "uid": data.uid,
            "passed": result.passed,
            "n_events": result.n_events,
            "not_classified": result.not_classified,
            "differences": result.counts,
            "first": None if result.passed else str(result.differences[0]),
            "why": why,
            "seconds": took,
            "points_per_s": result.n_events / took if took else None,
        },
    )
    if not result.passed:
        raise typer.Exit(1)


def _emit(uid: str, catalog: str | None, speed: float | None, json_file: Path | None) -> None:
    from bluesky.callbacks.best_effort import BestEffortCallback

    from ..record.replay import replay as emit
    from ..record.runs import find_run

    watcher = BestEffortCallback()
    watcher.disable_plots()
    run = find_run(uid, catalog)
    n = emit(run.documents(), [watcher], speed)
    write_json(json_file, {"uid": run.uid, "documents": n})


def _text(value: Any) -> str:
    return "" if value is None else str(value)
