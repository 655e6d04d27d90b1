"""``slads-bluesky relabel``: a finished map reclassified, by another classifier or with a phase that was accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, RecordError, SladsError
from ..files import check_writable, write_json
from ..terminal import make_console
from .options import Json
from .record import Folder, Uid, model_folders, open_map

if TYPE_CHECKING:
    from ..analysis.run_data import RunData
    from ..spectra.discovery.new_phases import NewPhase

__all__ = ["register", "relabel"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(context_settings={"ignore_unknown_options": True})(relabel)


def relabel(
    uid: Uid,
    classifier: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Classifier that knows the map's phases, and perhaps more."),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Accept the largest group of unknown spectra as a phase of this name."
        ),
    ] = None,
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="Only show the groups of unknown spectra and what they may be."),
    ] = False,
    candidates: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Candidate phases of your own, beside those that are shipped."),
    ] = None,
    catalog: Folder = None,
    json_file: Json = None,
) -> None:
    """Reclassify a finished map, as a run of its own that names its source."""
    from ..analysis.load import load_map
    from ..analysis.summary import summarize
    from ..modelstore import keep_models, model_directory
    from ..record import Recorder
    from ..record.relabel import configuration_for, relabelled
    from ..record.resume import find_sampler_model, rebuild_agent
    from ..record.runs import find_run
    from ..record.scan_id import scan_id_source
    from ..spectra import load_classifier

    if sum((classifier is not None, accept is not None, suggest)) != 1:
        raise ConfigError("give either --classifier FILE or --accept NAME, or --suggest")
    check_writable(json_file)
    console = make_console()
    where = str(catalog) if catalog is not None else None
    folders = model_folders(where)
    chain, data = open_map(uid, where)
    if "agent" not in data.start:
        raise RecordError(f"run {data.uid[:8]} was not made by an adaptive plan")
    if suggest:
        _, _, groups = _unknown_groups(data, folders)
        for group in groups:
            _show_group(console, data, group, candidates)
        shown = [{"n_spectra": g.n_spectra, "suggested_name": g.suggested_name} for g in groups]
        write_json(json_file, {"groups": shown})
        return
    other: Any = (
        load_classifier(classifier)
        if classifier is not None
        else _accepted(console, data, accept, folders, candidates)
    )
    start = {**data.start, "agent": configuration_for(data, other)}
    model = find_sampler_model(data.start, *folders)
    agent = rebuild_agent(start, model)
    sources = [run.documents for run in chain]
    with Recorder(catalog, on_problem=lambda text: console.print(f"catalog: {text}")) as recorder:
        *_, kept = keep_models(model_directory(recorder.directory), model, other)
        number = scan_id_source(recorder.directory)(None)
        for name, doc in relabelled(sources, data, agent, other, number):
            recorder(name, doc)
        current = recorder.flush(timeout=600)
    derived = load_map([find_run(recorder.uids[-1], where).documents], spectra=False)
    changed = int((derived.votes != data.votes).sum())
    console.print(f"{changed} of {data.n_measured} spectra have another label than in run {data.uid[:8]}")
    lines, figures = summarize(derived)
    for line in lines:
        console.print(line)
    if not agent.should_stop():
        console.print(
            f"to resume this map, name the classifier {kept} as classifier.file in instrument.yml, and resume "
            f"run {derived.uid[:8]}",
            markup=False,
        )
    write_json(
        json_file,
        {
            **figures,
            "derived_from": data.uid,
            "changed": changed,
            "classifier_file": str(kept),
            "catalog_up_to_date": current,
        },
    )


def _unknown_groups(data: RunData, folders: list[Path]) -> tuple[Any, Any, list[NewPhase]]:
    """Return the run's classifier, its unknown spectra and their groups, the largest first."""
    from ..record.resume import find_classifier
    from ..spectra.discovery.new_phases import find_new_phases
    from ..spectra.likelihood.classifier import PhaseClassifier

    known = find_classifier(data.start, *folders)
    if not isinstance(known, PhaseClassifier):
        raise ConfigError("the run's classifier cannot take another phase: only 'likelihood' can")
    unknown = data.spectra_of(known.n_channels)[data.verdicts == "unknown"]
    groups = find_new_phases(unknown, known) if len(unknown) else []
    if not groups:
        raise RecordError(
            f"run {data.uid[:8]} has no group of unknown spectra that look alike ({len(unknown)} unknown)"
        )
    return known, unknown, groups


def _show_group(console: Any, data: RunData, group: NewPhase, candidates: Path | None) -> None:
    """Print the lines of a group of unknown spectra, and what it may be by its composition."""
    from ..analysis.quantification.candidates import candidate_table, match_composition
    from ..analysis.quantification.quantify import quantify
    from ..export.conditions import conditions_of_map
    from ..spectra.axis import EnergyAxis

    lines = ", ".join(f"{line} {energy:.2f} keV" for line, energy in group.lines[:5])
    text = f"{group.n_spectra} unknown spectra alike: {group.suggested_name} ({lines})"
    table = candidate_table(candidates)
    try:
        data.calibrated_spectra()
        axis = EnergyAxis(data.energy_offset_kev, data.energy_width_kev, len(group.mean))
        found = quantify(group.mean * group.n_spectra, axis, conditions_of_map(data))
        matches = [m for m in match_composition(found, table) if m.name and m.probability >= 0.01]
    except SladsError as error:
        matches = []
        text += f"; no composition ({error})"
    if matches:
        text += "; may be " + ", ".join(f"{m.name} ({m.probability:.2f})" for m in matches[:3])
    console.print(text, markup=False)


def _accepted(
    console: Any, data: RunData, name: str | None, folders: list[Path], candidates: Path | None
) -> Any:
    """The run's classifier with the largest group of its unknown spectra as one phase more."""
    from ..spectra.likelihood.new_phase import accept_phase

    known, unknown, groups = _unknown_groups(data, folders)
    for group in groups:
        _show_group(console, data, group, candidates)
    return accept_phase(known, str(name), unknown[groups[0].members])
