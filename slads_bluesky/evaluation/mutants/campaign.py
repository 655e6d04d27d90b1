"""A sample of mutants of some modules against the tests of each, and which of them nobody noticed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...progress import Progress, no_progress, part_of
from ..figures import Figure, at_least, measured
from ..store import TrialStore
from .changes import Mutant, mutants
from .trial import KILLED, SURVIVED, TIMED_OUT, preload, try_mutant

__all__ = ["TARGETS", "Target", "measure_mutants", "mutant_figures"]


@dataclass(frozen=True)
class Target:
    """Some modules, and the tests that should notice a change in them."""

    name: str
    folder: str
    """Of the modules, in the repository."""
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    compiled: bool = True
    """Whether numba compiles the modules; else they run as Python, which the tests have to be small enough for."""


_PLANS = "tests/units/plans"
_SAMPLING = "tests/units/sampling"
TARGETS = (
    Target("slads", "slads_bluesky/sampling/slads",
           ("engine", "erd", "features", "neighbors", "pixel_error", "reconstruct", "reduction", "sampler", "state"),
           (f"{_SAMPLING}/test_small_grids.py",),
           compiled=False),
    Target("journal", "slads_bluesky/record/journal", ("checksums", "order", "reading", "writing"),
           (*(f"tests/units/record/test_{name}.py"
              for name in ("journal", "journal_ends", "checksums", "vanishing")), "-k",
            "not kill_9 and not catalog and not shown_without and not went_back and not private")),
    Target("plans", "plans",
           ("adaptive", "away", "budget", "collect", "patience", "points", "raster", "run", "stubs"),
           (*(f"{_PLANS}/test_{name}.py" for name in
              ("safeguards", "away", "adaptive", "raster", "series", "faults", "dwell", "arguments", "described")),
            "-k", "soft or account or patience or until_answered or for_good or (away and collected) or dose_of or "
                  "budget or tolerance or raster or arguments or described or spots")),
)  # fmt: skip
"""What the issue on trust names."""


def measure_mutants(
    names: Sequence[str] | None,
    n: int,
    *,
    seed: int = 0,
    root: Path | None = None,
    keep: Path | None = None,
    progress: Progress = no_progress,
    on_survivor: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Try a sample of mutants of each target.

    Parameters
    ----------
    names : sequence of str, optional
        Names of `TARGETS`, or of one of their modules; all without them.
    n : int
        Mutants of each target.
    seed : int
        Of the sample.
    root : Path, optional
        The repository; by default the one that this package is imported from.
    keep : Path, optional
        Folder of results: a mutant that was tried against these very tests and modules is not tried again.
    progress : callable, optional
        Called with what is tried and the fraction that is done.
    on_survivor : callable, optional
        Called with each mutant that no test noticed.

    Returns
    -------
    list of dict
        For each target ``mutants``, the number of each outcome, ``possible`` mutants, and ``survivors``.

    Raises
    ------
    ConfigError
        If there is no such target, no test here, or the tests fail on the modules as they are.
    """
    base = root if root is not None else Path(__file__).parents[3]
    known = {target.name for target in TARGETS} | {module for target in TARGETS for module in target.modules}
    for name in names or ():
        if name not in known:
            raise ConfigError(f"no module to change is named '{name}'; known: {', '.join(sorted(known))}")
    if not (base / "tests").is_dir():
        raise ConfigError(f"{base} has no tests: mutants are tried in a checkout")
    chosen = [target for target in TARGETS if names is None or {target.name, *target.modules} & set(names)]
    found = []
    for i, target in enumerate(chosen):
        stage = part_of(progress, i / len(chosen), (i + 1) / len(chosen))
        found.append(_try_target(target, names, n, seed, base, keep, stage, on_survivor))
    return found


def _try_target(
    target: Target,
    names: Sequence[str] | None,
    n: int,
    seed: int,
    base: Path,
    keep: Path | None,
    progress: Progress,
    on_survivor: Callable[[str], None],
) -> dict[str, Any]:
    modules = [m for m in target.modules if names is None or target.name in names or m in names]
    possible: list[tuple[str, Mutant]] = [
        (module, mutant)
        for module in modules
        for mutant in mutants((base / target.folder / f"{module}.py").read_text())
    ]
    sample = random.Random(f"{seed}{target.name}").sample(possible, min(n, len(possible)))
    tests = [
        word if word.startswith("-") or not word.endswith(".py") else str(base / word)
        for word in target.tests
    ]
    store = TrialStore(keep, _version(target, base)) if keep is not None else None
    preload()

    def tried(module: str, source: str, limit_s: float) -> tuple[str, float]:
        path = base / target.folder / f"{module}.py"
        package = ".".join(Path(target.folder).parts)
        name = f"{package if package.startswith('slads_bluesky') else f'slads_bluesky.{package}'}.{module}"
        return try_mutant(name, path, source, tests, limit_s, compiled=target.compiled)

    whole = (base / target.folder / f"{modules[0]}.py").read_text()

    def result(name: str, module: str, source: str, limit_s: float) -> tuple[str, float]:
        kept = store.load(name) if store is not None else None
        if kept is None:
            outcome, cpu_s = tried(module, source, limit_s)
            kept = {"outcome": outcome, "cpu_s": cpu_s}
            failed = source == whole and outcome != SURVIVED  # by chance, or they are repaired: run again
            if store is not None and not failed:
                store.save(name, kept)
        return str(kept["outcome"]), float(kept["cpu_s"])

    progress(f"{target.name}: as it is", 0.0)
    outcome, baseline_cpu_s = result(f"{target.name}-{modules[0]}-as_it_is", modules[0], whole, 900.0)
    if outcome != SURVIVED:
        raise ConfigError(
            f"{target.name}: its tests fail as it is ({outcome}); run pytest {' '.join(target.tests)}"
        )
    counts = dict.fromkeys((KILLED, TIMED_OUT, SURVIVED), 0)
    survivors = []
    for i, (module, mutant) in enumerate(sample):
        progress(f"{target.name}: {module}", i / len(sample))
        name = f"{target.name}-{module}-{mutant.line}-{_digest(mutant.source)}"
        outcome, _ = result(name, module, mutant.source, 3.0 * baseline_cpu_s + 10.0)
        counts[outcome] += 1
        if outcome == SURVIVED:
            survivors.append(f"{target.folder}/{module}.py:{mutant}")
            on_survivor(survivors[-1])
    return {
        "target": target.name, "possible": len(possible), "mutants": len(sample),
        "baseline_cpu_s": baseline_cpu_s, **counts, "survivors": survivors,
    }  # fmt: skip


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _version(target: Target, base: Path) -> str:
    """Of the tests of a target and of the folder of its modules: what decides whether a mutant is noticed."""
    files = [
        *(base / word for word in target.tests if word.endswith(".py")),
        *sorted((base / target.folder).rglob("*.py")),
    ]
    return _digest("by processor time", *target.tests, *(path.read_text() for path in files))


def mutant_figures(found: Sequence[dict[str, Any]]) -> list[Figure]:
    """Return the figures of the issue on trust, from the results of `measure_mutants`."""
    total = sum(row["mutants"] for row in found)
    return [
        at_least("mutants tried", total, 200),
        measured("mutants that a test noticed", sum(row[KILLED] + row[TIMED_OUT] for row in found), ""),
    ]
