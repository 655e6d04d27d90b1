"""What the page says of a map in words and numbers; plain values, which the browser lays out."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np

from ..callbacks.verdict_watch import CONCERNS, LEAST
from ..protocols import UNCLASSIFIED
from .desk import WatchedRun
from .following import FollowedMap
from .layers import LAYERS, UNCLASSIFIED_COLOUR, Picture, phase_colour

__all__ = ["describe_abundances", "describe_pixel", "describe_run", "legend"]

VERDICT_WORDS = {
    "ok": "classified", "low_counts": "too few counts", "mixed": "mixed", "unknown": "unknown phase",
    "ill": "ill", "failed": "failed", "uncalled": "of no phase yet",
}  # fmt: skip


def describe_run(run: WatchedRun, theme: str = "light") -> dict[str, Any]:
    """Everything of a map but its pictures."""
    follower, state, points = run.follower, run.follower.state, run.follower.state.points
    n, start = points.n, state.start_doc
    rows, columns = state.grid.shape
    total, wanted = state.grid.n_pixels, state.n_wanted
    seconds = float(points.column("seconds", n)[-1]) if n else 0.0
    rate = _rate(points, n)
    left = (wanted - n) / rate if wanted and rate and wanted > n and follower.status == "measuring" else None
    return {
        "uid": run.uid,
        "scan_id": start.get("scan_id"),
        "sample": str(start.get("sample", "")),
        "plan": str(start.get("plan_name", "")),
        "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(state.first_time)),
        "status": follower.status,
        "reason": str(state.stop_doc.get("reason", "")),
        "problem": follower.problem or run.analyst.problem,
        "grid": f"{rows} × {columns}",
        "step": f"{state.grid.step_um[1]:g} µm",
        "n": n,
        "wanted": wanted,
        "percent": 100.0 * n / total if total else 0.0,
        "done": min(n / wanted, 1.0) if wanted else None,
        "rate": rate,
        "seconds": seconds,
        "left_s": left,
        "dose_nc": float(points.column("dose_nc", n)[-1]) if n else 0.0,
        **_distortion(run),
        "verdicts": _verdicts(_counted(state, n)),
        "warnings": [*_warnings(_counted(state, n)), *_undiscovered(state)],
        "finds_phases": state.finds_phases,
        "phases": _phases(run, theme),
        "actions": [
            {
                **action,
                "clock": time.strftime("%H:%M:%S", time.localtime(float(action["time"] or 0))),
                "detail": _in_words(str(action["detail"])),
            }
            for action in state.actions[-20:]
        ],
    }


def _in_words(detail: str) -> str:
    """Arguments of a plan, recorded as JSON, as people write them."""
    plan, _, arguments = detail.partition(" ")
    try:
        values = json.loads(arguments)
    except ValueError:
        return detail
    if not isinstance(values, dict):
        return detail
    return f"{plan}: " + ", ".join(f"{key} {value}" for key, value in values.items())


def _distortion(run: WatchedRun) -> dict[str, Any]:
    """The newest estimate: the page's own, or the run's where that is newer."""
    state = run.follower.state
    curve = run.analyst.curve[-1] if run.analyst.curve else None
    if state.curve and (curve is None or curve.n < state.curve[-1][0]):
        return {"distortion": state.curve[-1][1], "interval": None}
    known = curve is not None and not math.isnan(curve.distortion)
    return {
        "distortion": curve.distortion if curve is not None and known else None,
        "interval": None if curve is None or math.isnan(curve.low) else [curve.low, curve.high],
    }


def _rate(points: Any, n: int) -> float | None:
    """Points a second, over the last hundred."""
    if n < 3:
        return None
    seconds = points.column("seconds", n)[-min(n, 100) :]
    took = float(seconds[-1] - seconds[0])
    return (seconds.size - 1) / took if took > 0 else None


def _counted(state: FollowedMap, n: int) -> dict[str, int]:
    """Points by verdict; of a run that finds its phases, by what the last search made of their spectra."""
    counted = state.points.counted(n)
    if not state.finds_phases:
        return counted
    failed, called = counted.get("failed", 0), int((state.measured > UNCLASSIFIED).sum())
    now = {"ok": called, "uncalled": max(n - failed - called, 0), "failed": failed}
    return {name: k for name, k in now.items() if k}


def _undiscovered(state: FollowedMap) -> list[str]:
    """What a run that finds its phases may have missed so far."""
    upper = math.nan if state.found is None else state.found.undiscovered_upper
    if math.isnan(upper):
        return []
    return [f"phases that were not found yet may hold up to {100 * upper:.2g} % of the area (95 % bound)"]


def _verdicts(counted: dict[str, int]) -> list[dict[str, Any]]:
    total = sum(counted.values()) or 1
    return [
        {"name": name, "text": VERDICT_WORDS.get(name, name), "n": n, "share": n / total}
        for name, n in counted.items()
    ]


def _warnings(counted: dict[str, int]) -> list[str]:
    """The sentences that a session warns with, see `VerdictWatch`; and failed points."""
    total = sum(counted.values())
    found = [
        f"{n} of {total} spectra are {concern.found}: {concern.advice}"
        for verdict, concern in CONCERNS.items()
        if (n := counted.get(verdict, 0)) >= LEAST and n >= concern.share * total
    ]
    failed = counted.get("failed", 0)
    return [*found, *([f"{failed} points failed and were passed over"] if failed else [])]


def _phases(run: WatchedRun, theme: str) -> list[dict[str, Any]]:
    """Area fractions of the reconstruction, and how many points are of each phase."""
    state, now = run.follower.state, run.analyst.snapshot
    labels = (
        now.reconstruction if now is not None and now.n >= state.reconstructed_at else state.reconstruction
    )
    inside = slice(None) if state.grid.roi is None else np.asarray(state.grid.roi, bool).ravel()
    areas = None if labels is None else np.bincount(labels.ravel()[inside], minlength=state.n_labels + 1)
    votes = np.bincount(np.maximum(state.measured, 0).ravel(), minlength=state.n_labels + 1)
    return [
        {
            "label": label,
            "name": state.phase(label),
            "about": "" if state.found is None else state.found.candidates.get(label, ""),
            "colour": phase_colour(label, theme),
            "area": None if areas is None else float(areas[label] / max(areas.sum(), 1)),
            "points": int(votes[label]) if label < votes.size else 0,
            "from": _parent(state, label),
        }
        for label in range(1, state.n_labels + 1)
        if state.found is None or (label <= state.found.n_spectra.size and state.found.n_spectra[label - 1])
    ]


def _parent(state: FollowedMap, label: int) -> str:
    """Of a phase that was found: which one it was split off from."""
    parent = 0 if state.found is None else int(state.found.parents[label - 1])
    return state.phase(parent) if parent else ""


def legend(
    run: WatchedRun | None, layer: str, picture: Picture | None, theme: str = "light"
) -> dict[str, Any]:
    """Title and legend of a panel."""
    about = LAYERS[layer]
    if run is None:
        return {"layer": layer, "title": "", "help": about.help, "kind": "none"}
    state = run.follower.state
    title = f"{state.start_doc.get('sample') or 'map'} · {state.start_doc.get('scan_id') or run.uid[:8]}"
    common = {"layer": layer, "title": title, "help": about.help, "n": picture.n if picture else 0}
    if picture is None:
        return {**common, "kind": "none", "note": _why_none(run, layer)}
    common |= {"choices": list(picture.choices), "chosen": picture.chosen}
    if picture.rgba is not None:
        return {
            **common,
            "kind": "phases",
            "items": [{"name": name, "colour": colour} for name, colour in picture.legend],
        }
    if picture.scale:
        colours = [picture.palette[i * (len(picture.palette) - 1) // 8] for i in range(9)]
        return {
            **common, "kind": "scale", "label": picture.scale, "colours": colours,
            "low": f"{picture.low:.3g}", "high": f"{picture.high:.3g}",
        }  # fmt: skip
    items = [{"name": state.phase(k), "colour": phase_colour(k, theme)} for k in range(1, state.n_labels + 1)]
    if layer == "measured" and (state.measured == 0).any():
        items.append({"name": "no vote", "colour": UNCLASSIFIED_COLOUR})
    return {**common, "kind": "phases", "items": items}


def _why_none(run: WatchedRun, layer: str) -> str:
    """Why a layer shows nothing."""
    if layer == "error":
        return "this run's sampler gives none"
    if layer == "elements":
        return run.elements.problem or "being computed from the spectra …"
    return "not known yet"


def describe_abundances(state: FollowedMap, parts: Any, spread: Any) -> str:
    """Say which phases a point is of, and in what parts; empty without abundances.

    Parameters
    ----------
    state : FollowedMap
    parts, spread : (L,) array-like, optional
        Abundances and their standard deviations.
    """
    if parts is None:
        return ""
    own, sds = np.asarray(parts, float), np.asarray(spread if spread is not None else [], float)
    said = []
    for i in np.argsort(-own):
        if own[i] >= 0.01:
            sd = f" ± {sds[i]:.2f}" if sds.size == own.size and math.isfinite(sds[i]) else ""
            said.append(f"{state.phase(int(i) + 1)} {own[i]:.2f}{sd}")
    return "abundances " + ", ".join(said) if said else ""


def describe_pixel(
    run: WatchedRun, pixel: int, row: int | None, *, pinned: bool, theme: str = "light"
) -> dict[str, Any]:
    """What is known of the pixel under the pointer, and of the measured one whose spectrum is shown."""
    state, points = run.follower.state, run.follower.state.points
    x, y = state.grid.position(pixel)
    line, column = divmod(pixel, state.grid.shape[1])
    now = run.analyst.snapshot
    out: dict[str, Any] = {
        "place": f"x {x:.4g} µm, y {y:.4g} µm", "pixel": f"row {line}, column {column}", "pinned": pinned,
        "phase": "", "colour": "", "facts": [],
    }  # fmt: skip
    if now is not None:
        label = int(now.reconstruction[line, column])
        out.update(phase=f"map: {state.phase(label)}", colour=phase_colour(label, theme))
        if now.expected_error is not None and now.kind == "probability":
            out["facts"].append(f"expected error {float(now.expected_error[line, column]):.3f}")
    if row is None:
        out["facts"].append("nothing measured near it")
        return out
    measured = int(points.column("pixel")[row])
    if measured != pixel:
        there = divmod(measured, state.grid.shape[1])
        out["facts"].append(f"nearest measured ({there[0]}, {there[1]})")
    label = int(points.column("label")[row])
    if state.finds_phases:
        label = max(int(state.measured.flat[measured]), UNCLASSIFIED)
    out.update(phase=f"measured: {state.phase(label)}", colour=phase_colour(label, theme))
    probability = float(points.column("probability")[row])
    out["facts"] += [
        *([f"probability {probability:.3f}"] if math.isfinite(probability) else []),
        *([] if (verdict := points.verdict_of(row)) == "ok" else [VERDICT_WORDS.get(verdict, verdict)]),
        f"point {row + 1} of {points.n}",
        f"{points.column('live_time_s')[row]:.3g} s live",
    ]
    return out
