"""What the page says of a map in words and numbers; plain values, which the browser lays out."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from ..callbacks.verdict_watch import CONCERNS, LEAST
from .desk import WatchedRun
from .layers import LAYERS, UNCLASSIFIED_COLOUR, Picture, phase_colour

__all__ = ["describe_pixel", "describe_run", "legend"]

VERDICT_WORDS = {
    "ok": "classified", "low_counts": "too few counts", "mixed": "mixed", "unknown": "unknown phase",
    "ill": "ill", "failed": "failed",
}  # fmt: skip


def describe_run(run: WatchedRun) -> dict[str, Any]:
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
        "verdicts": _verdicts(points.counted(n)),
        "warnings": _warnings(points.counted(n)),
        "phases": _phases(run),
        "actions": [
            {**action, "clock": time.strftime("%H:%M:%S", time.localtime(float(action["time"] or 0)))}
            for action in state.actions[-20:]
        ],
    }


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


def _phases(run: WatchedRun) -> list[dict[str, Any]]:
    """Area fractions of the reconstruction, and how many points are of each phase."""
    state, now = run.follower.state, run.analyst.snapshot
    labels = (
        now.reconstruction if now is not None and now.n >= state.reconstructed_at else state.reconstruction
    )
    inside = slice(None) if state.grid.roi is None else np.asarray(state.grid.roi, bool).ravel()
    areas = None if labels is None else np.bincount(labels.ravel()[inside], minlength=state.n_labels + 1)
    votes = np.bincount(np.maximum(state.points.column("vote"), 0), minlength=state.n_labels + 1)
    return [
        {
            "name": state.phase(label),
            "colour": phase_colour(label),
            "area": None if areas is None else float(areas[label] / max(areas.sum(), 1)),
            "points": int(votes[label]) if label < votes.size else 0,
        }
        for label in range(1, state.n_labels + 1)
    ]


def legend(run: WatchedRun | None, layer: str, picture: Picture | None) -> dict[str, Any]:
    """Title and legend of a panel."""
    about = LAYERS[layer]
    if run is None:
        return {"layer": layer, "title": "", "help": about.help, "kind": "none"}
    state = run.follower.state
    title = f"{state.start_doc.get('sample') or 'map'} · {state.start_doc.get('scan_id') or run.uid[:8]}"
    common = {"layer": layer, "title": title, "help": about.help, "n": picture.n if picture else 0}
    if picture is None:
        return {
            **common,
            "kind": "none",
            "note": "not known yet" if layer != "error" else "this run's sampler gives none",
        }
    if picture.scale:
        colours = [picture.palette[i * (len(picture.palette) - 1) // 8] for i in range(9)]
        return {
            **common, "kind": "scale", "label": picture.scale, "colours": colours,
            "low": f"{picture.low:.3g}", "high": f"{picture.high:.3g}",
        }  # fmt: skip
    items = [{"name": state.phase(k), "colour": phase_colour(k)} for k in range(1, state.n_labels + 1)]
    if layer == "measured" and (state.measured == 0).any():
        items.append({"name": "no vote", "colour": UNCLASSIFIED_COLOUR})
    return {**common, "kind": "phases", "items": items}


def describe_pixel(run: WatchedRun, pixel: int, row: int | None, *, pinned: bool) -> dict[str, Any]:
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
        out.update(phase=f"map: {state.phase(label)}", colour=phase_colour(label))
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
    out.update(phase=f"measured: {state.phase(label)}", colour=phase_colour(label))
    probability = float(points.column("probability")[row])
    out["facts"] += [
        *([f"probability {probability:.3f}"] if math.isfinite(probability) else []),
        *([] if (verdict := points.verdict_of(row)) == "ok" else [VERDICT_WORDS.get(verdict, verdict)]),
        f"point {row + 1} of {points.n}",
        f"{points.column('live_time_s')[row]:.3g} s live",
    ]
    return out
