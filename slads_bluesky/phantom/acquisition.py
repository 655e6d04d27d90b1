"""A spectrum that grows while the beam stands: the record of a full dwell, spread over its time.

A Poisson record, looked at half-way, is a binomial thinning of itself. So the record is halved again and again
towards the wanted moment; each half's generator is keyed by its place in the tree of halves, which makes the
counts at a time the same however often, and in whatever order, somebody looked before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Acquisition"]

_DEPTH = 16
"""Halvings: a 10 s dwell grows in steps of 0.15 ms."""


class Acquisition:
    """One acquisition at one pixel.

    Parameters
    ----------
    full_dwell_s : float
        Live time of a record, s.
    record : callable of int
        The n-th whole record, (channels,) counts: 0 for the first `full_dwell_s`, 1 for the next, and so on.
    generator : callable of (int, int)
        A generator for the n-th record and a node of its tree of halves.
    """

    def __init__(
        self,
        full_dwell_s: float,
        record: Callable[[int], NDArray[np.int32]],
        generator: Callable[[int, int], np.random.Generator],
    ) -> None:
        self._full_dwell_s = full_dwell_s
        self._record = record
        self._generator = generator
        self._nodes: dict[tuple[int, int], NDArray[np.int32]] = {}

    def counts_at(self, live_time_s: float) -> NDArray[np.int32]:
        """Counts recorded so far.

        Parameters
        ----------
        live_time_s : float
            Live time since the start, s; 0 or more.

        Returns
        -------
        (channels,) int32 array
            Never smaller at a later time, in any channel.
        """
        if not live_time_s >= 0:
            raise ValueError(f"live time must be 0 or more, not {live_time_s}")
        steps = round(live_time_s / self._full_dwell_s * (1 << _DEPTH))
        repeat, steps = divmod(steps, 1 << _DEPTH)
        counts = np.zeros_like(self._node(0, 1))
        for whole in range(repeat):
            counts += self._node(whole, 1)
        node, left = 1, steps  # node n has the halves 2n (earlier) and 2n + 1
        for level in range(_DEPTH - 1, -1, -1):
            if left == 0:
                break
            earlier = self._node(repeat, 2 * node)
            if left >= 1 << level:
                counts += earlier
                left -= 1 << level
                node = 2 * node + 1
            else:
                node = 2 * node
        return counts

    def _node(self, repeat: int, node: int) -> NDArray[np.int32]:
        key = (repeat, node)
        if key not in self._nodes:
            if node == 1:
                made = self._record(repeat)
            elif node % 2:
                made = self._node(repeat, node // 2) - self._node(repeat, node - 1)
            else:
                parent = self._node(repeat, node // 2)
                made = self._generator(repeat, node).binomial(parent, 0.5).astype(np.int32)
            self._nodes[key] = made
        return self._nodes[key]
