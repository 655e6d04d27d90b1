"""``slads-bluesky bench mixed``: maps of specimens whose boundaries an interaction volume mixes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...cli.options import Json

__all__ = ["mixed", "register"]


def register(app: typer.Typer) -> None:
    """Add ``mixed`` to `app`."""
    app.command()(mixed)


def mixed(
    objects: Annotated[str, typer.Option(help="Simulated objects, with commas between.")] = "pbsn-128",
    sigmas: Annotated[
        str, typer.Option(help="Standard deviations of the interaction volume, pixels; 0: sharp.")
    ] = "0,1,2",
    dwells: Annotated[
        str, typer.Option(help="fixed, label (the largest part is sure), position (so is the boundary).")
    ] = "fixed,label,position",
    fraction: Annotated[
        float | None, typer.Option(help="Part of the pixels; default 10 %, powders 7 %.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Specimens of each row.")] = 3,
    imperfect: Annotated[bool, typer.Option("--imperfect", help="With all imperfections, too.")] = False,
    each: Annotated[bool, typer.Option("--each", help="With each imperfection on its own, too.")] = False,
    looks: Annotated[
        str, typer.Option(help="Fractions at which the distortion is measured on the way, with commas.")
    ] = "",
    spectra: Annotated[
        int,
        typer.Option(min=0, help="Spectra at each number of counts, for posterior and verdicts; 0: none."),
    ] = 1000,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep each map's figures here; those it holds are not measured again."
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Map specimens with mixed boundaries, and compare with the majority phase and the sharp map."""
    from ...errors import ConfigError
    from ..benchmarks.mixed import IMPERFECT, POSITION_SD, Row, classifier_of, measure_rows, mixed_figures
    from ..benchmarks.mixed_bound import bound_figures
    from ..benchmarks.mixed_spectra import spectrum_figures
    from .output import bench_output

    try:
        widths = [float(word) for word in sigmas.split(",")]
        on_the_way = sorted(float(word) for word in looks.split(",") if word)
    except ValueError:
        raise ConfigError(
            f"sigmas and looks are numbers with commas between, not {sigmas!r}, {looks!r}"
        ) from None
    kinds = dwells.split(",")
    if unknown := sorted(set(kinds) - {"fixed", *POSITION_SD}):
        raise ConfigError(f"no dwell '{unknown[0]}'; there are fixed, {', '.join(POSITION_SD)}")
    wanted = [which for which in IMPERFECT if (imperfect if which == "all" else each)]
    rows = [
        Row(name, sigma, dwell, which)  # type: ignore[arg-type]
        for name in objects.split(",")
        for sigma in widths
        for dwell in kinds
        if sigma > 0 or dwell != "position"
        for which in ("", *(wanted if sigma > 0 else ()))
    ]
    with bench_output(json_file, "Mixed boundaries") as output:
        results = measure_rows(
            rows, seeds, fraction, looks=on_the_way, store=_store(keep), progress=output.progress
        )
        output.results = {"rows": results, "spectra": {}}
        keys = (
            "td_majority",
            "td_sharp",
            "misclassification",
            "mixed",
            "dose_nc",
            "area_error",
            "boundary_px",
        )
        output.table(
            f"Medians of {seeds} seeds",
            ("", "majority", "sharp", "misclassified", "mixed", "dose, nC", "areas", "boundary, px"),
            [[r["row"], *(r[key]["median"] for key in keys)] for r in results],
        )
        output.figures = mixed_figures(results)
        known = {name: classifier_of(name) for name in dict.fromkeys(row.object_name for row in rows)}
        output.figures += bound_figures(results, known, {1.0: 0.0015, 2.0: 0.0030})
        if spectra:
            output.progress("posterior and verdicts", 1.0)
            figures, output.results["spectra"] = spectrum_figures(known, spectra, wanted)
            output.figures += figures


def _store(keep: Path | None) -> Any:
    if keep is None:
        return None
    from ...codehash import code_hash
    from ...sampling.learned.model import shipped_model
    from ..benchmarks import mixed as measuring
    from ..store import TrialStore

    return TrialStore(keep, f"{code_hash(measuring.__name__)[:16]}-{shipped_model().sha256[:16]}")
