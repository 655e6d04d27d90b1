"""``slads-bluesky bench sampling``: samples needed, distortion left and time per decision, of every sampler.

Objects are generated with seeds that no training uses; natural images are those that scikit-image carries,
segmented by multi-Otsu, and SLADS is trained on other natural ones.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...cli.options import Json

if TYPE_CHECKING:
    from .output import Output

__all__ = ["kept_trials", "register"]

NATURAL, START, HUGE, GAPS, NOISE = "natural", "start", "huge", "gaps", "noise"
"""Parts of the table beside its objects."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sampling")(bench_sampling)


def bench_sampling(
    quick: Annotated[bool, typer.Option("--quick", help="128² and 256² only, few natural images")] = False,
    seed: Annotated[int, typer.Option(min=0, help="first seed of the objects and of training")] = 0,
    samplers: Annotated[
        str | None,
        typer.Option(
            help="samplers, with commas between  [default: slads, learned, and adapted: the learned one adapted to "
            "the images that slads is trained on, on the objects only]"
        ),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            help="only these parts, with commas between: pbsn-128, powder-256, pbsn-1024, powder-1024, natural, "
            "start (start-up at 1024²), huge (the 4096² grid), gaps (patches that a map can miss), noise (wrong "
            "labels)"
        ),
    ] = None,
    pictures: Annotated[
        str | None, typer.Option(help="only these natural images, with commas between: grass, gravel …")
    ] = None,
    huge: Annotated[bool, typer.Option(help="with the 4096² grid (not with --quick)")] = True,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="keep each trial here; trials that it holds are not run again"),
    ] = None,
    json_file: Json = None,
) -> None:
    """Print fractions needed, distortion left, decision times, coverage of the interval, start-up and memory."""
    from ...sampling.factory import check_name, sampler_names
    from ..benchmarks import gaps, large, natural, noise, sampling_figures
    from ..benchmarks import objects as generated
    from ..benchmarks.coverage import coverage
    from ..benchmarks.trace import ADAPTED
    from ..benchmarks.trials import make_trials
    from .output import bench_output

    names = (
        [name.strip() for name in samplers.split(",")]
        if samplers
        else [name for name in sampler_names() if name in ("slads", "learned")] + [ADAPTED]
    )
    parts = _parts(objects, quick, huge)
    of_program = [name for name in names if name != ADAPTED]
    for name in of_program:
        check_name(name)
    rows = [row for row in generated.ROWS if row.name in parts]
    chosen = _pictures(pictures) if pictures else natural.PICTURES[: 3 if quick else None]
    sides = [side for part, side in ((START, large.START), (HUGE, large.HUGE)) if part in parts]
    trials = [
        *generated.object_trials(rows, names, seed),
        *natural.natural_trials(chosen if NATURAL in parts else (), of_program, seed),
        *(gaps.gap_trials(of_program, seed) if GAPS in parts else ()),
        *(noise.noise_trials(seed) if NOISE in parts and "learned" in names else ()),
        *large.large_trials([name for name in of_program if name in ("slads", "learned")], sides, seed),
    ]
    with bench_output(json_file, "Figures of the samplers, medians") as output:
        results = make_trials(trials, kept_trials(keep), output.progress)
        found = output.results
        found.update(seed=seed, quick=quick, samplers=names)
        found["objects"] = [
            generated.summarise(row, name, seed, results, generated.SEEDS) for row in rows for name in names
        ]
        found["natural"] = natural.summarise(of_program, seed, results)
        looks: dict[tuple[str, str], list[bool]] = {}
        for row in found["objects"]:
            kind, _, size = row["object"].partition("-")
            looks[row["sampler"], f"{kind} {size}²"] = row.pop("covered")
        for row in found["natural"]:
            for name, held in row.pop("covered").items():
                looks.setdefault((name, f"natural, {row['phases']} phases"), []).extend(held)
        found["coverage"] = coverage(looks)
        found["large"] = [result for result in results.values() if "side" in result]
        for show in (_show_objects, _show_natural, _show_coverage, _show_large):
            show(output, found)
        output.figures = [*sampling_figures.sampling_figures(found), *gaps.gap_figures(results)]
        output.figures += noise.noise_figures(results)


def _parts(objects: str | None, quick: bool, huge: bool) -> set[str]:
    from ...errors import ConfigError
    from ..benchmarks.objects import ROWS

    known = [*(row.name for row in ROWS), NATURAL, START, HUGE, GAPS, NOISE]
    if objects is not None:
        chosen = [name.strip() for name in objects.split(",")]
        for name in chosen:
            if name not in known:
                raise ConfigError(f"unknown part '{name}' of the table; known: {', '.join(known)}")
        return set(chosen)
    if quick:
        return {NATURAL, GAPS, NOISE, *(row.name for row in ROWS if row.size < 1024)}
    return set(known) - (set() if huge else {HUGE})


def _pictures(text: str) -> tuple[str, ...]:
    from ...errors import ConfigError
    from ..benchmarks.natural import PICTURES

    chosen = tuple(name.strip() for name in text.split(","))
    for name in chosen:
        if name not in PICTURES:
            raise ConfigError(f"unknown natural image '{name}'; known: {', '.join(PICTURES)}")
    return chosen


def kept_trials(keep: Path | None) -> Any:
    """Folder of trials; results of other code or of another general model are not used."""
    if keep is None:
        return None
    from ...codehash import code_hash
    from ...sampling.learned.model import shipped_model
    from ..store import TrialStore

    code = code_hash(__name__)
    return TrialStore(keep, f"{code[:16]}-{shipped_model().sha256[:16]}")


def _text(value: float | None, fraction: bool) -> str:
    return "not reached" if value is None else f"{value:.2%}" if fraction else f"{value:.5f}"


def _micro(values: list[float | None]) -> str:
    middle = _middle(values)
    return "–" if math.isnan(middle) else f"{middle:.0f}"


def _middle(values: list[float | None]) -> float:
    """Median of the values that are not None; NaN if there are none."""
    import statistics

    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan


def _show_objects(output: Output, found: dict[str, Any]) -> None:
    if not found["objects"]:
        return
    lines = []
    for row in found["objects"]:
        kind, _, size = row["object"].partition("-")
        reach = row["asked"].startswith("fraction")
        lines.append(
            [
                f"{kind} {size}²",
                f"{_middle(row['boundary_fraction']):.3f}",
                row["asked"],
                row["sampler"],
                f"{_text(row['median'], reach)} ({_text(row['worst'], reach)})",
                f"≤ {_text(row['goal'], reach)}",
                _micro(row["decision_us"]),
                _micro(row["decision_mean_us"]),
                f"{row['train_s']:.0f} s" if row["train_s"] else "–",
            ]
        )
    output.table(
        f"generated objects, {len(found['objects'][0]['values'])} seeds: median (worst)",
        ("object", "b", "asked", "sampler", "found", "goal", "µs per decision", "mean", "training"),
        lines,
        left=("object", "asked", "sampler"),
    )


def _show_natural(output: Output, found: dict[str, Any]) -> None:
    from ..benchmarks.natural import STARTS

    if not found["natural"]:
        return
    names = list(found["natural"][0]["needed"])
    others = [name for name in names if name != "slads"]
    lines = []
    for row in found["natural"]:
        ratio, needed = row["ratio"], row["needed"]
        lines.append(
            [
                row["image"],
                str(row["phases"]),
                f"{row['boundary_fraction']:.3f}",
                *(f"{_text(needed[n]['median'], True)} ({_text(needed[n]['worst'], True)})" for n in names),
                *("–" if ratio.get(n) is None else f"{ratio[n]:.2f}" for n in others),
            ]
        )
    output.table(
        f"natural images, {STARTS} starts: fraction needed for a distortion of b/50 (0.0015 at least)",
        ("image", "phases", "b", *names, *(f"{n} / slads" for n in others)),
        lines,
    )


def _show_coverage(output: Output, found: dict[str, Any]) -> None:
    from ..benchmarks.trace import LEVEL

    if found["coverage"]:
        output.table(
            f"{LEVEL:.0%} interval of the total distortion, images not trained on",
            ("sampler and images", "intervals", "contained the truth"),
            [[row["group"], row["looks"], f"{row['coverage']:.0%}"] for row in found["coverage"]],
        )


def _show_large(output: Output, found: dict[str, Any]) -> None:
    from ..benchmarks.large import INITIAL

    if not found["large"]:
        return
    lines = []
    for row in found["large"]:
        times = row["decision_us"]
        lines.append(
            [
                f"{row['side']}²",
                row["sampler"],
                f"{row['start_s']:.2f} s",
                f"{row['first_decision_s']:.2f} s",
                *(f"{times[key]:.0f}" for key in ("median", "mean", "p99", "worst")),
                f"{row['peak_rss_mb']:.0f} MB",
            ]
        )
    output.table(
        f"large grids at {INITIAL:.0%}, each in a process of its own",
        (
            "grid",
            "sampler",
            "start-up",
            "first decision",
            "µs per decision",
            "mean",
            "99 %",
            "worst",
            "memory",
        ),
        lines,
        left=("grid", "sampler"),
    )
