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


def _wrong_among_ok(found: Tally3) -> float:
    """Of the worst number of counts: errors among the spectra called ok."""
    return max(_mean(tally, "wrong") / max(_mean(tally, "ok"), 1e-9) for tally in found.values())


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
    figures.append(
        at_most(f"{name}, compositions alone: wrong among ok, worst count", _wrong_among_ok(found), 0.01)
    )
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
    text = f"{name}, detector calibrated on three: wrong among ok, worst count"
    figures.append(at_most(text, _wrong_among_ok(after), 0.01))
    return figures


def _of_minerals(folder: Path, found: Tally3, rng: np.random.Generator) -> list[Figure]:
    """How much of the minerals is withheld, flagged or wrong, and ok without those that overlap."""
    near = [pair for pair, d in mineral_distances(folder, MINERALS, rng).items() if d < OVERLAP]
    close = {mineral for pair in near for mineral in pair}
    figures = []
    for key, tally in found.items():
        apart = {mineral: row for mineral, row in tally.items() if mineral not in close}
        text = f"{MINERALS}, compositions alone, {key} counts"
        for what in ("low_counts", "flagged", "wrong"):
            figures.append(measured(f"{text}: {what}", _mean(tally, what)))
        figures.append(measured(f"{text}: ok without {', '.join(sorted(close))}", _mean(apart, "ok")))
    return figures


def _drifted(folder: Path, n: int, rng: np.random.Generator, tables: dict[str, Any]) -> list[Figure]:
    """What a detector whose scale is half a per cent off loses, and whether the drift is reported."""
    figures = []
    for name in GOAL_SETS:
        found, shown = drifted(folder, name, COUNTS, n, rng, DRIFT)
        tables[f"energy scale off by {DRIFT:g}, {name}"] = {"tallies": found, "drift": shown}
        ok = {key: _mean(tally, "ok") for key, tally in found.items() if int(key) >= 1000}
        worst = min(ok, key=ok.__getitem__)
        text = f"{name}, measured templates, energy scale {100 * DRIFT:g} % off: ok, worst ({worst} counts)"
        figures.append(measured(text, ok[worst]))
        error = max(abs(value - DRIFT) for value in shown.values())
        figures.append(
            at_most(f"{name}, energy scale {100 * DRIFT:g} % off: error of the drift found", error, 0.001)
        )
    return figures


def measure_detectors(
    folder: Path, n: int, rng: np.random.Generator, progress: Callable[[str, float], None]
) -> tuple[list[Figure], dict[str, Any]]:
    """Measure everything; figures, and the tables behind them.

    Parameters
    ----------
    folder : Path
        With the folders that its SOURCES.md names.
    n : int
        Draws of each phase and count.
    rng : numpy.random.Generator
    progress : callable of (str, float)
        Called with the stage and the fraction of all that is done.
    """
    figures: list[Figure] = []
    tables: dict[str, Any] = {}
    stages = len(GOAL_SETS) + len(OTHER_SETS) + 4
    done = 0

    def step(name: str) -> None:
        nonlocal done
        progress(name, done / stages)
        done += 1

    for name in (*GOAL_SETS, *OTHER_SETS):
        step(f"{name}, compositions alone")
        found = composition_only(folder, name, [*COUNTS, None], n, rng)
        tables[f"composition only, {name}"] = found
        limit = bayes_limit(folder, name, COUNTS[:4], BAYES_DRAWS, rng)
        tables[f"Bayes limit, {name}"] = limit
        figures += _compositions(name, found, limit)
        if name == MINERALS:
            figures += _of_minerals(folder, found, rng)
        after = composition_only(folder, name, [50, 200, 1000, 5000, None], n, rng, calibrated=True)
        tables[f"calibrated, {name}"] = after
        figures += _calibrated(name, found, after, limit)
    step("measured templates")
    alarms: dict[str, float] = {}
    for name in (*GOAL_SETS, *OTHER_SETS):
        found = measured_templates(folder, name, COUNTS, n, rng)
        tables[f"measured templates, {name}"] = found
        alarms |= {f"{name}, {key}": _mean(tally, "flagged") for key, tally in found.items()}
        ok = min(_mean(tally, "ok") for key, tally in found.items() if int(key) >= 1000)
        figures.append(measured(f"{name}, measured templates, from 1000 counts: ok, worst count", ok))
    for name in PLACES:
        places = other_places(folder, name, COUNTS, n, rng)
        tables[f"other places, {name}"] = places
        alarms |= {f"{name} elsewhere, {key}": row["flagged"] for key, row in places.items()}
    worst = max(alarms, key=alarms.__getitem__)
    figures.append(at_most(f"measured templates: false alarms, worst ({worst} counts)", alarms[worst], 0.02))
    step("minerals left out")
    near = {pair: d for pair, d in mineral_distances(folder, MINERALS, rng).items() if d < OVERLAP}
    close = {mineral for pair in near for mineral in pair}
    out = left_out(folder, MINERALS, [200, 1000, 5000, 50_000], n, rng)
    tables["left out"] = out
    tables["overlapping pairs"] = {f"{a} – {b}": d for (a, b), d in near.items()}
    pairs = ", ".join(f"{a} – {b} {d:.4f}" for (a, b), d in near.items())
    for key, most in (("200", 0.15), ("1000", 0.05), ("5000", 0.01), ("50000", 0.01)):
        every = float(np.mean([row["ok"] for row in out[key].values()]))
        apart = [row["ok"] for mineral, row in out[key].items() if mineral not in close]
        figures.append(measured(f"mineral left out, {key} counts: ok as another, all nine", every))
        text = f"the same without overlapping pairs (Chernoff a count: {pairs})"
        figures.append(at_most(f"{text}, {key} counts", float(np.mean(apart)), most))
    step("energy scale off")
    figures += _drifted(folder, n, rng, tables)
    step("light elements")
    light = light_elements(folder, [1000, 5000, 50_000], n, rng)
    tables["light elements"] = light
    worst_light = max(max(row.values()) for row in light.values())
    figures.append(
        at_most("B, C, N, O at 5–25 kV, from 1000 counts: ok as another element, worst", worst_light, 0.0)
    )
    called = k411_as_k412(50, 10 * n, rng)
    figures.append(at_most("K411, computed, at 50 counts: K412, ok", called, 0.01))
    progress("done", 1.0)
    return figures, tables
