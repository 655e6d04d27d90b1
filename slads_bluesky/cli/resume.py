"""``slads-bluesky resume``: an interrupted map, resumed as if nothing had happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import RecordError
from ..files import check_writable, write_json
from ..simulated import simulated_object
from ..terminal import make_console, working
from .options import Json
from .record import Folder, Uid, model_folders, open_map

if TYPE_CHECKING:
    from ..analysis.run_data import RunData

__all__ = ["register", "resume"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(context_settings={"ignore_unknown_options": True})(resume)


def resume(
    uid: Uid,
    soft: Annotated[
        bool, typer.Option("--soft", help="In-process devices instead of an IOC over Channel Access.")
    ] = False,
    catalog: Folder = None,
    error: Annotated[
        float | None,
        typer.Option(help="Accepted error of an adaptive dwell, where the run does not record its own."),
    ] = None,
    json_file: Json = None,
) -> None:
    """Resume an interrupted map of a simulated object, as a new run that names its parent.

    A map of a real specimen is resumed where its microscope is: RE(resume_map("UID")) in the session.
    """
    from ..agents import looks_at_spectra
    from ..analysis.load import load_map
    from ..analysis.summary import summarize
    from ..callbacks.progress import MapProgress
    from ..modelstore import keep_models, model_directory
    from ..phantom import make_object
    from ..record import Recorder
    from ..record.journal.writing import is_being_taken
    from ..record.resume import (
        find_classifier,
        find_sampler_model,
        rebuild_agent,
        sampler_name,
    )
    from ..record.scan_id import scan_id_source
    from ..simulation.models import Models
    from ..simulation.run import run_map

    console = make_console()
    check_writable(json_file)
    where = str(catalog) if catalog is not None else None
    chain, data = open_map(uid, where, spectra=False)
    start = data.start
    if looks_at_spectra(start.get("agent", {})):
        chain, data = open_map(uid, where)
    if is_being_taken(chain[-1].source):
        raise RecordError(f"run {data.uid[:8]} is still being taken by another process")
    specimen = simulated_object(start)
    if specimen is None:
        raise RecordError(
            f"run {data.uid[:8]} is of a microscope, and this command drives simulated ones only; resume it in "
            f'that microscope\'s session, RE(resume_map("{data.uid[:8]}")), or put resume_map into its queue'
        )
    folders = model_folders(where)
    models = Models(
        sampler_name(start), find_sampler_model(start, *folders), find_classifier(start, *folders)
    )
    agent = rebuild_agent(start, models.sampler)
    data.teach(agent)
    if agent.should_stop():
        raise RecordError(f"run {data.uid[:8]} is complete: {agent.stop_reason}")
    wanted_error = _dwell_error(data, error)
    phantom = make_object(*specimen)
    console.print(f"run {data.uid[:8]} is resumed after {data.n_measured} pixels")
    with Recorder(catalog, on_problem=lambda text: console.print(f"catalog: {text}")) as recorder:
        kept = models.classifier if hasattr(models.classifier, "save") else None
        keep_models(model_directory(recorder.directory), models.sampler, kept)
        result = run_map(
            phantom,
            models,
            agent,
            soft=soft,
            subscribers=[recorder, MapProgress(agent.distortion_estimate)],
            scan_id_source=scan_id_source(recorder.directory),
            dwell_s=start["plan_args"]["dwell_s"],
            error=wanted_error,
            batch=start["plan_args"].get("batch"),
            md={"resumes": data.uid},
        )
        with working(console, "bringing the catalog up to date"):
            current = recorder.flush(timeout=600)
    from ..record.runs import find_run

    whole = load_map(
        [*(run.documents for run in chain), find_run(result.uid, where).documents], spectra=False
    )
    lines, figures = summarize(whole)
    for line in lines:
        console.print(line)
    write_json(json_file, {**figures, "n_before": data.n_measured, "catalog_up_to_date": current})


def _dwell_error(data: RunData, given: float | None) -> float | None:
    """Error that a map's dwell was adapted to; None for a fixed dwell. It is never guessed."""
    rule = data.start.get("sequential") or {}
    recorded = rule.get("error", given)
    by_lists = data.start.get("plan_args", {}).get("acquisition") == "list"  # their dwell is a real time
    if (
        recorded is None
        and not by_lists
        and (data.live_time_s < 0.99 * data.start["plan_args"]["dwell_s"]).any()
    ):
        raise RecordError(
            f"run {data.uid[:8]} had an adaptive dwell and does not record its error; give --error"
        )
    return None if recorded is None else float(recorded)
