"""``slads-bluesky bench joint``: the joint sampler beside a fast raster with the same inference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...cli.options import Json

if TYPE_CHECKING:
    from .output import Output

__all__ = ["bench_joint", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("joint")(bench_joint)


def bench_joint(
    objects: Annotated[
        str, typer.Option(help="Objects, separated by commas; of 1024² one seed, for the dose only.")
    ] = "pbsn-128,powder-256",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 … of each object.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="One seed.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with p45_dacite.npz and p45/, to denoise a real map."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep each trial here; trials that it holds are not run again."),
    ] = None,
    json_file: Json = None,
) -> None:
    """Compare what a dose, or a time, gives: visits of the joint sampler, or a raster of every pixel."""
    from ...errors import ConfigError
    from ..benchmarks.joint import GOALS_NC, joint_figures, joint_results, joint_trials
    from ..benchmarks.joint_dwell import RULES, dwell_figures
    from ..benchmarks.joint_record import record_figures
    from ..benchmarks.trials import make_trials
    from .output import bench_output

    names = [name.strip() for name in objects.split(",") if name.strip()]
    if unknown := [name for name in names if name not in GOALS_NC]:
        raise ConfigError(f"unknown object '{unknown[0]}'; known: {', '.join(GOALS_NC)}")
    with bench_output(json_file, "Figures of the joint inference, medians over the seeds") as output:
        trials = joint_trials(names, range(1 if quick else seeds))
        results = joint_results(make_trials(trials, _store(keep), output.progress))
        output.progress("adaptive dwell beside known spectra", 1.0)
        figures, dwells = dwell_figures()
        output.results = {"results": results, "dwell": dwells, "dacite": None}
        for result in results:
            _show(output, result)
        for name, rows in dwells.items():
            output.table(
                f"{name}: mean counts until a phase is sure to 1 - ε",
                ("ε", *RULES.values(), "wrong"),
                [[row["error"], *(row[rule] for rule in RULES), row["wrong"]] for row in rows],
            )
        output.figures = joint_figures(results) + figures + record_figures()
        if data is None:
            output.print("measured map: skipped, needs --data DIR")
            return
        from ..benchmarks.joint_dacite import denoised_figures, measure_denoised

        output.results["dacite"] = found = measure_denoised(data, output.progress)
        output.figures += denoised_figures(found)


def _store(keep: Path | None) -> Any:
    if keep is None:
        return None
    from ...codehash import code_hash
    from ...sampling.joint.model import shipped_joint_model
    from ..benchmarks import joint_runs
    from ..store import TrialStore

    return TrialStore(keep, f"{code_hash(joint_runs.__name__)[:16]}-{shipped_joint_model().sha256[:16]}")


def _show(output: Output, result: Mapping[str, Any]) -> None:
    """Print what each dose, and each time, gave on one object."""
    rows = result["raster"]["rows"]
    ways = [way for way in ("dose", "oracle", "lists", "points") if way in result]
    titles = {
        "dose": "ours, dose", "oracle": "an oracle, dose", "lists": "ours, time by lists",
        "points": "ours, time point by point",
    }  # fmt: skip
    lines = []
    for i, row in enumerate(rows):
        ours = result["dose"]["at"][i]
        lines.append(
            [
                f"{row['dose_nc']:g}", f"{row['counts']:.2f}", f"{row['time_s']:.3g}", f"{row['alone']:.4f}",
                _td(row["tuned"]), _td(row["reference"]["td"]), _td(row["best"]["td"]),
                *(_td(None if (at := result[way]["at"][i]) is None else at["td"]) for way in ways),
                "–" if ours is None else f"{ours['visits']}",
            ]
        )  # fmt: skip
    output.table(
        f"{result['object']}, seed {result['seed']}: total distortion at equal dose, and (by time) at equal time",
        (
            "dose, nC", "raster: counts a pixel", "raster, s", "alone", "mean field by truth", "Potts", "our best",
            *(titles[way] for way in ways), "visits",
        ),
        lines,
    )  # fmt: skip


def _td(value: float | None) -> str:
    return "–" if value is None else f"{value:.5f}"
