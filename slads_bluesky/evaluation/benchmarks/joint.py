"""The joint sampler beside its honest rival, a fast full raster with the same inference: trials, rows and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...phantom.paper_results import PAPER
from ..figures import Figure, at_least, at_most, measured
from .joint_runs import SURE, Way, dose_for, measure_raster, measure_sampler
from .trials import Report, Trial

__all__ = ["GOALS_NC", "WAYS", "doses_of", "joint_figures", "joint_results", "joint_trials"]

GOALS_NC = {"pbsn-128": 2.5, "powder-256": 3.0, "pbsn-1024": 70.0, "powder-1024": 25.0}
"""Dose for the paper's distortion, nC, as issue 17 states it."""
DOSES_NC = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Doses at which both are compared."""
LARGE_DOSES_NC = (20.0, 50.0, 100.0)
"""The same for maps of 1024²: a nC is less than a count for ten pixels there."""
SAMPLED_NC = {"powder-256": 10.0}
"""Dose at which the sampler's maps of an object end, where they are right long before the largest dose."""
FEW_COUNTS = (1.0, 10.0)
"""Counts a raster pixel between which the network is to beat the Potts reference."""
WAYS: tuple[Way, ...] = ("dose", "lists", "points", "oracle")
SECONDS = {"raster": 2e-3, "dose": 4e-3, "lists": 3e-3, "points": 2e-3, "oracle": 4e-3}
"""About the processor time of a trial for each pixel of the map, s; only ratios matter."""
LEAST_IN_BAND = 1000
"""Pixels of a band of probability from which on its reliability is judged."""


def doses_of(name: str) -> tuple[float, ...]:
    """Doses at which an object's maps are compared, nC."""
    return DOSES_NC if name.endswith(("-128", "-256")) else LARGE_DOSES_NC


def joint_trials(names: Sequence[str], seeds: Sequence[int]) -> list[Trial]:
    """Return the trials of some objects: on large ones only what the dose goals need, other ways for one seed.

    Where the sampler's maps end at `SAMPLED_NC`, those of other seeds than the first end with the paper's distortion.

    Parameters
    ----------
    names : sequence of str
        Keys of `GOALS_NC`.
    seeds : sequence of int
        Of each object; of 1024², only the first.
    """
    found = []
    for kind in ("dose", "raster", *WAYS[1:]):
        for name in names:
            large = doses_of(name) is LARGE_DOSES_NC
            once = large or kind not in ("dose", "raster")
            for seed in seeds[:1] if once else seeds:
                if not large or kind in ("dose", "raster"):
                    found.append(_trial(name, seed, kind, to_the_end=_whole(name, first=seed == seeds[0])))
    return found


def _whole(name: str, *, first: bool) -> bool:
    """Whether a map continues once it has the paper's distortion."""
    return doses_of(name) is not LARGE_DOSES_NC and (first or name not in SAMPLED_NC)


def _trial(name: str, seed: int, kind: str, *, to_the_end: bool) -> Trial:
    doses, pixels = doses_of(name), int(name.partition("-")[2]) ** 2

    def measure(report: Report) -> dict[str, Any]:
        if kind == "raster":
            return measure_raster(name, seed, doses, report)
        way: Any = kind
        own = [dose for dose in doses if dose <= SAMPLED_NC.get(name, doses[-1])]
        return measure_sampler(name, seed, own, PAPER[name].td, report, way=way, to_the_end=to_the_end)

    title = f"{name}, seed {seed}: {'rasters' if kind == 'raster' else 'sampler, ' + kind}"
    return Trial(f"joint-{name}-{seed}-{kind}", title, SECONDS[kind] * pixels, measure)


def joint_results(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gather what the trials of each object and seed gave.

    Returns
    -------
    list of dict
        ``object``, ``seed``, ``raster`` and the ways that were run.
    """
    out: dict[tuple[str, int], dict[str, Any]] = {}
    seeds: dict[str, list[str]] = {}
    for key in found:
        name, seed, _ = key.removeprefix("joint-").rsplit("-", 2)
        seeds.setdefault(name, []).append(seed)
    for key, result in found.items():
        name, seed, kind = key.removeprefix("joint-").rsplit("-", 2)
        if kind != "raster":
            whole = _whole(name, first=seed == min(seeds[name]))
            result = {**result, "at": _carried(result["at"], len(doses_of(name)), whole)}
        out.setdefault((name, int(seed)), {"object": name, "seed": int(seed)})[kind] = result
    return list(out.values())


def _carried(at: Sequence[Mapping[str, Any] | None], n: int, whole: bool) -> list[Mapping[str, Any] | None]:
    """Rows of a run at `n` doses; where a whole map ended before a dose was spent, the map that it ended with."""
    out: list[Mapping[str, Any] | None] = []
    for row in [*at, *[None] * (n - len(at))]:
        out.append(row if row is not None or not out or not whole else out[-1])
    return out


def joint_figures(results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Figures of issue 17 from `joint_results`: medians over the seeds, and the worst."""
    found: list[Figure] = []
    for name in dict.fromkeys(result["object"] for result in results):
        own = [result for result in results if result["object"] == name]
        found += _dose_figures(name, own)
        for i in range(len(doses_of(name))):
            found += _ratio_figures(name, own, i)
        for way, title in (("lists", "by point lists"), ("points", "point by point")):
            found += _time_figures(name, own, way, title)
        found += _network_figures(name, own)
        found += _trust_figures(name, own)
    return found


def _dose_figures(name: str, own: Sequence[Mapping[str, Any]]) -> list[Figure]:
    doses = [result["dose"]["reached"]["dose_nc"] for result in own]
    known = [np.inf if dose is None else float(dose) for dose in doses]
    what = f"{name}: dose for the paper's distortion of {PAPER[name].td}"
    found = [
        at_most(f"{what}, median of {len(own)}", float(np.median(known)), GOALS_NC[name], "nC"),
        at_most(f"{what}, worst", max(known), GOALS_NC[name], "nC"),
    ]
    for key, title in (("reference", "Potts reference"), ("best", "our best inference")):
        rival = [dose_for(result["raster"]["rows"], key, PAPER[name].td) or np.inf for result in own]
        found.append(measured(f"{what}, raster with {title}", float(np.median(rival)), "nC"))
    return found


def _ratio(ours: Mapping[str, Any] | None, raster: Mapping[str, Any]) -> float:
    return float("nan") if ours is None else ours["td"] / max(raster["best"]["td"], 1e-9)


def _ratio_figures(name: str, own: Sequence[Mapping[str, Any]], i: int) -> list[Figure]:
    """Distortion at one dose over the raster's, and the oracle's likewise."""
    dose = doses_of(name)[i]
    all_of = [
        _ratio(result["dose"]["at"][i], result["raster"]["rows"][i]) for result in own if "raster" in result
    ]
    ours = [ratio for ratio in all_of if np.isfinite(ratio)]
    if not ours:
        return []
    value = float(np.median(ours))
    what = f"{name}, {dose:g} nC: distortion over that of a raster with our best inference"
    if not any("oracle" in result for result in own):
        return [at_most(what, value, 0.5), measured(f"{what}, worst", max(ours))]
    with_oracle = [result for result in own if "oracle" in result]
    oracle = [_ratio(result["oracle"]["at"][i], result["raster"]["rows"][i]) for result in with_oracle]
    best = float(np.nanmedian(oracle)) if np.isfinite(oracle).any() else float("nan")
    holds = value <= 0.5 or (best > 0.5 and value <= 1.05)
    return [
        Figure(what, value, "≤ 0.5, or ≤ 1.05 where the oracle's is above 0.5", holds),
        measured(f"{what}, worst", max(ours)),
        measured(f"{what}, an oracle's", best if np.isfinite(best) else None),
    ]


def _time_figures(name: str, own: Sequence[Mapping[str, Any]], way: str, title: str) -> list[Figure]:
    """Distortion at a raster's time over the raster's, minimising time."""
    found: list[Figure] = []
    own = [result for result in own if way in result]
    for i, row in enumerate(own[0]["raster"]["rows"] if own else ()):
        ratios = [_ratio(result[way]["at"][i], result["raster"]["rows"][i]) for result in own]
        if np.isfinite(ratios).all():
            what = f"{name}, {row['time_s']:.3g} s, {title}: distortion over the raster's in that time"
            found.append(measured(what, float(np.median(ratios))))
    return found


def _network_figures(name: str, own: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """How far our inference beats the Potts references on the evidence of rasters."""
    found = []
    for i, row in enumerate(own[0]["raster"]["rows"]):
        rows = [result["raster"]["rows"][i] for result in own]
        at = f"{name}, raster of {row['counts']:.2g} counts a pixel"
        inside = FEW_COUNTS[0] * 0.95 <= row["counts"] <= FEW_COUNTS[1]
        for key, title in (
            ("tuned", "Potts mean field, the best by the truth,"),
            ("reference", "our reference"),
        ):
            values = [r[key] if key == "tuned" else r[key]["td"] for r in rows]
            if None in values:
                continue
            ratio = [v / max(r["best"]["td"], 1e-9) for v, r in zip(values, rows, strict=True)]
            what, value = f"{at}: {title} over our best inference", float(np.median(ratio))
            goal = inside and key == "tuned"
            found.append(at_least(what, value, 1.5) if goal else measured(what, value))
    return found


def _scores(own: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All scores of maps that users get: ours, and rasters with our best inference."""
    maps = [row["best"] for result in own for row in result["raster"]["rows"]]
    ways = [
        row
        for result in own
        for way in ("dose", "lists", "points")
        for row in result.get(way, {}).get("at", [])
    ]
    return [*maps, *(row for row in ways if row is not None)]


def _trust_figures(name: str, own: Sequence[Mapping[str, Any]]) -> list[Figure]:
    scores = _scores(own)
    sure, share = (np.array([each[key] for each in scores]) for key in ("sure_wrong", "sure"))
    inside = [each["low"] <= each["td"] <= each["high"] for each in scores]
    n, stated, right = np.array([each["bands"] for each in scores], np.float64).sum(axis=0)
    judged = n >= LEAST_IN_BAND
    gap = np.abs(stated - right)[judged] / n[judged]
    decision = float(np.median([result["dose"]["decision_us"] for result in own]))
    return [
        at_most(
            f"{name}: wrong of the pixels stated at ≥ {SURE}, all maps",
            float(sure @ share / share.sum()),
            2e-3,
        ),
        at_most(f"{name}: wrong of the pixels stated at ≥ {SURE}, worst map", float(sure.max()), 2e-3),
        at_most(f"{name}: reliability, worst band of probability", float(gap.max()), 0.02),
        measured(f"{name}: reliability, mean over the pixels", float(np.abs(stated - right).sum() / n.sum())),
        at_least(f"{name}: maps whose distortion lies in its interval of 90 %", float(np.mean(inside)), 0.9),
        at_most(f"{name}: a decision, amortised, processor time", decision / 1e3, 1.0, "ms"),
    ]
