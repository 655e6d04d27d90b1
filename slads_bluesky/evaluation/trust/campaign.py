"""All scenes of `bench trust`, one after the other, and the table *promised / how tested / seen*."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...progress import Progress, no_progress
from ..benchmarks.kills import measure_kills
from ..figures import Figure, at_least, equal
from .faults import FAULTS, MOMENTS, Fault
from .rig import Rig
from .scenes import Seen, SessionPool, play, reference_map
from .services import SERVICES, play_service

__all__ = ["QUICK", "measure_trust", "trust_figures", "trust_rows"]

QUICK = (
    ("SIGTERM", "acquire"),
    ("Ctrl-C", "acquire"),
    ("spectrum of half the channels", "settle"),
    ("beam trips for 1 s", "acquire"),
    ("network cut for 3 s", "acquire"),
    ("presets changed by another client", "decide"),
    ("catalog's writer killed", "read"),
)
"""Scenes of the short form."""


def chosen_scenes(
    names: Sequence[str] | None, moments: Sequence[str] | None, quick: bool
) -> tuple[list[tuple[Fault, str]], list[str]]:
    """Return the scenes of the matrix and of the services that some options ask for.

    Parameters
    ----------
    names : sequence of str, optional
        Words in the names of faults and services; all without them.
    moments : sequence of str, optional
        Only these of `faults.MOMENTS`.
    quick : bool
        Only `QUICK`, without services.

    Raises
    ------
    ConfigError
        Naming a word or a moment that fits nothing.
    """
    for moment in moments or ():
        if moment not in MOMENTS:
            raise ConfigError(f"unknown moment '{moment}'; known: {', '.join(MOMENTS)}")
    every = [*(fault.name for fault in FAULTS), *SERVICES]
    for name in names or ():
        if not any(name.casefold() in known.casefold() for known in every):
            raise ConfigError(f"no fault is named like '{name}'; known: {', '.join(every)}")

    def wanted(name: str) -> bool:
        return names is None or any(word.casefold() in name.casefold() for word in names)

    matrix = [
        (fault, moment)
        for fault in FAULTS
        for moment in fault.moments
        if wanted(fault.name)
        and (moments is None or moment in moments)
        and (not quick or (fault.name, moment) in QUICK)
    ]
    return matrix, [] if quick or moments is not None else [name for name in SERVICES if wanted(name)]


def measure_trust(
    names: Sequence[str] | None = None,
    moments: Sequence[str] | None = None,
    *,
    quick: bool = False,
    kills: int = 25,
    seed: int = 0,
    layer: str = "caproto",
    folder: Path | None = None,
    progress: Progress = no_progress,
    on_scene: Callable[[dict[str, Any]], None] = lambda scene: None,
) -> dict[str, Any]:
    """Play scenes of faults against an instrument of its own.

    Parameters
    ----------
    names, moments, quick
        As of `chosen_scenes`.
    kills : int
        Kills at random moments, over Channel Access (`benchmarks.kills`); 0 for none.
    seed : int
        Of the object, the training and the moments of the kills.
    layer : {"caproto", "pyepics"}
        ophyd's control layer in the sessions.
    folder : Path, optional
        Where records and logs are kept; by default temporary files.
    progress : callable, optional
        Called with the scene and the fraction of them that is done.
    on_scene : callable, optional
        Called with the result of each scene.

    Returns
    -------
    dict
        ``scenes``: fault, moment, what was wrong, one for each; ``kills``: as of `measure_kills`, or None.
    """
    matrix, services = chosen_scenes(names, moments, quick)

    def keep(seen: Seen) -> None:
        found["scenes"].append({**asdict(seen), "holds": seen.holds})
        on_scene(found["scenes"][-1])

    total = len(matrix) + len(services) + bool(kills)
    found: dict[str, Any] = {"seed": seed, "layer": layer, "quick": quick, "scenes": [], "kills": None}
    with tempfile.TemporaryDirectory(
        prefix="slads-trust-", dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        if matrix or services:
            progress("the undisturbed map", 0.0)
            with Rig(Path(scratch), seed) as rig:
                pool = SessionPool(rig, layer)
                try:
                    _play(rig, pool, matrix, services, total, progress, keep)
                finally:
                    pool.drop()
        if kills:
            progress(f"{kills} kills", (total - 1) / total)
            found["kills"] = measure_kills(kills, "pbsn-48", 0.12, soft=False, seed=seed)
    return found


def _play(
    rig: Rig,
    pool: SessionPool,
    matrix: Sequence[tuple[Fault, str]],
    services: Sequence[str],
    total: int,
    progress: Progress,
    keep: Callable[[Seen], None],
) -> None:
    reference = reference_map(rig, pool)
    for i, (fault, moment) in enumerate(matrix):
        progress(f"{fault.name}, {moment}", i / total)
        keep(play(rig, pool, fault, moment, reference))
    for i, name in enumerate(services, len(matrix)):
        progress(name, i / total)
        keep(play_service(rig, pool, name, reference))


def trust_rows(found: dict[str, Any]) -> list[list[str]]:
    """Return lines *fault, promised, how tested, seen* from the results of `measure_trust`."""
    promised = {fault.name: fault.promised for fault in FAULTS} | {
        name: promise for name, (promise, _) in SERVICES.items()
    }
    rows = []
    for name in dict.fromkeys(scene["fault"] for scene in found["scenes"]):
        scenes = [scene for scene in found["scenes"] if scene["fault"] == name]
        tested = ", ".join(scene["moment"] for scene in scenes if scene["moment"]) or "once"
        dark = [scene["dark_after_s"] for scene in scenes if scene["dark_after_s"] is not None]
        seen = f"{sum(scene['holds'] for scene in scenes)} of {len(scenes)} held"
        if dark:
            seen += f"; blanked after {max(dark):.2f} s at most"
        for scene in scenes:
            if scene["wrong"]:
                where = f"{scene['moment']}: " if scene["moment"] else ""
                seen += f"\n{where}{scene['wrong'][0]}"
        rows.append([name, promised[name], tested, seen])
    if found["kills"]:
        kills = found["kills"]
        rows.append(
            [
                f"kill -9 at {kills['kills']} random moments",
                "no completed point lost, the same map when resumed",
                "over Channel Access, half of them with the catalog's writer",
                f"{kills['completed_points_lost']} lost, {kills['same_maps']} of {kills['kills']} the same map",
            ]
        )
    return rows


def trust_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue on trust, from the results of `measure_trust`."""
    figures = []
    scenes = found["scenes"]
    timed = [scene for scene in scenes if scene["dark_after_s"] is not None]
    if timed:
        late = [scene for scene in timed if any(text.startswith("beam lit for") for text in scene["wrong"])]
        figures.append(at_least("beam blanked in time", len(timed) - len(late), len(timed)))
    for words, name in (
        ("the stop document", "stop documents false"),
        ("differ from", "maps that are not the undisturbed one"),
        ("is 'ok'", "points recorded as ok that are not"),
    ):
        wrong = sum(any(words in text for text in scene["wrong"]) for scene in scenes)
        figures.append(equal(name, wrong, 0))
    figures.append(
        at_least("scenes in which all promises held", sum(s["holds"] for s in scenes), len(scenes))
    )
    if found["kills"]:
        kills = found["kills"]
        figures.append(equal("kills: completed points lost", kills["completed_points_lost"], 0))
        figures.append(equal("kills: resumed to the same map", kills["same_maps"], kills["kills"]))
    return figures
