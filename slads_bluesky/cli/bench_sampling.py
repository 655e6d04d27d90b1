"""``slads-bluesky bench sampling``: samples needed, distortion left and time per decision, of every sampler.

Objects are generated with seeds that no training uses; natural images are those that scikit-image carries,
segmented by multi-Otsu, and SLADS is trained on other natural ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .figures import check_writable, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8]

__all__ = ["register"]

SEEDS = 3
TRAINING_IMAGES = 3
LEVEL = 0.9
NATURAL = ("camera", "coins", "moon", "clock", "coffee", "rocket", "retina", "horse")
NATURAL_TRAINING = ("astronaut", "cell", "immunohistochemistry")


class Row(NamedTuple):
    """One line of the table: an object and what is asked of it."""

    kind: str
    size: int
    wanted: float
    """Total distortion to reach; NaN where the distortion at `at` is asked instead."""
    at: float
    goal: float
    """What issue 3 asks of SLADS."""
    learned_goal: float


ROWS = (
    Row("pbsn", 128, 0.0015, float("nan"), 0.135, 0.062),
    Row("powder", 256, 0.006, float("nan"), 0.087, 0.044),
    Row("pbsn", 1024, float("nan"), 0.05, 0.0115, 0.0001),
    Row("powder", 1024, float("nan"), 0.05, 0.020, 0.0022),
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sampling")(bench_sampling)


def bench_sampling(
    quick: Annotated[bool, typer.Option("--quick", help="128² and 256² only, few natural images")] = False,
    seed: Annotated[int, typer.Option(min=0, help="first seed of the objects and of training")] = 0,
    samplers: Annotated[
        str | None,
        typer.Option(help="samplers, with commas between  [default: slads and learned if installed]"),
    ] = None,
    huge: Annotated[bool, typer.Option(help="with the 4096² grid (not with --quick)")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures to this file")] = None,
) -> None:
    """Print issue 3's table: fractions needed, distortion left, decision times, coverage of the estimate."""
    from rich.console import Console

    from ..sampling.factory import check_name, sampler_names

    check_writable(json_file)
    names = (
        [name.strip() for name in samplers.split(",")]
        if samplers
        else [name for name in sampler_names() if name in ("slads", "learned")]
    )
    for name in names:
        check_name(name)
    console = Console()
    figures: dict[str, Any] = {"seed": seed, "quick": quick, "samplers": names}
    coverage: dict[str, list[bool]] = {}
    figures["objects"] = _objects(
        console, names, [r for r in ROWS if not quick or r.size < 1024], seed, coverage
    )
    figures["natural"] = _natural(console, names, NATURAL[: 3 if quick else None], seed, coverage)
    figures["coverage"] = _coverage(console, coverage)
    if not quick and huge and "slads" in names:
        figures["huge"] = _huge(console, seed)
    write_json(json_file, figures)


class Trace(NamedTuple):
    """What a run of a sampler on a known image showed."""

    fractions: list[float]
    td: list[float]
    covered: list[bool]
    decision_us: list[float]
    first_s: float


def _trace(name: str, model: Any, truth: Labels, stops: list[int], seed: int, wanted: float) -> Trace:
    """Run a sampler pixel by pixel; at `stops` look at its map and, where it has one, at its interval.

    The run ends at the last stop, or once the distortion lies under a `wanted` one.
    """
    import time

    import numpy as np

    from ..sampling.distortion import total_distortion
    from ..sampling.factory import make_sampler

    phases = [int(v) for v in np.unique(truth) if v > 0]
    sampler = make_sampler(name, truth.shape, labels=phases, model=model, seed=seed)
    flat = truth.ravel()
    out = Trace([], [], [], [], float("nan"))
    first, ingested, n = float("nan"), 0.0, 0
    clock = time.perf_counter
    # Every so often the interval is looked at: it costs a pass over the map.
    looks = set(stops[:: max(1, len(stops) // 12)])
    for stop in stops:
        while n < stop:
            start = clock()
            suggested = sampler.suggest()
            taken = clock() - start
            if not suggested:
                break
            pixel = suggested[0].pixel
            if not np.isnan(suggested[0].erd):
                if np.isnan(first):
                    first = ingested + taken
                else:
                    out.decision_us.append(1e6 * (ingested + taken))
            start = clock()
            sampler.ingest(pixel, int(flat[pixel]))
            ingested = clock() - start
            n += 1
        td = total_distortion(truth, sampler.reconstruct())
        out.fractions.append(n / truth.size)
        out.td.append(td)
        if stop in looks and hasattr(sampler, "distortion_interval"):
            low, high = sampler.distortion_interval(LEVEL)
            if not np.isnan(low):
                out.covered.append(bool(low <= td <= high))
        if td <= wanted:
            break
    return out._replace(first_s=first)


def _stops(size: int, last: float, step: float) -> list[int]:
    import numpy as np

    return sorted({max(1, int(f * size)) for f in np.arange(0.01, last + step / 2, step)})


def _train(name: str, images: list[Labels], seed: int) -> tuple[Any, float]:
    import time

    from ..sampling.factory import needs_training
    from ..sampling.training import train_slads
    from .progress import stage_tracker

    if not needs_training(name):
        return None, 0.0
    start = time.perf_counter()
    with stage_tracker("training") as report:
        model = train_slads(images, seed=seed, progress=report)
    return model, time.perf_counter() - start


def _summary(values: list[float]) -> dict[str, float | None]:
    """Median and worst of figures, None where the goal was never reached (infinite)."""
    import numpy as np

    worst, middle = float(np.max(values)), float(np.median(values))
    return {
        "median": middle if np.isfinite(middle) else None,
        "worst": worst if np.isfinite(worst) else None,
    }


def _told(value: float | None, fraction: bool) -> str:
    return "not reached" if value is None else f"{value:.2%}" if fraction else f"{value:.5f}"


def _objects(
    console: Any, names: list[str], rows: list[Row], seed: int, coverage: dict[str, list[bool]]
) -> list[dict[str, Any]]:
    """Samples needed, or distortion left, on objects whose seeds no training uses."""
    import math

    import numpy as np
    from rich.table import Table

    from ..phantom.microstructures import make_labels
    from ..sampling.distortion import boundary_fraction
    from .progress import tracker

    table = Table(title=f"generated objects, {SEEDS} seeds: median (worst)")
    for column in ("object", "b", "asked", "sampler", "found", "goal", "µs a decision", "training"):
        table.add_column(column, justify="left" if column in ("object", "asked", "sampler") else "right")
    found = []
    total = len(rows) * len(names) * SEEDS
    done = 0
    with tracker("objects", total) as advance:
        for row in rows:
            kind: Any = row.kind
            train = [make_labels(kind, row.size, seed + s, "train") for s in range(TRAINING_IMAGES)]
            tests = [make_labels(kind, row.size, seed + 1 + s, "test") for s in range(SEEDS)]
            bs = [boundary_fraction(image) for image in tests]
            reach = not math.isnan(row.wanted)
            for name in names:
                model, train_s = _train(name, train, seed)
                values, speeds, firsts = [], [], []
                for s, image in enumerate(tests):
                    stops = (
                        _stops(image.size, 2.5 * bs[s], 0.001) if reach else _stops(image.size, row.at, 0.005)
                    )
                    trace = _trace(name, model, image, stops, seed + s, row.wanted if reach else -1.0)
                    coverage.setdefault(f"{name}, {row.kind} {row.size}²", []).extend(trace.covered)
                    last = trace.td[-1]
                    values.append(
                        (trace.fractions[-1] if last <= row.wanted else math.inf) if reach else last
                    )
                    speeds.append(float(np.median(trace.decision_us)) if trace.decision_us else math.nan)
                    firsts.append(trace.first_s)
                    done += 1
                    advance(done)
                figure = _summary(values)
                goal = row.learned_goal if name == "learned" else row.goal
                asked = f"fraction for TD {row.wanted:g}" if reach else f"TD at {row.at:.0%}"
                table.add_row(
                    f"{row.kind} {row.size}²",
                    f"{np.median(bs):.3f}",
                    asked,
                    name,
                    f"{_told(figure['median'], reach)} ({_told(figure['worst'], reach)})",
                    f"≤ {_told(goal, reach)}",
                    f"{np.median(speeds):.0f}",
                    f"{train_s:.0f} s" if train_s else "–",
                )
                found.append(
                    {
                        "object": f"{row.kind}-{row.size}",
                        "boundary_fraction": bs,
                        "asked": asked,
                        "sampler": name,
                        "values": [v if math.isfinite(v) else None for v in values],
                        **figure,
                        "goal": goal,
                        "decision_us": [v if math.isfinite(v) else None for v in speeds],
                        "first_decision_s": [v if math.isfinite(v) else None for v in firsts],
                        "train_s": train_s,
                    }
                )
    console.print(table)
    return found


def natural_images(names: tuple[str, ...], phases: int, side: int) -> Iterator[tuple[str, Labels]]:
    """Give scikit-image's own pictures as label images; those that it would have to download are left out."""
    import numpy as np
    from skimage import data, transform

    from ..errors import DataError
    from ..sampling.segment import segment

    for name in names:
        try:
            picture = np.asarray(getattr(data, name)(), np.float64)
        except (AttributeError, OSError, ImportError, ValueError):
            continue
        grey = picture[..., :3].mean(axis=2) if picture.ndim == 3 else picture
        edge = min(grey.shape)
        small = transform.resize(grey[:edge, :edge], (side, side), anti_aliasing=True)  # type: ignore[no-untyped-call]
        try:
            yield name, segment(small, phases, window=1, smallest=1, name=name)
        except DataError:
            continue


def _natural(
    console: Any, names: list[str], pictures: tuple[str, ...], seed: int, coverage: dict[str, list[bool]]
) -> list[dict[str, Any]]:
    """Fraction that each sampler needs on photographs, against SLADS."""
    import math

    from rich.table import Table

    from ..sampling.distortion import boundary_fraction
    from .progress import tracker

    table = Table(title="natural images: fraction needed for a distortion of b/50 (at least 0.0015)")
    for column in ("image", "phases", "b", *names, *(f"{n} / slads" for n in names if n != "slads")):
        table.add_column(column, justify="left" if column == "image" else "right")
    found = []
    cases = [
        (phases, name, image) for phases in (2, 4) for name, image in natural_images(pictures, phases, 128)
    ]
    models = {
        (name, phases): _train(name, [im for _, im in natural_images(NATURAL_TRAINING, phases, 128)], seed)[0]
        for name in names
        for phases in (2, 4)
    }
    with tracker("natural images", len(cases) * len(names)) as advance:
        for i, (phases, picture, image) in enumerate(cases):
            b = boundary_fraction(image)
            wanted = max(0.0015, b / 50)
            needed: dict[str, float] = {}
            for j, name in enumerate(names):
                stops = _stops(image.size, min(0.9, 3 * b + 0.05), 0.0025)
                trace = _trace(name, models[name, phases], image, stops, seed, wanted)
                coverage.setdefault(f"{name}, natural, {phases} phases", []).extend(trace.covered)
                needed[name] = trace.fractions[-1] if trace.td[-1] <= wanted else math.inf
                advance(i * len(names) + j + 1)
            ratios = {
                name: needed[name] / needed["slads"]
                for name in names
                if name != "slads" and math.isfinite(needed.get("slads", math.inf))
            }
            table.add_row(
                picture,
                str(phases),
                f"{b:.3f}",
                *(_told(needed[n] if math.isfinite(needed[n]) else None, True) for n in names),
                *(f"{ratios[n]:.2f}" if n in ratios else "–" for n in names if n != "slads"),
            )
            found.append(
                {
                    "image": picture,
                    "phases": phases,
                    "boundary_fraction": b,
                    "wanted": wanted,
                    "needed": {n: v if math.isfinite(v) else None for n, v in needed.items()},
                    "ratio": {n: v if math.isfinite(v) else None for n, v in ratios.items()},
                }
            )
    console.print(table)
    return found


def _coverage(console: Any, coverage: dict[str, list[bool]]) -> list[dict[str, Any]]:
    """How often the interval of the distortion held the truth."""
    from rich.table import Table

    table = Table(title=f"{LEVEL:.0%} interval of the total distortion, images not trained on")
    for column in ("sampler and images", "looks", "held"):
        table.add_column(column, justify="left" if column.startswith("sampler") else "right")
    found = []
    groups: dict[str, list[bool]] = dict(coverage)
    for name in {key.split(",")[0] for key in coverage}:
        groups[f"{name}, all"] = [v for key, own in coverage.items() if key.startswith(name) for v in own]
    for key, held in groups.items():
        if held:
            share = sum(held) / len(held)
            table.add_row(key, str(len(held)), f"{share:.0%}")
            found.append({"group": key, "looks": len(held), "coverage": share})
    console.print(table)
    return found


def _huge(console: Any, seed: int) -> dict[str, Any]:
    """Decisions and memory on a grid of 4096² at 1 %, SLADS."""
    import resource
    import time

    import numpy as np

    from ..phantom.microstructures import make_labels
    from ..sampling.sampler import SladsSampler
    from ..sampling.training import train_slads

    tile = make_labels("pbsn", 1024, seed + 1, "test")
    truth = np.tile(np.concatenate([tile, tile[:, ::-1]], axis=1), (4, 2))
    truth[1024:2048] = truth[1024:2048][::-1]
    truth[3072:] = truth[3072:][::-1]
    model = train_slads([make_labels("pbsn", 256, seed, "train")], seed=seed, cs=(8.0,), calibrated=False)
    flat = truth.ravel()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sampler = SladsSampler(truth.shape, model, labels=2, seed=seed)
    start = time.perf_counter()
    for suggestion in sampler.suggest(sampler.n_initial):
        sampler.ingest(suggestion.pixel, int(flat[suggestion.pixel]))
    started = time.perf_counter() - start
    times = []
    for _ in range(5000):
        start = time.perf_counter()
        pixel = sampler.suggest()[0].pixel
        sampler.ingest(pixel, int(flat[pixel]))
        times.append(1e6 * (time.perf_counter() - start))
    figures = {
        "decision_us": {"median": float(np.median(times)), "p99": float(np.percentile(times, 99))},
        "start_s": started,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_rss_mb_before": before / 1024,
    }
    console.print(
        f"4096² at 1 %: {np.median(times):.0f} µs a decision (≤ 300), start {started:.1f} s, "
        f"peak {figures['peak_rss_mb']:.0f} MB (≤ 2048)"
    )
    return figures
