"""All scenes of `bench trust`, one after the other, and the table *promised / how tested / seen*."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...codehash import code_hash
from ...errors import ConfigError
from ...progress import Progress, no_progress
from ..benchmarks.kills import measure_kills
from ..store import TrialStore
from .faults import AROUND, EVERY, FAULTS, MOMENTS, Fault
from .rig import Rig
from .scenes import Seen, SessionPool, play, reference_map
from .services import SERVICES, play_service

__all__ = ["QUICK", "measure_trust"]

SESSION, IOC = f"{__package__}.session_process", "slads_bluesky.devices.sim.ioc"
"""Programs that run in processes of their own; a result is of their code too."""

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
        Only these of `faults.MOMENTS` and `faults.AROUND`.
    quick : bool
        Only `QUICK`, without services.

    Raises
    ------
    ConfigError
        Naming a word or a moment that fits nothing.
    """
    for moment in moments or ():
        if moment not in (*MOMENTS, *AROUND):
            raise ConfigError(
                f"unknown moment '{moment}'; known: {', '.join(dict.fromkeys((*AROUND, *MOMENTS)))}"
            )
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
    keep: Path | None = None,
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
    keep : Path, optional
        Folder of results: a scene whose result it holds, of this very program, is not played again.
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

    store = _store(keep)

    def take(seen: Seen) -> None:
        scene = {**asdict(seen), "holds": seen.holds}
        found["scenes"].append(scene)
        if store is not None:
            store.save(_slug(seed, layer, seen.fault, seen.moment), {"scene": scene})
        on_scene(scene)

    def missing(fault: str, moment: str) -> bool:
        kept = store.load(_slug(seed, layer, fault, moment)) if store is not None else None
        if kept is not None:
            found["scenes"].append(kept["scene"])
        return kept is None

    total = len(matrix) + len(services) + bool(kills)
    found: dict[str, Any] = {"seed": seed, "layer": layer, "quick": quick, "scenes": [], "kills": None}
    matrix = [(fault, moment) for fault, moment in matrix if missing(fault.name, moment)]
    services = [name for name in services if missing(name, "")]
    with tempfile.TemporaryDirectory(
        prefix="slads-trust-", dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        if matrix or services:
            progress("the undisturbed map", 0.0)
            with Rig(Path(scratch), seed) as rig:
                pool = SessionPool(rig, layer)
                try:
                    _play(rig, pool, matrix, services, total, progress, take)
                finally:
                    pool.drop()
        if kills:
            progress(f"{kills} kills", (total - 1) / total)
            name = f"kills-{kills}-{seed}"
            kept = store.load(name) if store is not None else None
            found["kills"] = kept or measure_kills(kills, "pbsn-48", 0.12, soft=False, seed=seed)
            if store is not None and kept is None:
                store.save(name, found["kills"])
    order = {name: i for i, name in enumerate((*(fault.name for fault in FAULTS), *SERVICES))}
    moment_order = {name: i for i, name in enumerate(("", *EVERY))}
    found["scenes"].sort(key=lambda scene: (order[scene["fault"]], moment_order[scene["moment"]]))
    return found


def _store(keep: Path | None) -> TrialStore | None:
    return None if keep is None else TrialStore(keep, code_hash(__name__, SESSION, IOC)[:16])


def _slug(seed: int, layer: str, fault: str, moment: str) -> str:
    return "-".join(
        re.sub(r"[^a-z0-9]+", "_", part.casefold()) for part in (str(seed), layer, fault, moment) if part
    )


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
