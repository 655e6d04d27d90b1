"""What found phases may be: composition and candidates of each, worked out aside while a map runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SladsError
from ...spectra.axis import EnergyAxis
from .candidates import Candidate, candidate_table, match_composition
from .geometry import Conditions
from .quantify import quantify

__all__ = ["PhaseNames", "describe_phase"]

_log = logging.getLogger(__name__)

LEAST_COUNTS = 2_000
"""A spectrum of fewer counts is not quantified."""
GROWTH = 1.5
"""A phase is quantified again once its counts have grown by this factor."""
LEAST_PROBABILITY = 0.01
MOST_CANDIDATES = 3


def describe_phase(
    spectrum: NDArray[np.int64],
    axis: EnergyAxis,
    conditions: Conditions,
    candidates: Sequence[Candidate] | None = None,
) -> dict[str, Any]:
    """Say what the summed spectrum (channels,) of a phase may be.

    Returns
    -------
    dict
        JSON: ``composition``, mass fraction and standard deviation by element; ``candidates``, name and probability,
        the most probable first (``""``: none of the table); ``counts``; or ``why_not``, why there is neither.

    Examples
    --------
    >>> import numpy as np
    >>> from slads_bluesky.spectra.physics.spectrum import expected_counts
    >>> axis = EnergyAxis.phenom()
    >>> counts = np.random.default_rng(0).poisson(expected_counts("SiO2", axis, total_counts=50_000))
    >>> describe_phase(counts, axis, Conditions())["candidates"][0]["name"]
    'quartz'
    """
    counts = int(spectrum.sum())
    if counts < LEAST_COUNTS:
        return {"counts": counts, "why_not": f"{counts} counts, {LEAST_COUNTS} are needed"}
    try:
        found = quantify(spectrum, axis, conditions)
        matches = match_composition(found, candidates, most=MOST_CANDIDATES + 1)
    except SladsError as error:
        return {"counts": counts, "why_not": str(error)}
    return {
        "counts": counts,
        "composition": {e.symbol: [e.mass_fraction, e.mass_fraction_sd] for e in found.elements},
        "candidates": [
            {"name": m.name, "probability": m.probability}
            for m in matches
            if m.probability >= LEAST_PROBABILITY
        ][:MOST_CANDIDATES],
    }


class PhaseNames:
    """Describes phases in a thread of its own, so that a map does not wait for it.

    Parameters
    ----------
    axis : EnergyAxis
    conditions : Conditions
    candidates : sequence of Candidate, optional
        Default: the shipped table.
    """

    def __init__(
        self, axis: EnergyAxis, conditions: Conditions, candidates: Sequence[Candidate] | None = None
    ) -> None:
        self._axis, self._conditions = axis, conditions
        self._candidates = tuple(candidates) if candidates is not None else candidate_table()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="slads-names")
        self._known: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._under_way: Future[None] | None = None

    def describe(self, spectra: Mapping[int, NDArray[np.int64]], *, wait: bool) -> dict[int, dict[str, Any]]:
        """Return what is known of phases, by label; start on those that have many counts more by now.

        Parameters
        ----------
        spectra : mapping of int to (channels,) int64
            Summed counts by label.
        wait : bool
            Whether to wait until all are described.
        """
        if self._under_way is not None and wait:
            self._under_way.result()
        if self._under_way is None or self._under_way.done():
            due = {
                label: np.array(spectrum)
                for label, spectrum in spectra.items()
                if self._is_due(label, spectrum)
            }
            if due:
                self._under_way = self._worker.submit(self._work, due)
                if wait:
                    self._under_way.result()
        with self._lock:
            return {label: self._known[label] for label in spectra if label in self._known}

    def _is_due(self, label: int, spectrum: NDArray[np.int64]) -> bool:
        with self._lock:
            known = self._known.get(label)
        total = int(spectrum.sum())
        if known is None:
            return True
        before = int(known["counts"])
        return total >= GROWTH * before or total < before / GROWTH

    def _work(self, spectra: Mapping[int, NDArray[np.int64]]) -> None:
        for label, spectrum in spectra.items():
            try:
                about = describe_phase(spectrum, self._axis, self._conditions, self._candidates)
            except Exception as error:  # a map is not ended by what its phases may be called
                _log.exception("phase %d is not described", label)
                about = {"counts": int(spectrum.sum()), "why_not": f"{type(error).__name__}: {error}"}
            with self._lock:
                self._known[label] = about
