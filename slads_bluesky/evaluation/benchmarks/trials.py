"""Trials of a long benchmark: results that a folder holds are not measured again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...progress import Progress, no_progress

__all__ = ["Report", "Store", "Trial", "make_trials"]

Report = Callable[[float], None]
"""Called with the fraction of one trial that is done, 0 … 1; `make_trials` makes a progress of all trials of it."""


class Store(Protocol):
    """Keeps results: `evaluation.store.TrialStore` is one."""

    def load(self, name: str) -> dict[str, Any] | None:
        """Return the result of that name, None if the store does not hold it."""

    def save(self, name: str, result: dict[str, Any]) -> None:
        """Keep a result."""


@dataclass(frozen=True)
class Trial:
    """One measurement, made and kept by itself."""

    key: str
    """Name of its file: all that its result depends on, but for the code."""
    title: str
    """Stage that the progress shows."""
    work: float
    """About the seconds that it takes on two cores; only the ratios matter."""
    measure: Callable[[Report], dict[str, Any]]
    """Returns figures that JSON can hold."""


def make_trials(
    trials: Sequence[Trial],
    store: Store | None = None,
    progress: Progress = no_progress,
) -> dict[str, dict[str, Any]]:
    """Measure all `trials` that `store` does not hold.

    Parameters
    ----------
    trials : sequence of Trial
        With different keys.
    store : TrialStore, optional
        Where results are looked for and kept.
    progress : callable, optional
        Called with the title of the trial and the fraction of all trials that is done.

    Returns
    -------
    dict
        Key of each trial to its result, in the order of `trials`.
    """
    kept = {trial.key: store.load(trial.key) for trial in trials} if store is not None else {}
    todo = [trial for trial in trials if kept.get(trial.key) is None]
    total = sum(trial.work for trial in todo)
    found: dict[str, dict[str, Any]] = {key: result for key, result in kept.items() if result is not None}
    spent = 0.0
    for trial in todo:

        def report(part: float, trial: Trial = trial, before: float = spent) -> None:
            progress(trial.title, (before + part * trial.work) / total)

        report(0.0)
        found[trial.key] = trial.measure(report)
        if store is not None:
            store.save(trial.key, found[trial.key])
        spent += trial.work
    return {trial.key: found[trial.key] for trial in trials}
