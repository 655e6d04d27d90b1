"""Trials of a long benchmark: those that a folder holds are not made again, and the time left is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Report", "Trial", "make_trials"]

Report = Callable[[float], None]
"""Told which part of a trial is done, 0 … 1."""


class Store(Protocol):
    """What keeps results: `slads_bluesky.evaluation.paper.store.TrialStore`."""

    def load(self, name: str) -> dict[str, Any] | None:
        """Result of that name, None if there is none."""

    def save(self, name: str, result: dict[str, Any]) -> None:
        """Keep a result."""


@dataclass(frozen=True)
class Trial:
    """One measurement that can be made, and kept, by itself."""

    key: str
    """Name of its file: all that its result depends on, but for the code."""
    title: str
    """What a person reads while it is made."""
    work: float
    """About the seconds that it takes on two cores; only the ratios matter."""
    measure: Callable[[Report], dict[str, Any]]
    """Makes it: figures that JSON can hold."""


def make_trials(
    trials: Sequence[Trial],
    store: Store | None = None,
    told: Callable[[str, float | None], None] = lambda title, left: None,
) -> dict[str, dict[str, Any]]:
    """Make all `trials` that `store` does not hold.

    Parameters
    ----------
    trials : sequence of Trial
        With different keys.
    store : TrialStore, optional
        Where results are looked for and kept.
    told : callable, optional
        Called with the title of the trial under way and the seconds left for all of them; None before there is an
        estimate.

    Returns
    -------
    dict
        Key of each trial to its result, in the order of `trials`.
    """
    kept = {trial.key: store.load(trial.key) for trial in trials} if store is not None else {}
    todo = [trial for trial in trials if kept.get(trial.key) is None]
    total = sum(trial.work for trial in todo)
    found: dict[str, dict[str, Any]] = {key: result for key, result in kept.items() if result is not None}
    began, spent = time.monotonic(), 0.0
    for trial in todo:

        def report(part: float, trial: Trial = trial, before: float = spent) -> None:
            done = before + part * trial.work
            elapsed = time.monotonic() - began
            # the first seconds are compilation and say nothing of the rest
            told(trial.title, elapsed / done * (total - done) if done > 0 and elapsed > 2 else None)

        report(0.0)
        found[trial.key] = trial.measure(report)
        if store is not None:
            store.save(trial.key, found[trial.key])
        spent += trial.work
    return {trial.key: found[trial.key] for trial in trials}
