"""``slads-bluesky demo``: a map of a simulated object, end to end, beside the paper's figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import ConfigError
from ..files import check_writable, write_json
from ..phantom.paper_results import PAPER, PaperResult
from ..terminal import make_console, working
from .options import Blur, Imperfect

__all__ = ["demo", "register"]


CAP_S = 10.0
"""The longest live time of a spectrum with adaptive dwell, s: the paper's fixed one."""


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(demo)


def demo(
    object_name: Annotated[
        str,
        typer.Argument(
            metavar="OBJECT", help="pbsn-128, pbsn-1024, powder-256, powder-1024, or another size."
        ),
    ] = "pbsn-128",
    fraction: Annotated[
        float | None, typer.Option(help="Part of the pixels to measure; default the paper's for this object.")
    ] = None,
    sampler: Annotated[
        str,
        typer.Option(
            help="learned, joint (plans the dose of each visit), slads (the paper's), random or low-discrepancy."
        ),
    ] = "learned",
    classifier: Annotated[str, typer.Option(help="likelihood, or paper: its two networks.")] = "likelihood",
    dwell: Annotated[
        str,
        typer.Option(help="Live time of each spectrum in s, or 'adaptive': as long as the classifier needs."),
    ] = "10",
    error: Annotated[
        float, typer.Option(help="With adaptive dwell: the accepted probability of a wrong phase.")
    ] = 1e-3,
    soft: Annotated[
        bool, typer.Option("--soft", help="In-process devices instead of an IOC over Channel Access.")
    ] = False,
    lists: Annotated[
        bool,
        typer.Option(
            "--lists",
            help="Visit the points in lists, at the hardware's own pace; a fixed dwell is real time then.",
        ),
    ] = False,
    stop_at: Annotated[
        float | None,
        typer.Option(help="Let the stop rule end the map at this total distortion, if that comes first."),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="With --stop-at: end only once the distortion is not above it with this probability."
        ),
    ] = None,
    smallest_feature: Annotated[
        int | None,
        typer.Option(
            help="Measure gaps until 99 % of the patches of this many pixels hold a measured pixel.", min=1
        ),
    ] = None,
    minimise: Annotated[
        Literal["dose", "time", "both"] | None,
        typer.Option(help="What the sampler joint sets the fall of the error against; default dose."),
    ] = None,
    blur: Blur = None,
    imperfect: Imperfect = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Know nothing of the specimen: phases are found on the way.")
    ] = False,
    rival: Annotated[
        bool,
        typer.Option(
            help="Show what a fast raster gives at the same dose and in the same time; likelihood only."
        ),
    ] = True,
    every_phase_over: Annotated[
        float | None,
        typer.Option(
            help="With --unknown: end once every phase over this part of the area is found with 95 %."
        ),
    ] = None,
    bse: Annotated[
        bool,
        typer.Option("--bse", help="Scan a backscatter frame first; it guides the map as far as it helps."),
    ] = False,
    target: Annotated[
        Literal["labels", "elements"],
        typer.Option(help="What pixels are chosen for: the map of the phases, or the maps of the elements."),
    ] = "labels",
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOLS",
            help="With --target elements: which, with commas; default all of the specimen's.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the object, the training and the start of the map.")] = 0,
    catalog: Annotated[
        Path | None, typer.Option(help="Directory of the record; default in the user's data directory.")
    ] = None,
    fsync: Annotated[bool, typer.Option("--fsync", help="Wait for the disk after every document.")] = False,
    spectra: Annotated[
        Literal["inline", "hdf5"],
        typer.Option(help="Spectra in the documents, or in an HDF5 file beside them."),
    ] = "inline",
    figure: Annotated[
        Path | None, typer.Option(help="Where to write the four panels; default beside the record.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON too.")
    ] = None,
) -> None:
    """Map a simulated specimen adaptively, record everything, and show how good the map is."""
    import logging
    import resource

    from ..agent import SladsAgent
    from ..callbacks.progress import MapProgress
    from ..callbacks.verdict_watch import VerdictWatch
    from ..export.figures import four_panels
    from ..modelstore import keep_models
    from ..phantom import make_object
    from ..phantom.imperfections import imperfections_of
    from ..record import Recorder
    from ..record.scan_id import scan_id_source
    from ..simulation.models import prepare_models
    from ..simulation.run import make_agent, run_map
    from ..simulation.unknown import COUNTS, in_words_of_the_truth, unknown_agent, unknown_models
    from ..spectra.dwell_counts import CountTarget

    console = make_console()
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)  # main() reports why a run failed
    wanted = fraction if fraction is not None else _paper(object_name).fraction
    if not 0 < wanted <= 1:
        raise ConfigError(f"fraction must be above 0 and at most 1, not {wanted:g}")
    dwell_s = _dwell(dwell)
    if lists and classifier == "paper":
        raise ConfigError(
            "--lists: the paper's networks know spectra of one live time, and lists give real time; "
            "use --classifier likelihood"
        )
    if unknown and sampler != "learned":
        raise ConfigError("--unknown takes the learned sampler")
    if every_phase_over is not None and not unknown:
        raise ConfigError("--every-phase-over says nothing without --unknown: the phases are known")
    if target == "elements" and (unknown or sampler != "learned" or classifier != "likelihood" or blur):
        raise ConfigError(
            "--target elements takes --sampler learned and --classifier likelihood, no --unknown, no --blur"
        )
    if elements is not None and target != "elements":
        raise ConfigError("--elements names the elements of --target elements")
    check_writable(json_file)
    check_writable(figure)

    phantom = make_object(object_name, seed, imperfections_of(imperfect, blur))
    console.print(
        f"{object_name}, seed {seed}: {phantom.shape[0]} × {phantom.shape[1]} × {phantom.axis.n_channels}, "
        f"phases {', '.join(phantom.phases)}, boundary fraction {phantom.boundary_fraction:.3f}"
    )
    with Recorder(
        catalog, fsync=fsync, spectra=spectra, on_problem=lambda text: console.print(f"catalog: {text}")
    ) as recorder:
        agent: SladsAgent
        if unknown:
            models = unknown_models(phantom)
            keep_models(recorder.directory / "models", models.sampler)
            agent = finder = unknown_agent(
                phantom,
                models,
                fraction=wanted,
                seed=seed,
                part=every_phase_over,
                named=True,
                counts=None if dwell_s else COUNTS,
            )
        else:
            with working(console, "preparing models") as show:
                models = prepare_models(
                    object_name,
                    sampler=sampler,
                    classifier=classifier,
                    seed=seed,
                    progress=lambda stage, fraction: show(stage),
                )
            keep_models(recorder.directory / "models", models.sampler, models.classifier)
            agent = make_agent(
                phantom,
                models,
                fraction=wanted,
                seed=seed,
                stop_at=stop_at,
                confidence=confidence,
                smallest_feature=smallest_feature,
                elements=_elements(elements, phantom) if target == "elements" else (),
                minimise=minimise,
                lists=lists,
            )
        watches = [] if unknown else [VerdictWatch(console.print)]
        result = run_map(
            phantom,
            models,
            agent,
            soft=soft,
            dwell_s=dwell_s or CAP_S,
            error=None if dwell_s or unknown else error,
            stop_rule=CountTarget(COUNTS[1], CAP_S) if unknown and dwell_s is None else None,
            batch="auto" if lists else None,
            subscribers=[recorder, MapProgress(agent.distortion_estimate), *watches],
            scan_id_source=scan_id_source(recorder.directory),
            bse=bse,
        )
        if unknown:
            found = [phase for phase in finder.discovery.phases if not phase.forbidden]
            hidden, bound = finder.discovery.undiscovered()
            console.print(
                f"{len(found)} phases found, of {len(phantom.phases)}; those not found hold {hidden:.2%} of it, "
                f"under {bound:.2%} with 95 % (slads-bluesky phases {result.uid[:8]} shows what they may be)"
            )
            result = in_words_of_the_truth(result)
        with working(console, "bringing the catalog up to date"):
            current = recorder.flush(timeout=600)
    picture = figure if figure is not None else recorder.directory / f"{result.uid[:8]}.png"
    four_panels(
        picture,
        result.measured,
        result.reconstruction,
        phantom.majority,
        phantom.phases,
        f"{object_name}, run {result.uid[:8]}",
    )

    figures: dict[str, Any] = {
        **result.figures(),
        "saved_against_raster": phantom.truth.size * phantom.full_dwell_s / result.statistics.live_time_s,
        "soft": soft,
        "image": agent.image_use,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "catalog_up_to_date": current,
    }
    if (
        rival
        and not unknown
        and classifier == "likelihood"
        and getattr(phantom, "imperfections", None) is None
    ):
        with working(console, "mapping the rival, a fast raster"):
            figures["rival"] = _rivals(phantom, models.classifier, result, seed)
    console.print(_table(figures, PAPER.get(object_name)))
    if "rival" in figures:
        console.print(_rival_table(figures))
    console.print(f"figure: {picture}", soft_wrap=True)
    console.print(
        f"\nOpen it from Python:\n\n    from slads_bluesky.record import open_catalog\n"
        f"    run = open_catalog({str(recorder.directory)!r})[{result.uid[:8]!r}]\n"
        f"    run['primary']['eds_spectrum'].read()  # ({figures['n_measured']}, {phantom.axis.n_channels}) counts\n",
        markup=False,
        soft_wrap=True,
    )
    write_json(json_file, figures)


def _elements(text: str | None, phantom: Any) -> list[str]:
    """Elements that are named, or all that the specimen's phases hold and the detector sees."""
    if text is not None:
        return [symbol.strip() for symbol in text.split(",") if symbol.strip()]
    return sorted({symbol for made in phantom.recipe.compositions.values() for symbol in _symbols(made)})


def _symbols(composition: Any) -> tuple[str, ...]:
    from ..spectra.physics.composition import Composition

    return Composition.parse(composition).symbols


def _rivals(phantom: Any, classifier: Any, result: Any, seed: int) -> dict[str, dict[str, float]]:
    """What a fast raster gives at a map's dose, and in its time: by the dwells, and with all time besides."""
    from dataclasses import asdict

    from ..simulation.rival import fast_raster

    statistics = result.statistics
    counts, real = float(statistics.counts.sum()), statistics.real_time_s
    wall = real + float(statistics.point_s.sum())
    of_dose = counts / phantom.truth.size
    return {
        "dose": asdict(fast_raster(phantom, classifier, of_dose, seed)),
        "time": asdict(fast_raster(phantom, classifier, of_dose * wall / real, seed)),
    }


def _rival_table(figures: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(caption="a fast raster of every pixel, without settle times", min_width=64)
    table.add_column("total distortion")
    for column in ("this run", "raster, Potts reference", "raster, our network", "counts a pixel"):
        table.add_column(column, justify="right")
    for key, title in (("dose", "at the same dose"), ("time", "in the same time")):
        raster = figures["rival"][key]
        table.add_row(
            title, f"{figures['td']:.4f}", f"{raster['reference']:.4f}", f"{raster['network']:.4f}",
            _short(raster["counts"]),
        )  # fmt: skip
    return table


def _dwell(text: str) -> float | None:
    """Seconds, or None for adaptive."""
    if text == "adaptive":
        return None
    try:
        seconds = float(text)
    except ValueError:
        raise ConfigError(f"dwell must be a live time in s or 'adaptive', not '{text}'") from None
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"dwell must be a positive live time in s, not {text}")
    return seconds


def _paper(object_name: str) -> PaperResult:
    """Paper's figures for an object, or for the one of its kind that is nearest in size."""
    if object_name in PAPER:
        return PAPER[object_name]
    kind, _, size = object_name.partition("-")
    alike = {
        int(name.partition("-")[2]): result for name, result in PAPER.items() if name.startswith(kind + "-")
    }
    if not alike or not size.isdigit():
        return PAPER["pbsn-128"]  # make_object will say what is wrong with the name
    return alike[min(alike, key=lambda n: abs(n - int(size)))]


def _short(value: float) -> str:
    """Four digits, without powers of ten up to a million."""
    return f"{value:.0f}" if 1e4 <= value < 1e6 else f"{value:.4g}"


def _saved(paper: PaperResult | None) -> str:
    return f"{1 / paper.fraction:.0f} ×" if paper else "–"


def _table(figures: dict[str, Any], paper: PaperResult | None) -> Any:
    from rich.table import Table

    n, wall = figures["n_measured"], figures["wall_s"]
    nan = "–"
    rows = [
        ("total distortion (Eq. 14)", f"{figures['td']:.4f}", nan),
        ("  against the majority phase", f"{figures['td_majority']:.4f}", nan),
        (
            "  label 0 as a class of the truth",
            f"{figures['td_paper_definition']:.4f}",
            f"{paper.td:.4f}" if paper else nan,
        ),
        (
            "misclassification rate",
            f"{figures['misclassification']:.4f}",
            f"{paper.misclassification:.4f}" if paper else nan,
        ),
        ("false alarms", f"{figures['false_alarm']:.4f}", nan),
        ("fraction measured", f"{figures['fraction']:.4f}", f"{paper.fraction:.2f}" if paper else nan),
        ("pixels measured", f"{n}", nan),
        (
            "dwell on the specimen",
            f"{_short(figures['dwell_total_s'])} s",
            f"{paper.dwell_s * n:.0f} s" if paper else nan,
        ),
        ("beam on the specimen (real time)", f"{_short(figures['beam_on_total_s'])} s", nan),
        ("dose", f"{_short(figures['dose_nC'])} nC", nan),
        ("dose a pixel", f"{_short(figures['dose_nC'] / n)} nC", nan),
        ("saved against a raster at 10 s a pixel", f"{figures['saved_against_raster']:.0f} ×", _saved(paper)),
        (
            "dwell a pixel",
            f"{_short(figures['dwell_total_s'] / n)} s",
            f"{paper.dwell_s:.2f} s" if paper else nan,
        ),
        ("time a point besides the dwell", f"{figures['point_ms']['median']:.1f} ms", nan),
        ("time a decision", f"{figures['decision_us']['median']:.0f} µs", nan),
        ("the whole map besides the dwell", f"{wall:.1f} s", nan),
    ]
    table = Table(
        caption=f"run {figures['uid'][:8]}, scan {figures['scan_id']}: {figures['stop_reason']}", min_width=64
    )
    table.add_column("")
    table.add_column("this run", justify="right")
    table.add_column("the paper", justify="right")
    for row in rows:
        table.add_row(*row)
    return table
