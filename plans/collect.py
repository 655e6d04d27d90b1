"""Spectra of one phase, taken to train a classifier on: many, at slightly different spots, all of the same dwell."""

from collections.abc import Generator, Mapping, Sequence
from math import cos, isfinite, pi, sin, sqrt
from time import time
from typing import Any, Unpack

from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError
from slads_bluesky.protocols import Beam, Detector, EventKeys

from .ledger import Ledger
from .run import Limits, Points, RunOptions, in_order, one_run
from .start import versions

__all__ = ["PHASE_KEY", "SPOT_KEY", "CollectPoint", "collect_phase", "spots"]

PHASE_KEY = "collect_phase"
SPOT_KEY = "collect_spot"

GOLDEN_ANGLE = pi * (3.0 - sqrt(5.0))


def spots(
    positions: Sequence[tuple[float, float]], n: int, spread_um: float = 0.0
) -> list[tuple[float, float]]:
    """Spread `n` spots evenly over discs around some positions.

    Around each position they lie on Fibonacci's spiral, the first in its middle, so that no two of them share
    their damage or their carbon spot. Positions take turns.

    Parameters
    ----------
    positions : sequence of (x, y)
        µm.
    n : int
        Spots altogether, at least 1.
    spread_um : float
        Radius of each disc.

    Returns
    -------
    list of (x, y)
        µm.

    Raises
    ------
    ConfigError
        If there is no position, or a number is out of bounds.
    """
    if not positions:
        raise ConfigError("no position to take spectra at")
    if n < 1 or not (isfinite(spread_um) and spread_um >= 0):
        raise ConfigError(f"at least one spectrum and a spread of 0 or more, not {n} and {spread_um} µm")
    if not all(len(p) == 2 and isfinite(p[0]) and isfinite(p[1]) for p in positions):
        raise ConfigError(f"positions are (x, y) in µm, not {list(positions)}")
    turns = -(-n // len(positions))
    found = []
    for i in range(n):
        turn, (x, y) = i // len(positions), positions[i % len(positions)]
        radius, angle = spread_um * sqrt(turn / max(1, turns - 1)), turn * GOLDEN_ANGLE
        found.append((float(x + radius * cos(angle)), float(y + radius * sin(angle))))
    return found


class CollectPoint:
    """A readable: the phase that the user names, and the number of the spot."""

    name = "collect"
    parent = None
    hints: Mapping[str, Any] = {"fields": [SPOT_KEY]}

    def __init__(self, phase: str) -> None:
        self._phase = phase
        self._spot = -1
        self._time = 0.0

    def choose(self, spot: int, place: tuple[float, float]) -> tuple[float, float]:
        """Go to a spot, by its number; return its position."""
        self._spot, self._time = spot, time()
        return place

    def read(self) -> dict[str, Any]:
        """Phase and spot."""
        return {
            PHASE_KEY: {"value": self._phase, "timestamp": self._time},
            SPOT_KEY: {"value": self._spot, "timestamp": self._time},
        }

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        common = {"shape": [], "source": "plan:collect"}
        return {
            PHASE_KEY: {"dtype": "string", **common},
            SPOT_KEY: {"dtype": "integer", "dtype_numpy": "<i8", **common},
        }


def collect_phase(
    beam: Beam,
    eds: Detector,
    phase: str,
    positions: Sequence[tuple[float, float]] | None = None,
    *,
    n: int = 24,
    spread_um: float = 0.0,
    **options: Unpack[RunOptions],
) -> Generator[Msg, Any, str]:
    """Take spectra of one phase: one run, an Event each.

    Parameters
    ----------
    beam, eds : Beam, Detector
        A rule of the detector's that stops acquisitions early is put aside meanwhile, and `stop_rule` is passed over:
        every spectrum has the same dwell.
    phase : str
        Its name.
    positions : sequence of (x, y), optional
        Places known to be of the phase, µm; by default the one where the beam stands.
    n : int
        Spectra altogether; the paper has 24, half to train and half to validate.
    spread_um : float
        See `spots`.
    **options
        See `plans.run.RunOptions`.

    Returns
    -------
    str
        Why the run ended, as in the stop document.

    Raises
    ------
    ConfigError
        If the phase has no name, or a number is out of bounds.
    InstrumentError
        If a spot lies outside the field (nothing is measured then), or too many failed.
    """
    if not phase.strip():
        raise ConfigError("a phase needs a name")
    limits = Limits.of({**options, "stop_rule": None})
    here = getattr(beam, "position", (0.0, 0.0)) if positions is None else None
    places = spots([(float(here[0]), float(here[1]))] if here is not None else positions or (), n, spread_um)
    point, points = (
        CollectPoint(phase),
        Points(beam, eds, limits, EventKeys(), options.get("ledger") or Ledger()),
    )
    start = {
        "plan_name": "collect_spectra", "plan_type": "generator", "detectors": [eds.name], "motors": [beam.name],
        "hints": {"dimensions": [([SPOT_KEY], "primary")]},
        **(options.get("md") or {}),
        "plan_args": {"beam": beam.name, "eds": eds.name, "n": n, "spread_um": spread_um, **limits.to_json()},
        "phase": phase, "num_points": n, "versions": versions(),
    }  # fmt: skip
    choices = (lambda i=i, place=place: point.choose(i, place) for i, place in enumerate(places))

    return (
        yield from one_run(
            points,
            lambda: in_order(points, choices, [point], f"{n} spectra of {phase}"),
            beam=beam,
            eds=eds,
            start=start,
            places=places,
            limits=limits,
            baseline=options.get("baseline", ()),
            suspenders=options.get("suspenders", ()),
        )
    )
