"""``slads-bluesky bench sampling``: samples needed, distortion left and time per decision, of every sampler.

Objects are generated with seeds that no training uses; natural images are those that scikit-image carries,
segmented by multi-Otsu, and SLADS is trained on other natural ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...cli.options import Json
from ...files import check_writable, write_json

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["register"]

NATURAL, START, HUGE = "natural", "start", "huge"
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
            "start (start-up at 1024²), huge (the 4096² grid)"
        ),
    ] = None,
    huge: Annotated[bool, typer.Option(help="with the 4096² grid (not with --quick)")] = True,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="keep each trial here; what it holds already is not done again"),
    ] = None,
    json_file: Json = None,
) -> None:
    """Print fractions needed, distortion left, decision times, coverage of the estimate, start-up and memory."""
    from rich.console import Console

    from ...sampling.factory import check_name, sampler_names

    check_writable(json_file)
    names = (
        [name.strip() for name in samplers.split(",")]
        if samplers
        else [name for name in sampler_names() if name in ("slads", "learned")] + ["adapted"]
    )
    parts = _parts(objects, quick, huge)
    from ..benchmarks import large, natural
    from ..benchmarks import objects as generated
    from ..benchmarks.coverage import coverage
    from ..benchmarks.trace import ADAPTED
    from ..benchmarks.trials import make_trials

    of_program = [name for name in names if name != ADAPTED]
    for name in of_program:
        check_name(name)
    rows = [row for row in generated.ROWS if row.name in parts]
    pictures = natural.PICTURES[: 3 if quick else None] if NATURAL in parts else ()
    sides = [side for part, side in ((START, large.START), (HUGE, large.HUGE)) if part in parts]
    trials = [
        *generated.object_trials(rows, names, seed),
        *natural.natural_trials(pictures, of_program, seed),
        *large.large_trials([name for name in of_program if name in ("slads", "learned")], sides, seed),
    ]
    store = _store(keep)
    with _telling() as told:
        results = make_trials(trials, store, told)

    console = Console()
    if not console.is_terminal:  # into a pipe, whole lines
        console = Console(width=140)
    figures: dict[str, Any] = {"seed": seed, "quick": quick, "samplers": names}
    figures["objects"] = [
        generated.summarise(row, name, seed, results, generated.SEEDS) for row in rows for name in names
    ]
    figures["natural"] = natural.summarise(of_program, seed, results)
    looks: dict[tuple[str, str], list[bool]] = {}
    for row in figures["objects"]:
        kind, _, size = row["object"].partition("-")
        looks[row["sampler"], f"{kind} {size}²"] = row.pop("covered")
    for row in figures["natural"]:
        for name, held in row.pop("covered").items():
            looks.setdefault((name, f"natural, {row['phases']} phases"), []).extend(held)
    figures["coverage"] = coverage(looks)
    figures["large"] = [result for result in results.values() if "side" in result]
    for show, found in (
        (_show_objects, figures["objects"]),
        (_show_natural, figures["natural"]),
        (_show_coverage, figures["coverage"]),
        (_show_large, figures["large"]),
    ):
        if found:
            show(console, found)
    write_json(json_file, figures)


def _parts(objects: str | None, quick: bool, huge: bool) -> set[str]:
    from ...errors import ConfigError
    from ..benchmarks.objects import ROWS

    known = [*(row.name for row in ROWS), NATURAL, START, HUGE]
    if objects is not None:
        chosen = [name.strip() for name in objects.split(",")]
        for name in chosen:
            if name not in known:
                raise ConfigError(f"unknown part '{name}' of the table; known: {', '.join(known)}")
        return set(chosen)
    if quick:
        return {NATURAL, *(row.name for row in ROWS if row.size < 1024)}
    return set(known) - (set() if huge else {HUGE})


def _store(keep: Path | None) -> Any:
    """Folder of trials; those of other code or of another general model do not count as made."""
    if keep is None:
        return None
    from ...codehash import code_hash
    from ...sampling.learned.model import shipped_model
    from ..paper.store import TrialStore

    code = code_hash(__name__)
    return TrialStore(keep, f"{code[:16]}-{shipped_model().sha256[:16]}")


@contextmanager
def _telling() -> Iterator[Callable[[str, float | None], None]]:
    """Give a function that shows on stderr what is done now and the time left for all: a line each in a log."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    last = ""

    def line(title: str, left: float | None) -> str:
        return title if left is None else f"{title}; about {_duration(left)} left in all"

    if not console.is_terminal:

        def log(title: str, left: float | None) -> None:
            nonlocal last
            if title != last:
                console.print(line(title, left), soft_wrap=True)
                last = title

        yield log
        return
    with console.status("") as status:
        yield lambda title, left: status.update(line(title, left))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _told(value: float | None, fraction: bool) -> str:
    return "not reached" if value is None else f"{value:.2%}" if fraction else f"{value:.5f}"


def _micro(values: list[float | None]) -> str:
    middle = _middle(values)
    return "–" if math.isnan(middle) else f"{middle:.0f}"


def _middle(values: list[float | None]) -> float:
    """Median of those that there are, NaN of none."""
    import statistics

    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan


def _table(title: str, columns: tuple[str, ...], left: tuple[str, ...]) -> Any:
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    return table


def _show_objects(console: Console, rows: list[dict[str, Any]]) -> None:
    table = _table(
        f"generated objects, {len(rows[0]['values'])} seeds: median (worst)",
        ("object", "b", "asked", "sampler", "found", "goal", "µs a decision", "mean", "training"),
        ("object", "asked", "sampler"),
    )
    for row in rows:
        kind, _, size = row["object"].partition("-")
        reach = row["asked"].startswith("fraction")
        table.add_row(
            f"{kind} {size}²",
            f"{_middle(row['boundary_fraction']):.3f}",
            row["asked"],
            row["sampler"],
            f"{_told(row['median'], reach)} ({_told(row['worst'], reach)})",
            f"≤ {_told(row['goal'], reach)}",
            _micro(row["decision_us"]),
            _micro(row["decision_mean_us"]),
            f"{row['train_s']:.0f} s" if row["train_s"] else "–",
        )
    console.print(table)


def _show_natural(console: Console, rows: list[dict[str, Any]]) -> None:
    from ..benchmarks.natural import STARTS

    names = list(rows[0]["needed"])
    others = [name for name in names if name != "slads"]
    table = _table(
        f"natural images, {STARTS} starts: fraction needed for a distortion of b/50 (0.0015 at least)",
        ("image", "phases", "b", *names, *(f"{n} / slads" for n in others)),
        ("image",),
    )
    for row in rows:
        ratio, needed = row["ratio"], row["needed"]
        table.add_row(
            row["image"],
            str(row["phases"]),
            f"{row['boundary_fraction']:.3f}",
            *(f"{_told(needed[n]['median'], True)} ({_told(needed[n]['worst'], True)})" for n in names),
            *("–" if ratio.get(n) is None else f"{ratio[n]:.2f}" for n in others),
        )
    console.print(table)


def _show_coverage(console: Console, rows: list[dict[str, Any]]) -> None:
    from ..benchmarks.trace import LEVEL

    first = "sampler and images"
    table = _table(
        f"{LEVEL:.0%} interval of the total distortion, images not trained on",
        (first, "looks", "held"),
        (first,),
    )
    for row in rows:
        table.add_row(row["group"], str(row["looks"]), f"{row['coverage']:.0%}")
    console.print(table)


def _show_large(console: Console, rows: list[dict[str, Any]]) -> None:
    from ..benchmarks.large import INITIAL

    table = _table(
        f"large grids at {INITIAL:.0%}, each in a process of its own (to reach: start-up at 1024² 3 s; at 4096², "
        "slads, 300 µs and 2048 MB)",
        (
            "grid",
            "sampler",
            "start-up",
            "first decision",
            "µs a decision",
            "mean",
            "99 %",
            "worst",
            "peak memory",
        ),
        ("grid", "sampler"),
    )
    for row in rows:
        times = row["decision_us"]
        table.add_row(
            f"{row['side']}²",
            row["sampler"],
            f"{row['start_s']:.2f} s",
            f"{row['first_decision_s']:.2f} s",
            f"{times['median']:.0f}",
            f"{times['mean']:.0f}",
            f"{times['p99']:.0f}",
            f"{times['worst']:.0f}",
            f"{row['peak_rss_mb']:.0f} MB",
        )
    console.print(table)
