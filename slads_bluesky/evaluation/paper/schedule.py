"""Which trials make a table, and how long those that are left will take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...phantom.paper_results import PAPER
from .rival import RIVAL
from .trial import METHODS

__all__ = ["QUICK", "Schedule", "Step", "steps"]

QUICK = ("pbsn-128", "powder-256")
"""The small objects, which run through the whole system: microscope over Channel Access, journal and catalog."""

_MS_PER_POINT = {("paper", True): 1.5, ("ours", True): 3.0, ("paper", False): 7.0, ("ours", False): 10.0}
"""By method and whether devices are soft, on two idle cores; only their ratios matter once a trial is done."""
_SECONDS_PER_PIXEL = {"paper": 5e-5, "ours": 6e-5}
"""Training, and reconstructing the map again and again for its curve."""
_START_S = 15.0


@dataclass(frozen=True)
class Step:
    """One trial; or, with the method ``references``, the curves that need no spectra, or ``rival``, fast rasters."""

    experiment: str
    method: str
    seed: int

    @property
    def key(self) -> str:
        """Name of its result."""
        return f"{self.experiment}-{self.method}-{self.seed}"

    @property
    def whole_system(self) -> bool:
        """Whether it goes through the microscope over Channel Access, journal and catalog."""
        return self.experiment in QUICK

    @property
    def expected_s(self) -> float:
        """How long it should take."""
        n_pixels = int(self.experiment.partition("-")[2]) ** 2
        if self.method == RIVAL:
            return 5.0 + 3e-4 * n_pixels
        if self.method not in METHODS:
            return 2.0 + 7e-5 * n_pixels
        points = PAPER[self.experiment].fraction * n_pixels
        per_point = _MS_PER_POINT[self.method, not self.whole_system] * 1e-3
        return _START_S + per_point * points + _SECONDS_PER_PIXEL[self.method] * n_pixels


def steps(experiments: Sequence[str], seeds: Iterable[int]) -> list[Step]:
    """Trials of some experiments with some seeds, in the order in which they are run."""
    numbers = list(seeds)
    return [
        Step(name, method, seed)
        for name in experiments
        for seed in numbers
        for method in (*METHODS, "references", RIVAL)
    ]


class Schedule:
    """The time that is left, from what the steps done so far took.

    Parameters
    ----------
    plan : sequence of Step
        All steps.
    took : callable
        Seconds that a step took, as kept with its result; None for one that is to be done.
    jobs : int
        How many steps on soft devices are done at a time.
    together : bool
        Whether so many of those through the whole system are done at a time as well.
    """

    def __init__(
        self,
        plan: Sequence[Step],
        took: Callable[[Step], float | None],
        jobs: int = 1,
        together: bool = False,
    ) -> None:
        self._plan, self._jobs, self._together = plan, jobs, together
        self._took = {step: took(step) for step in plan}

    @property
    def n_steps(self) -> int:
        """All steps."""
        return len(self._plan)

    @property
    def n_done(self) -> int:
        """Steps that are done."""
        return sum(seconds is not None for seconds in self._took.values())

    def done(self, step: Step, seconds: float) -> None:
        """Note that a step is done."""
        self._took[step] = seconds

    @property
    def left_s(self) -> float:
        """Time that is left, s: what is expected, times how much longer than expected the others took."""
        done = [(step.expected_s, seconds) for step, seconds in self._took.items() if seconds is not None]
        pace = sum(seconds for _, seconds in done) / sum(e for e, _ in done) if done else 1.0
        left = [step for step, seconds in self._took.items() if seconds is None]
        return pace * sum(step.expected_s / self._at_a_time(step) for step in left)

    def _at_a_time(self, step: Step) -> int:
        return 1 if step.whole_system and not self._together else self._jobs
