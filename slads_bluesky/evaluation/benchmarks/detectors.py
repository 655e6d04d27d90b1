"""The figures of ``slads-bluesky bench spectra --data`` on real detectors, beside their goals. No printing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..figures import Figure, at_least, at_most, measured
from ..spectra.detectors import (
    PLACES,
    bayes_limit,
    composition_only,
    drifted,
    k411_as_k412,
    left_out,
    light_elements,
    measured_templates,
    mineral_distances,
    other_places,
)

__all__ = ["measure_detectors"]

GOAL_SETS = ("K309 (Bruker)", "minerals (EDAX)", "NIST 20 kV")
OTHER_SETS = ("ADM-6005a (Bruker)",)
MINERALS = "minerals (EDAX)"
COUNTS = (50, 200, 1000, 5000, 50_000)
OVERLAP = 0.012
"""Chernoff distance a count under which the compositions of two minerals overlap at 200 counts: e^(-2.4)."""
BAYES_DRAWS = 400
DRIFT = 0.005
"""Relative error of the energy scale between calibration and map."""
NOISE = 0.02
"""Difference of two means of some hundred draws that is chance."""
Tally = Mapping[str, Mapping[str, float]]
Tally3 = Mapping[str, Tally]


def _mean(tally: Tally, key: str) -> float:
    return float(np.mean([row[key] for row in tally.values()]))


def _wrong_among_ok(text: str, found: Tally3) -> Figure:
    """Errors among the spectra called ok at the worst number of counts, and whose they are."""
    parts = {key: _mean(tally, "wrong") / max(_mean(tally, "ok"), 1e-9) for key, tally in found.items()}
    key = max(parts, key=parts.__getitem__)
    whose = ", ".join(phase for phase, row in found[key].items() if row["wrong"] > 0) or "none"
    return at_most(f"{text}: wrong among ok, worst count ({key}: {whose})", parts[key], 0.01)


def _compositions(name: str, found: Tally3, limit: Tally3) -> list[Figure]:
    """What compositions alone reach, beside the issue's goal and beside what the counts allow."""
    figures = []
    for key, tally in found.items():
        most = 0.95 if key in ("50", "200", "1000", "5000") else 0.90
        text = f"{name}, compositions alone, {key} counts: ok"
        ok = _mean(tally, "ok")
        limited = name in GOAL_SETS and key != "50000"
        figures.append(at_least(text, ok, most) if limited else measured(text, ok))
        if limited and key in limit and (bayes := _mean(limit[key], "ok")) < most:
            figures.append(measured(f"{text} by the Bayes limit with the measured shapes", bayes))
            figures.append(measured(f"{text}, part of the Bayes limit", ok / bayes))
    figures.append(_wrong_among_ok(f"{name}, compositions alone", found))
    return figures


def _calibrated(name: str, before: Tally3, after: Tally3, limit: Tally3) -> list[Figure]:
    """What a calibration on three materials reaches on the others, and what it adds to compositions alone."""
    figures = []
    gains = {}
    for key, tally in after.items():
        text = f"{name}, detector calibrated on three, {key} counts: ok of the others"
        ok = _mean(tally, "ok")
        figures.append(at_least(text, ok, 0.98) if name in GOAL_SETS else measured(text, ok))
        if key in limit:
            allowed = float(np.mean([limit[key][phase]["ok"] for phase in tally]))
            if allowed < 0.98:
                figures.append(measured(f"{text} by the Bayes limit with the measured shapes", allowed))
        gains[key] = ok - float(np.mean([before[key][phase]["ok"] for phase in tally]))
    worst = min(gains, key=gains.__getitem__)
    text = f"{name}, ok with calibration less ok without, the same phases, worst ({worst} counts)"
    figures.append(at_least(text, gains[worst], -NOISE))
    figures.append(_wrong_among_ok(f"{name}, detector calibrated on three", after))
    return figures


def _of_minerals(close: set[str], found: Tally3) -> list[Figure]:
    """How much of the minerals is withheld, flagged or wrong, and ok without those that overlap with another."""
    figures = []
    for key, tally in found.items():
        apart = {mineral: row for mineral, row in tally.items() if mineral not in close}
        text = f"{MINERALS}, compositions alone, {key} counts"
        for what in ("low_counts", "flagged", "wrong"):
            figures.append(measured(f"{text}: {what}", _mean(tally, what)))
        figures.append(measured(f"{text}: ok without {', '.join(sorted(close))}", _mean(apart, "ok")))
    return figures


def _drifted(name: str, found: Tally3, shown: Mapping[str, float]) -> list[Figure]:
    """What a detector whose scale is half a per cent off loses, and whether the drift is reported."""
    ok = {key: _mean(tally, "ok") for key, tally in found.items() if int(key) >= 1000}
    worst = min(ok, key=ok.__getitem__)
    text = f"{name}, measured templates, energy scale {100 * DRIFT:g} % off: ok"
    error = max(abs(value - DRIFT) for value in shown.values())
    return [
        measured(f"{text}, worst ({worst} counts)", ok[worst]),
        at_most(f"{name}, energy scale {100 * DRIFT:g} % off: error of the drift found", error, 0.001),
    ]


def measure_detectors(
    folder: Path,
    n: int,
    seed: int,
    progress: Callable[[str, float], None],
    kept: Callable[[str, Callable[[], Any]], Any] = lambda name, measure: measure(),
) -> tuple[list[Figure], dict[str, Any]]:
    """Measure everything; figures, and the tables behind them.

    Parameters
    ----------
    folder : Path
        With the folders that its SOURCES.md names.
    n : int
        Draws of each phase and count.
    seed : int
        Each part draws from a generator of its own.
    progress : callable of (str, float)
        Called with the stage and the fraction of all that is done.
    kept : callable of (name, function), optional
        Returns what the function returns, or what it did under that name.
    """
    figures: list[Figure] = []
    tables: dict[str, Any] = {}
    stages = len(GOAL_SETS) + len(OTHER_SETS) + 4
    done = 0

    def step(name: str) -> None:
        nonlocal done
        progress(name, done / stages)
        done += 1

    def part(name: str, measure: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        rng = np.random.default_rng([seed, 0xDE7, *name.encode()])
        tables[name] = kept(f"{name}, {n} draws", lambda: measure(*arguments, rng, **more))
        return tables[name]

    def distances(rng: np.random.Generator) -> list[list[Any]]:
        return [[*pair, d] for pair, d in mineral_distances(folder, MINERALS, rng).items() if d < OVERLAP]

    near = {(a, b): d for a, b, d in part("overlapping pairs", distances)}
    close = {mineral for pair in near for mineral in pair}
    for name in (*GOAL_SETS, *OTHER_SETS):
        step(f"{name}, compositions alone")
        found = part(f"composition only, {name}", composition_only, folder, name, [*COUNTS, None], n)
        limit = part(f"Bayes limit, {name}", bayes_limit, folder, name, COUNTS[:4], BAYES_DRAWS)
        figures += _compositions(name, found, limit)
        if name == MINERALS:
            figures += _of_minerals(close, found)
        after = part(
            f"calibrated, {name}",
            composition_only,
            folder,
            name,
            [50, 200, 1000, 5000, None],
            n,
            calibrated=True,
        )
        figures += _calibrated(name, found, after, limit)
    step("measured templates")
    alarms: dict[str, float] = {}
    for name in (*GOAL_SETS, *OTHER_SETS):
        found = part(f"measured templates, {name}", measured_templates, folder, name, COUNTS, n)
        alarms |= {f"{name}, {key}": _mean(tally, "flagged") for key, tally in found.items()}
        ok = min(_mean(tally, "ok") for key, tally in found.items() if int(key) >= 1000)
        figures.append(measured(f"{name}, measured templates, from 1000 counts: ok, worst count", ok))
    for name in PLACES:
        places = part(f"other places, {name}", other_places, folder, name, COUNTS, n)
        alarms |= {f"{name} elsewhere, {key}": row["flagged"] for key, row in places.items()}
    worst = max(alarms, key=alarms.__getitem__)
    figures.append(at_most(f"measured templates: false alarms, worst ({worst} counts)", alarms[worst], 0.02))
    step("minerals left out")
    out = part("left out", left_out, folder, MINERALS, [200, 1000, 5000, 50_000], n)
    pairs = ", ".join(f"{a} – {b} {d:.4f}" for (a, b), d in near.items())
    for key, most in (("200", 0.15), ("1000", 0.05), ("5000", 0.01), ("50000", 0.01)):
        every = float(np.mean([row["ok"] for row in out[key].values()]))
        apart = [row["ok"] for mineral, row in out[key].items() if mineral not in close]
        figures.append(measured(f"mineral left out, {key} counts: ok as another, all nine", every))
        text = f"the same without overlapping pairs (Chernoff a count: {pairs})"
        figures.append(at_most(f"{text}, {key} counts", float(np.mean(apart)), most))
    step("energy scale off")
    for name in GOAL_SETS:
        tally, shown = part(
            f"energy scale off by {DRIFT:g}, {name}", drifted, folder, name, COUNTS, n, gain=DRIFT
        )
        figures += _drifted(name, tally, shown)
    step("light elements")
    light = part("light elements", light_elements, folder, [1000, 5000, 50_000], n)
    worst_light = max(max(row.values()) for row in light.values())
    figures.append(
        at_most("B, C, N, O at 5–25 kV, from 1000 counts: ok as another element, worst", worst_light, 0.0)
    )
    called = part("K411 as K412", k411_as_k412, 50, 10 * n)
    figures.append(at_most("K411, computed, at 50 counts: K412, ok", called, 0.01))
    progress("done", 1.0)
    return figures, tables
