"""Labels of groups that last over the searches, and what an operator has made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...protocols import UNCLASSIFIED
from .mixture import Mixture

__all__ = ["Labels"]


class Labels:
    """Which label each group has: its own, and the one that is shown, which operators may have changed.

    Parameters
    ----------
    most : int
        Labels are 1 … `most`.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.own: list[int] = []
        """Of each group; 0 of groups for which there was no label left."""
        self.parents: dict[int, int] = {}
        """Label that each was split off from; 0: none."""
        self.names: dict[int, str] = {}
        self.forbidden: set[int] = set()
        self._into: dict[int, int] = {}

    def shown(self, label: int) -> int:
        """Label that a group with an own label shows."""
        return self._into.get(label, label)

    def groups_of(self, label: int) -> list[int]:
        """Indices of the groups that show a label."""
        return [k for k, own in enumerate(self.own) if own and self.shown(own) == label]

    def merge(self, label: int, other: int) -> None:
        """Let all that shows a label show another."""
        for own in range(1, self.most + 1):
            if self.shown(own) == label:
                self._into[own] = other
        if label in self.names:
            self.names.setdefault(other, self.names.pop(label))

    def unmerge(self, label: int) -> bool:
        """Let all groups that show a label show their own again; whether there were several."""
        merged = [own for own, shown in self._into.items() if shown == label and own in self.own]
        for own in [own for own, shown in self._into.items() if shown == label]:
            del self._into[own]
        return bool(merged)

    def follow(self, mixture: Mixture, before: NDArray[np.int64]) -> None:
        """Give each group the own label that most of its spectra had, or a new one.

        Parameters
        ----------
        mixture : Mixture
        before : (n,) int64
            Own labels of the spectra before, 0 where they had none.
        """
        hard = mixture.hard
        groups = range(mixture.n_phases)
        shared = {
            (k, int(label)): int(((hard == k) & (before == label)).sum())
            for k in groups
            for label in set(before.tolist()) - {0}
        }
        labels: dict[int, int] = {}
        for (k, label), n in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
            if n and k not in labels and label not in labels.values():
                labels[k] = label
        for k in sorted(set(groups) - set(labels), key=lambda k: -mixture.sizes[k]):
            free = [n for n in range(1, self.most + 1) if n not in labels.values()]
            unused = [n for n in free if n not in self.parents] or free
            if not unused:
                break  # more phases than labels: the smallest stay unclassified
            new = labels[k] = unused[0]
            mine = [label for label in before[hard == k].tolist() if label]
            parent = max(set(mine), key=mine.count) if mine else 0
            self._renew(new, parent)
        self.own = [labels.get(k, UNCLASSIFIED) for k in range(mixture.n_phases)]

    def _renew(self, label: int, parent: int) -> None:
        """Forget what a label stood for; what was split off from merged phases shows what they show."""
        self.names.pop(label, None)
        self.forbidden.discard(label)
        self._into.pop(label, None)
        self.parents[label] = self.shown(parent) if parent else 0
        shown = self.shown(parent) if parent else 0
        if shown and (parent in self._into or shown in self._into.values()):
            self._into[label] = shown
