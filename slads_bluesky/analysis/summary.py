"""A map in one screen: what was mapped, how, the result, its dose and time."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from slads_bluesky.protocols import UNCLASSIFIED

from ..documents import reading
from ..simulated import simulated_object
from .areas import area_fractions
from .run_data import RunData

__all__ = ["summarize"]


def summarize(data: RunData) -> tuple[list[str], dict[str, Any]]:
    """Return lines to print, and the same as JSON.

    Parameters
    ----------
    data : RunData
        The map; spectra are not needed.
    """
    with reading(f"run {data.uid[:8]}"):
        return _summarize(data)


def _summarize(data: RunData) -> tuple[list[str], dict[str, Any]]:
    start, stop = data.start, data.stop
    specimen = simulated_object(start)
    reconstruction = data.reconstruction
    n, total = data.n_measured, data.grid.n_pixels
    wall = float(data.times[-1] - data.starts[0]["time"]) if n else 0.0
    estimate = data.maps[-1].get("distortion_estimate", math.nan) if data.maps else math.nan
    verdicts = dict(Counter(data.verdicts.tolist()))
    figures: dict[str, Any] = {
        "uid": data.uid,
        "uids": [one["uid"] for one in data.starts],
        "scan_id": data.starts[-1].get("scan_id"),
        "sample": start.get("sample"),
        "object": specimen.name if specimen is not None else start.get("object"),
        "plan_name": start.get("plan_name"),
        "exit_status": stop["exit_status"] if stop else "unfinished",
        "reason": stop.get("reason", "") if stop else "",
        "shape": list(data.grid.shape),
        "n_measured": n,
        "fraction": n / total,
        "verdicts": verdicts,
        "n_failed": int(data.failed.sum()),
        "live_time_s": _sum(data.live_time_s),
        "real_time_s": _sum(data.real_time_s),
        "dose_nC": _sum(data.dose_nc),
        "wall_s": wall,
        "distortion_estimate": None if math.isnan(estimate) else float(estimate),
        "model_hashes": start.get("model_hashes", {}),
        "versions": start.get("versions", {}),
    }
    height, width = (abs(b - a) for a, b in data.grid.extents_um)
    when = datetime.fromtimestamp(start["time"]).isoformat(" ", "minutes")
    lines = [
        f"run        {data.uid[:8]}, scan {data.starts[-1].get('scan_id', '–')}, {when}",
        f"sample     {start.get('sample', '–')}",
        f"plan       {start.get('plan_name')}, sampler {_name(start)}, "
        f"{data.grid.shape[0]} × {data.grid.shape[1]} pixels over {height:g} × {width:g} µm",
    ]
    if len(data.starts) > 1:
        lines.append(f"resumes    {', '.join(one['uid'][:8] for one in data.starts[:-1])}")
    ended = (
        f"{stop['exit_status']}: {stop.get('reason', '')}" if stop else "interrupted, or still being recorded"
    )
    lines += [
        f"ended      {ended}",
        f"measured   {n} pixels, {n / total:.2%} of {total}; in {timedelta(seconds=round(wall))}",
        f"dose       {figures['dose_nC']:.4g} nC, live {figures['live_time_s']:.4g} s, "
        f"real {figures['real_time_s']:.4g} s",
        f"verdicts   {', '.join(f'{count} {verdict}' for verdict, count in sorted(verdicts.items()))}",
    ]
    if not math.isnan(estimate):
        lines.append(f"distortion {estimate:.4f} estimated")
    if reconstruction is not None:
        areas = area_fractions(data)
        figures["areas"] = [area.to_json() for area in areas]
        for i, area in enumerate(areas):
            lines.append(
                f"{'phases' if not i else '':10s} {area.phase}: {area.fraction:.2%} of the map, "
                f"{area.low:.2%} … {area.high:.2%}; {int((data.votes == area.label).sum())} spectra"
            )
    if (data.labels == UNCLASSIFIED).any():
        lines.append(f"{'':10s} without a phase: {int((data.votes == UNCLASSIFIED).sum())} spectra")
    if data.failed.any():
        lines.append(f"failed     {int(data.failed.sum())} points")
    for what, digest in figures["model_hashes"].items():
        lines.append(f"model      {what} {digest[:12]}…")
    return lines, figures


def _name(start: dict[str, Any]) -> str:
    return str(start.get("agent", {}).get("sampler", {}).get("name", "–"))


def _sum(values: np.ndarray[Any, Any]) -> float:
    return float(np.nansum(values)) if values.size else 0.0
