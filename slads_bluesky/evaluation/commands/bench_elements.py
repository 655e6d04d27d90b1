"""``slads-bluesky bench elements``: compositions of known glasses and element maps from few pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json
from ...errors import ConfigError

__all__ = ["bench_elements", "register"]

PARTS = ("glasses", "graded", "sampling", "dacite")


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("elements")(bench_elements)


def bench_elements(
    data: Annotated[
        Path | None, typer.Option(help="Folder with nist_msa/, bruker_k309/, adm6005a/ and p45_dacite.npz.")
    ] = None,
    parts: Annotated[str, typer.Option(help=f"Parts, of {','.join(PARTS)}.")] = ",".join(PARTS),
    quick: Annotated[
        bool, typer.Option("--quick", help="One spectrum of each glass, a smaller specimen.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of noise and sampling.")] = 0,
    json_file: Json = None,
) -> None:
    """Measure quantification against certified glasses, and element maps; parts without their data say 'skipped'."""
    from ..benchmarks.dacite import WAYS, dacite_figures, measure_dacite
    from ..benchmarks.element_sampling import element_sampling_figures, measure_element_sampling
    from ..benchmarks.glasses import glass_figures, measure_glasses
    from ..benchmarks.graded import ZONINGS, graded_figures, measure_graded
    from .output import bench_output

    wanted = [part.strip() for part in parts.split(",")]
    for part in wanted:
        if part not in PARTS:
            raise ConfigError(f"--parts takes {', '.join(PARTS)}, not {part!r}")
    if data is not None and not data.is_dir():
        raise ConfigError(f"{data}: there is no such folder")
    with bench_output(json_file, "Elements") as output:
        if "glasses" in wanted:
            rows = measure_glasses(data, spectra=1 if quick else 5, progress=output.progress) if data else []
            output.results["glasses"] = rows
            if rows:
                output.table(
                    "Glasses: first spectrum of each",
                    ("glass", "mode", "total %", "misfit", "error ± sd of each element, %"),
                    _glass_rows(rows),
                    left=("mode", "error ± sd of each element, %"),
                )
                output.figures += glass_figures(rows)
            else:
                output.print("glasses: skipped, no spectra of them")
        if "graded" in wanted:
            graded = measure_graded(64 if quick else 128, seed=seed, progress=output.progress)
            output.results["graded"] = graded
            output.table(
                "Graded phase: root-mean-square error of the mass fraction",
                ("element", "5 % of the pixels", "phase mean", "full raster, 20 × the dose", "inside 90 %"),
                [
                    [r["element"], r["sparse"], r["phase_mean"], r["raster"], f"{r['coverage']:.1%}"]
                    for r in graded
                ],
            )
            output.figures += graded_figures(graded)
        if "sampling" in wanted:
            sampled = measure_element_sampling(
                64 if quick else 128,
                seeds=(seed,) if quick else (seed, seed + 1),
                zonings=("round",) if quick else tuple(ZONINGS),
                progress=output.progress,
            )
            output.results["sampling"] = sampled
            output.table(
                "Zoned crystals, 5 % of the pixels: error of the element maps, in counting standard deviations",
                (
                    "zoning", "seed", "pixels chosen for", "whole map", "crystal", "labels wrong",
                    "of them in the crystal",
                ),
                [
                    [
                        r["zoning"], r["seed"], r["target"], r["error"], r["error_crystal"],
                        f"{r['labels_wrong']:.2%}", f"{r['in_crystal']:.0%}",
                    ]
                    for r in sampled
                ],
                left=("zoning", "pixels chosen for"),
            )  # fmt: skip
            output.figures += element_sampling_figures(sampled)
        if "dacite" in wanted:
            dacite = measure_dacite(data, seed=seed, progress=output.progress) if data else None
            if dacite is None:
                output.print("dacite: skipped, its two maps are not there")
            else:
                output.results["dacite"] = dacite
                output.table(
                    "Dacite, a tenth of the pixels: correlation with the second measurement",
                    ("element", "full raster", "phase means", *WAYS.values(), "inside 90 %, each"),
                    [
                        [
                            *(r[k] for k in ("element", "full_raster", "phase_means")),
                            *(r["maps" + way] for way in WAYS),
                            ", ".join(f"{r['coverage' + way]:.0%}" for way in WAYS),
                        ]
                        for r in dacite["rows"]
                    ],
                )
                output.figures += dacite_figures(dacite)


def _glass_rows(rows: list[dict[str, object]]) -> list[list[object]]:
    shown: dict[tuple[object, object], list[dict[str, object]]] = {}
    first: dict[object, object] = {}
    for row in rows:
        if first.setdefault(row["glass"], row["file"]) == row["file"]:
            shown.setdefault((row["glass"], row["mode"]), []).append(row)
    out: list[list[object]] = []
    for (glass, mode), group in shown.items():
        total = group[0]["total"]
        text = ", ".join(
            f"{r['element']} {_percent(r['error']):+.1f} ± {_percent(r['sd']):.1f}" for r in group
        )
        out.append([glass, mode, None if total is None else _percent(total), group[0]["misfit"], text])
    return out


def _percent(value: object) -> float:
    assert isinstance(value, float)
    return 100.0 * value
