"""Phases found while spectra come: each new spectrum is called at once, and now and then all are looked at again.

Labels are kept over the searches: a phase keeps the number of the one before that most of its counts were of. The
state is a pure function of the spectra in their order, so a replay finds the same phases at the same points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...protocols import UNCLASSIFIED, Classification
from .bins import joined
from .calling import call_spectra
from .elements import ElementPrior
from .labels import Labels
from .mixture import Mixture, Shapes, tempered
from .search import Apart, Found, discover, split_group
from .steps import PhaseStep

__all__ = ["Change", "FoundPhase", "PhaseDiscovery"]

FIRST_SEARCH = 16
"""Spectra before the first search."""
GROWTH = 1.25
"""Each search follows once the number of spectra has grown by this factor, or by `OUTLIERS` that fit no phase."""
AFRESH = 400
"""Spectra up to which a search starts from nothing as well."""
OUTLIERS = 6
BIN_CHANNELS = 8


@dataclass(frozen=True, eq=False)
class FoundPhase:
    """A phase that was found."""

    label: int
    """1, 2, …"""
    n_spectra: int
    spectrum: NDArray[np.int64]
    """(channels,) summed counts of its spectra, mixtures left out."""
    parent: int
    """Label of the phase that it was split off from; 0: none."""
    name: str = ""
    """What the operator named it."""
    forbidden: bool = False
    """Whether the operator forbade it: its spectra are of no phase then."""


@dataclass(frozen=True, eq=False)
class Change:
    """What a search changed."""

    labels: dict[int, Classification]
    """By pixel, of every pixel whose call is another one now."""
    searched: bool
    """Whether all spectra were looked at again."""


class PhaseDiscovery:
    """Finds phases in spectra as they come.

    Parameters
    ----------
    most : int
        Phases at most; labels are 1 … `most`.
    bin_channels : int
        Channels that are summed to a bin, about half the detector's resolution.
    elements : ElementPrior, optional
        What a spectrum can be by the physics model, in the same bins; without it, any curve.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> shapes = np.repeat([[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.3, 0.5]], 8, axis=1) / 8
    >>> found = PhaseDiscovery()
    >>> for pixel in range(40):
    ...     _ = found.ingest(pixel, rng.multinomial(80, shapes[pixel % 2]))
    >>> len(found.phases), found.call(0).label != found.call(1).label
    (2, True)
    """

    def __init__(
        self, *, most: int = 12, bin_channels: int = BIN_CHANNELS, elements: ElementPrior | None = None
    ) -> None:
        if not 1 <= most <= 250:
            raise ConfigError(f"phases to find: 1 to 250, not {most}")
        if bin_channels < 1:
            raise ConfigError(f"channels of a bin: at least 1, not {bin_channels}")
        self.most, self._width, self._elements = most, bin_channels, elements
        self._spectra: list[NDArray[np.int64]] = []
        self._bins: list[NDArray[np.int64]] = []
        self._spread: list[bool] = []
        self._index: dict[int, int] = {}
        self._calls: list[Classification] = []
        self._own: list[int] = []
        """Own label of the group that each spectrum is nearest to, whatever an operator made of it."""
        self._found: Found | None = None
        self._labels = Labels(most)
        self._apart: list[Apart] = []
        """Spectra that an operator has split."""
        self._next_search = FIRST_SEARCH
        self._outliers = 0

    @property
    def n_spectra(self) -> int:
        """Spectra taken so far."""
        return len(self._spectra)

    def call(self, pixel: int) -> Classification:
        """What is thought of a pixel that was ingested."""
        return self._calls[self._index[pixel]]

    @property
    def phases(self) -> tuple[FoundPhase, ...]:
        """Phases found so far, by their labels; forbidden ones included."""
        by_label: dict[int, list[int]] = {}
        # not strict: an operator may look from another thread while a spectrum is taken
        for i, (call, own) in enumerate(zip(self._calls, self._own, strict=False)):
            if call.verdict in ("ok", "ill"):
                by_label.setdefault(self._labels.shown(own), []).append(i)
        return tuple(
            FoundPhase(
                label,
                len(members),
                np.sum([self._spectra[i] for i in members], axis=0),
                self._labels.parents.get(label, 0),
                self._labels.names.get(label, ""),
                label in self._labels.forbidden,
            )
            for label, members in sorted(by_label.items())
            if label
        )

    def undiscovered(self, confidence: float = 0.95) -> tuple[float, float]:
        """Part of the area that phases not found yet may hold: an estimate, and a bound that holds so often.

        The estimate is Good and Turing's, the part of the spread-out spectra that fit no phase; the bound is that of
        Clopper and Pearson for a part of which so many of n such spectra were seen.
        """
        from scipy.stats import beta

        rows = [i for i, spread in enumerate(self._spread) if spread]
        n = len(rows)
        odd = sum(self._calls[i].verdict == "unknown" for i in rows)
        if not n:
            return 1.0, 1.0
        return odd / n, float(beta.ppf(confidence, odd + 1, n - odd)) if odd < n else 1.0

    def ingest(self, pixel: int, counts: NDArray[np.int64], *, spread: bool = True) -> Change:
        """Take the spectrum of a pixel; one that was taken before is replaced, as in the record.

        Parameters
        ----------
        pixel : int
        counts : (channels,) counts
        spread : bool
            Whether the pixel was chosen to be spread over the specimen, not by what was found: those count for
            `undiscovered`.

        Returns
        -------
        Change
            With this pixel, and with every other whose call a search has changed.

        Raises
        ------
        DataError
            If the spectrum has other channels than those before.
        """
        spectrum = np.asarray(counts, np.int64)
        if self._spectra and spectrum.shape != self._spectra[0].shape:
            raise DataError(
                f"spectrum of pixel {pixel}: {spectrum.size} channels, those before had {self._spectra[0].size}"
            )
        if (i := self._index.get(pixel)) is None:
            i = self._index[pixel] = len(self._spectra)
            self._spectra.append(spectrum)
            self._bins.append(self._binned(spectrum))
            self._spread.append(spread)
            self._calls.append(Classification(UNCLASSIFIED, 0.0, "low_counts"))
            self._own.append(UNCLASSIFIED)
        else:
            self._spectra[i], self._bins[i] = spectrum, self._binned(spectrum)
        if self._found is not None:
            (self._calls[i],), (self._own[i],) = self._called(self._bins[i][None])
            self._outliers += self._calls[i].verdict == "unknown"
        before = self._calls
        if self.n_spectra >= self._next_search or self._outliers >= OUTLIERS:
            self.search()
        if self._calls is before:
            return Change({pixel: before[i]}, searched=False)
        return self._change(before, {i})

    def _change(self, before: list[Classification], always: set[int]) -> Change:
        changed = {
            pixel: self._calls[j]
            for pixel, j in self._index.items()
            if j in always or self._calls[j] != before[j]
        }
        return Change(changed, searched=True)

    def search(self) -> None:
        """Look at all spectra again, and call each by what is found."""
        bins = np.array(self._bins)
        found = None
        if self._found is not None:
            start, _ = self._found.posterior(self._found.in_bins(bins))
            found = discover(bins, start, elements=self._elements, apart=self._apart)
        if found is None or (self.n_spectra <= AFRESH and not self._apart):
            # what was found early may be the wrong hill: also from nothing, and the better of both
            afresh = discover(bins, elements=self._elements)
            if found is None or afresh.mixture.evidence > found.mixture.evidence:
                found = afresh
        self._take(found, bins)
        self._next_search = int(np.ceil(GROWTH * self.n_spectra))
        self._outliers = 0

    def _take(self, found: Found, bins: NDArray[np.int64]) -> None:
        """Call all spectra by what was found."""
        self._found = found
        self._labels.follow(found.mixture, np.array(self._own))
        self._calls, self._own = self._called(bins)

    def apply(self, step: PhaseStep) -> tuple[PhaseStep, Change]:
        """Do what an operator wants.

        Returns
        -------
        PhaseStep
            With the reason in ``refused`` if it cannot be done.
        Change
            As `ingest`.
        """
        before = self._calls
        refused = self.refusal(step) or self._do(step)
        if not refused and self._found is not None:
            self._calls, self._own = self._called(np.array(self._bins))
        return replace(step, refused=refused), self._change(before, set())

    def refusal(self, step: PhaseStep) -> str:
        """Why a step cannot be done now; empty if it can."""
        known = {phase.label: phase for phase in self.phases}
        for label in (step.label, *([step.other] if step.action == "merge" else [])):
            if label not in known:
                return f"there is no phase {label}; there are {', '.join(map(str, known)) or 'none yet'}"
        if step.action == "name" and step.name in (p.name for p in known.values() if p.label != step.label):
            return f"another phase is named '{step.name}'"
        return ""

    def _do(self, step: PhaseStep) -> str:
        """Do it; returns why it could not be done."""
        if step.action == "name":
            self._labels.names[step.label] = step.name.strip()
        elif step.action == "merge":
            self._labels.merge(step.label, step.other)
        elif step.action == "forbid":
            self._labels.forbidden.add(step.label)
        elif step.action == "allow":
            self._labels.forbidden.discard(step.label)
        else:
            return self._split(step.label)
        return ""

    def _split(self, label: int) -> str:
        assert self._found is not None
        if self._labels.unmerge(label):
            return ""
        groups = self._labels.groups_of(label)
        if len([own for own in self._labels.own if own]) >= self.most:
            return f"there are {self.most} phases, the most that there may be"
        bins, mixture = np.array(self._bins), self._found.mixture
        responsibility, _ = self._found.posterior(self._found.in_bins(bins))
        group = max(groups, key=lambda k: float(mixture.sizes[k]))
        wider = split_group(bins, responsibility, group)
        if wider is None:
            return f"phase {label} has too few spectra to be split"
        hard = wider.argmax(axis=1)
        one, other = np.flatnonzero(hard == group), np.flatnonzero(hard == wider.shape[1] - 1)
        if not (len(one) and len(other)):
            return f"phase {label} cannot be split"
        weighted = joined(tempered(bins), self._found.starts)
        split = Mixture(weighted, wider, Shapes(weighted)).with_mixtures()
        if split.sizes.min() < 1.0:
            return f"phase {label} cannot be split: its spectra are all alike"
        self._apart.append((one, other))
        self._take(Found(split, self._found.starts), bins)
        return ""

    def _binned(self, spectrum: NDArray[np.int64]) -> NDArray[np.int64]:
        edges = np.arange(0, len(spectrum), self._width)
        return np.asarray(np.add.reduceat(spectrum, edges))

    def _called(self, bins: NDArray[np.int64]) -> tuple[list[Classification], list[int]]:
        """Calls of spectra (m, bins), and the own labels of their groups."""
        assert self._found is not None
        labels = self._labels
        calls, groups = call_spectra(self._found, [labels.shown(own) for own in labels.own], bins)
        forbidden = Classification(UNCLASSIFIED, 0.0, "ill")
        calls = [forbidden if call.label in labels.forbidden else call for call in calls]
        return calls, [labels.own[k] for k in groups.tolist()]
