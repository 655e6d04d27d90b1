"""The steps of a table, run one after the other or two at a time, each kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ..process import in_own_process
from ..store import TrialStore
from .fingerprint import fingerprint
from .rival import RIVAL, measure_rival
from .schedule import Schedule, Step
from .smoother import smoother_object
from .trial import METHODS, reference_curves, run_trial_here

__all__ = ["Campaign"]


class Campaign:
    """The results of some steps: those that are kept are loaded, the others are made.

    Parameters
    ----------
    plan : sequence of Step
    out : Path
        Directory of the results; what this very program has kept there is not made again.
    jobs : int
        Steps at a time. Those that go through the whole system, which is several processes already, are taken
        one by one, so that their times are those of a machine left to itself.
    together : bool
        Take those several at a time as well: sooner done, their points a little slower. Each has a record of its own.

    Attributes
    ----------
    results : dict of Step to dict
        What is done.
    schedule : Schedule
        What is left, and for how long.
    """

    def __init__(self, plan: Sequence[Step], out: Path, jobs: int = 1, together: bool = False) -> None:
        self._out, self._jobs, self._together = out, jobs, together
        self._stores = {name: TrialStore(out, fingerprint(method)) for name, method in METHODS.items()}
        self._stores["references"] = TrialStore(out, fingerprint())
        self._stores[RIVAL] = TrialStore(out, fingerprint(rival=True))
        found = {step: self._stores[step.method].load(step.key) for step in plan}
        self.results: dict[Step, Mapping[str, Any]] = {s: r for s, r in found.items() if r is not None}
        took = {step: float(result["trial_s"]) for step, result in self.results.items()}
        self.schedule = Schedule(plan, took.get, jobs, together)

    def run(self, steps: Sequence[Step], started: Callable[[Step], None]) -> None:
        """Do those of `steps` that are not done.

        Parameters
        ----------
        steps : sequence of Step
        started : callable
            Called with each step when it begins.

        Raises
        ------
        InstrumentError, RecordError
            What a step raised; the results of the others are kept.
        """
        todo = [step for step in steps if step not in self.results]
        parallel = [step for step in todo if self._jobs > 1 and (self._together or not step.whole_system)]
        for step in (s for s in todo if s not in parallel):
            started(step)
            self._keep(step, _do(step, self._out, alone=True))
        with ThreadPoolExecutor(self._jobs) as pool:

            def begin(step: Step) -> dict[str, Any]:
                started(step)
                return _do(step, self._out, alone=False)

            futures: dict[Future[dict[str, Any]], Step] = {
                pool.submit(begin, step): step for step in parallel
            }
            try:
                for future in as_completed(futures):
                    self._keep(futures[future], future.result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def smoother(
        self, experiment: str, seeds: Sequence[int], started: Callable[[int], None]
    ) -> list[Mapping[str, Any]]:
        """Search, for the object of each seed, the boundary fraction at which the paper's method reaches its figure.

        Parameters
        ----------
        experiment : str
        seeds : sequence of int
        started : callable
            Called with each seed whose search begins.

        Returns
        -------
        list of dict
            What `smoother.smoother_object` gives, in the order of `seeds`; kept as steps are.
        """
        store = self._stores["references"]

        def search(seed: int) -> Mapping[str, Any]:
            key = f"{experiment}-smoother-{seed}"
            found = store.load(key)
            if found is None:
                started(seed)
                found = in_own_process(smoother_object, experiment, seed)
                store.save(key, found)
            return found

        with ThreadPoolExecutor(self._jobs) as pool:
            return list(pool.map(search, seeds))

    def _keep(self, step: Step, result: dict[str, Any]) -> None:
        self._stores[step.method].save(step.key, result)
        self.results[step] = result
        self.schedule.done(step, float(result["trial_s"]))


def _do(step: Step, out: Path, alone: bool) -> dict[str, Any]:
    if step.method == RIVAL:
        return in_own_process(measure_rival, step.experiment, step.seed)
    if step.method not in METHODS:
        return in_own_process(reference_curves, step.experiment, step.seed)
    record = out / "record" / step.key if step.whole_system else None
    return in_own_process(run_trial_here, step.experiment, step.method, step.seed, record, alone=alone)
