"""``slads-bluesky paper``: the paper's experiments, by its method and by ours, in one table; and measured maps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...cli.options import Json
from ...errors import ConfigError, DataError, SladsError
from ...files import atomic_write, check_writable
from ...phantom.paper_results import PAPER

if TYPE_CHECKING:
    from ..paper.schedule import Step
    from .output import Output

__all__ = ["paper", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(paper)


def paper(
    quick: Annotated[bool, typer.Option("--quick", help="The two small experiments, one seed.")] = False,
    experiment: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Objects of each kind.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first object; the others follow.")] = 0,
    out: Annotated[Path, typer.Option(help="Directory of results, figures and records.")] = Path(
        "paper-results"
    ),
    real: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Measured map (.npz, .hspy, .bcf), or a folder of such."),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Second measurement of the same field, which judges the maps of --real."
        ),
    ] = None,
    simulated: Annotated[
        bool, typer.Option(help="Run the paper's experiments; without them, only the maps of --real.")
    ] = True,
    phases: Annotated[
        int, typer.Option(min=2, max=12, help="Phases to look for in a measured map that names none.")
    ] = 4,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Trials on soft devices, with --quick all, at a time; alone, each has all cores."
        ),
    ] = 2,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as the README shows it.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Run the paper's experiments (3.2.1, 3.2.2); results are kept, so an interrupted run can be resumed."""
    import logging

    from ... import __version__
    from ...spectra.io.maps import list_maps
    from ..paper.schedule import QUICK
    from .output import bench_output

    chosen = tuple(dict.fromkeys(experiment or (QUICK if quick else PAPER)))
    unknown = [name for name in chosen if name not in PAPER]
    if unknown:
        raise ConfigError(f"unknown experiment '{unknown[0]}'; known: {', '.join(PAPER)}")
    if not simulated and real is None:
        raise ConfigError("--no-simulated leaves nothing to do without --real DIR")
    if not simulated and markdown is not None:
        raise ConfigError(
            "--markdown writes the table of the paper's experiments, which --no-simulated omits"
        )
    one = real is not None and (real.is_file() or real.suffix == ".zspy")
    if judge is not None and not one:
        raise ConfigError("--judge FILE needs --real FILE, the map of the same field that it judges")
    if judge is not None and not judge.exists():
        raise DataError(f"{judge}: there is no such file")
    check_writable(json_file)
    check_writable(markdown)
    maps = [] if real is None else [real] if one else list_maps(real)
    # main() prints why a run failed; bluesky would print its traceback as well
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)
    with bench_output(json_file, "Figures of the paper's experiments, medians over the seeds") as output:
        output.results["version"] = __version__
        if simulated:
            numbers = range(seed, seed + (1 if quick else seeds))
            output.results["experiments"] = _experiments(output, out, chosen, numbers, jobs, markdown, quick)
        if not maps:
            output.print("measured maps: skipped, need --real DIR")
            output.results["real"] = None
        else:
            output.results["real"] = _all_real(output, out, maps, seed, phases, judge)


def _experiments(
    output: Output,
    out: Path,
    chosen: tuple[str, ...],
    seeds: range,
    jobs: int,
    markdown: Path | None,
    quick: bool,
) -> dict[str, Any]:
    from ..paper.campaign import Campaign
    from ..paper.rival import RIVAL, RIVAL_COLUMNS, rival_rows
    from ..paper.schedule import steps
    from ..paper.table import as_table, paper_figures, smoother
    from ..paper.table import markdown as as_markdown
    from ..paper.trial import METHODS

    plan = steps(chosen, seeds)
    campaign = Campaign(plan, out, jobs, together=quick)
    schedule = campaign.schedule

    def started(step: Step) -> None:
        title = METHODS[step.method].title if step.method in METHODS else "other samplers"
        left = f", about {max(1, round(schedule.left_s / 60))} min left" if schedule.n_done else ""
        output.print(
            f"{schedule.n_done} of {schedule.n_steps} done{left}; {step.experiment}, {title}, seed {step.seed}"
        )

    found: dict[str, Any] = {}
    tables = []
    for whole_system in (True, False):
        group = [step for step in plan if step.whole_system == whole_system]
        campaign.run(group, started)
        for name in dict.fromkeys(step.experiment for step in group):
            results: dict[str, list[Mapping[str, Any]]] = {}
            for step in (s for s in group if s.experiment == name):
                results.setdefault(step.method, []).append(campaign.results[step])
            found[name], (title, lines) = _show(output, out, name, results)
            rival = rival_rows(name, results[RIVAL], results["ours"])
            output.table(f"{name}: the rival", RIVAL_COLUMNS, rival)
            found[name]["rival"] = [dict(of) for of in results[RIVAL]]
            output.figures += paper_figures(name, found[name])
            remark = ""
            if found[name]["paper"]["fraction_at_paper_td"]["median"] is None:
                coarser = campaign.smoother(name, seeds, partial(_search_started, output, name))
                found[name]["smoother"] = [dict(of) for of in coarser]
                remark = smoother(name, [of["boundary_fraction"] for of in coarser])
                output.print(remark)
            tables.append((title, lines, "\n\n".join(filter(None, (remark, as_table(RIVAL_COLUMNS, rival))))))
            if markdown is not None:
                with atomic_write(markdown) as page:
                    page.write_text(as_markdown(tables), encoding="utf-8")
    return found


def _search_started(output: Output, experiment: str, seed: int) -> None:
    output.print(f"{experiment}, seed {seed}: how smooth must it be for the paper's method?")


def _show(
    output: Output, out: Path, name: str, results: Mapping[str, list[Mapping[str, Any]]]
) -> tuple[dict[str, Any], tuple[str, list[list[str]]]]:
    """Print one experiment's table and draw its figures; return its figures and the table."""
    from ...export.figures import four_panels
    from ..paper.charts import charts
    from ..paper.table import COLUMNS, heading, rows, summarise
    from ..paper.trial import METHODS, REFERENCES

    # samplers that need no spectra are given the paper's dose per pixel
    doses = [trial["dose_nC"] / trial["n_measured"] for trial in results["paper"]]
    curves = {
        key: [
            [[n, n * dose, td] for n, td in trial["curves"][key]]
            for trial, dose in zip(results["references"], doses, strict=True)
        ]
        for key in REFERENCES
    }
    for method, about in METHODS.items():
        curves[method] = [trial["curve"] for trial in results[method]]
        first = results[method][0]["maps"]
        four_panels(
            out / f"{name}-{method}.png",
            title=f"{name}, {about.title}: {about.about}",
            **{**first, "phases": tuple(first["phases"])},
        )
    charts(out / f"{name}-curves.png", name, curves)
    summaries = {method: summarise(results[method]) for method in METHODS}
    b = [trial["boundary_fraction"] for trial in results["paper"]]
    raster = results["paper"][0]["raster_dose_nC"]
    title, lines = heading(name, b), rows(name, summaries, raster)
    several = ": median (worst)" if len(b) > 1 else ""
    output.table(f"{title}{several}", COLUMNS, lines)
    return {"boundary_fractions": b, "raster_dose_nC": raster, **summaries}, (title, lines)


def _all_real(
    output: Output, out: Path, maps: list[Path], seed: int, phases: int, judge: Path | None
) -> list[dict[str, Any]]:
    """Map one measured map after the other; one that cannot be used is named and does not stop the others.

    Raises
    ------
    DataError
        If none can be used.
    """
    found, unusable = [], []
    for path in maps:
        try:
            found.append(_real(output, out, path, seed, phases, judge))
        except SladsError as error:
            output.print(f"{path.name}: skipped, cannot be used: {error}")
            unusable.append({"map": path.name, "error": str(error)})
    if not found:
        raise DataError(f"no map of --real can be used; the last: {unusable[-1]['error']}")
    return [*found, *unusable]


def _real(
    output: Output, out: Path, path: Path, seed: int, phases: int, judge: Path | None
) -> dict[str, Any]:
    """Map one measured map, or load its kept result; print its table and draw its curves."""
    from ..paper.charts import real_chart
    from ..paper.fingerprint import fingerprint
    from ..paper.measured_maps import map_real, real_figures, real_identity, real_rows
    from ..paper.trial import METHODS
    from ..process import in_own_process
    from ..store import TrialStore

    store = TrialStore(out, f"{fingerprint(METHODS['ours'])}-{real_identity(path, phases, judge)}")
    key = f"real-{path.name}-{seed}"
    result = store.load(key)
    if result is None:
        output.print(f"{path.name}: mapping")
        result = in_own_process(map_real, path, seed, phases, judge)
        store.save(key, result)
    rows, columns = result["shape"]
    own = result["agrees_with_its_labels"]
    against = (
        "agreement with the map of all pixels, without those that are not ok"
        if judge is None
        else f"agreement with {judge.name} where it is sure, {result['judged']:.0%} of the pixels (the full map: "
        f"{result['full']:.2%})"
    )
    title = (
        f"{path.name}: {rows} × {columns}, {result['counts_per_pixel']:.0f} counts per pixel, boundary fraction "
        f"{result['boundary_fraction']:.3f}, {len(result['phases'])} phases from {result['phases_from']}; "
        f"{100 * result['not_ok']:.1f} % of the spectra not ok"
        + ("" if own is None else f"; {100 * own:.1f} % of the map agree with its file's labels")
        + f"\n{against}: part of the pixels, part of the full map's dose"
    )
    asked = next(iter(result["methods"].values()))["reached"]
    head = ("", *(f"{100 * float(a):.0f} %" for a in asked), "at the end")
    output.table(title, head, real_rows(result))
    output.figures += real_figures(result)
    real_chart(out / f"real-{path.stem}.png", result)
    return {k: v for k, v in result.items() if k != "program_version"}
