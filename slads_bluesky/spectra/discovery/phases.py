"""Phases found while spectra come: each new spectrum is called at once, and now and then all are looked at again.

Labels are kept over the searches: a phase keeps the number of the one before that most of its counts were of. The
state is a pure function of the spectra in their order, so a replay finds the same phases at the same points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...protocols import UNCLASSIFIED, Classification, Verdict
from .mixture import Floats, tempered
from .search import ALIKE, Found, discover

__all__ = ["Change", "FoundPhase", "PhaseDiscovery"]

FIRST_SEARCH = 16
"""Spectra before the first search."""
GROWTH = 1.25
"""Each search follows once the number of spectra has grown by this factor, or by `OUTLIERS` that fit no phase."""
AFRESH = 5000
"""Spectra up to which a search starts from nothing as well."""
OUTLIERS = 6
SURE = 0.9
"""Posterior from which a spectrum votes."""
SIGMAS = 5.0
"""A spectrum fits no phase if its chi-square lies so many standard deviations above what chance explains."""
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

    def __init__(self, *, most: int = 12, bin_channels: int = BIN_CHANNELS) -> None:
        if not 1 <= most <= 250:
            raise ConfigError(f"phases to find: 1 to 250, not {most}")
        if bin_channels < 1:
            raise ConfigError(f"channels of a bin: at least 1, not {bin_channels}")
        self.most, self._width = most, bin_channels
        self._spectra: list[NDArray[np.int64]] = []
        self._bins: list[NDArray[np.int64]] = []
        self._index: dict[int, int] = {}
        self._calls: list[Classification] = []
        self._found: Found | None = None
        self._labels: list[int] = []
        """Of each group; of a mixture 0."""
        self._parents: dict[int, int] = {}
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
        """Phases found so far, by their labels."""
        by_label: dict[int, list[int]] = {}
        for i, call in enumerate(self._calls):
            if call.verdict == "ok":
                by_label.setdefault(call.label, []).append(i)
        return tuple(
            FoundPhase(
                label,
                len(members),
                np.sum([self._spectra[i] for i in members], axis=0),
                self._parents.get(label, 0),
            )
            for label, members in sorted(by_label.items())
        )

    def undiscovered(self, confidence: float = 0.95) -> tuple[float, float]:
        """Part of the area that phases not found yet may hold: an estimate, and a bound that holds so often.

        The estimate is Good and Turing's, the part of the spectra that fit no phase; the bound is that of Clopper and
        Pearson for a part of which so many of n spectra, spread over the specimen, were seen.
        """
        from scipy.stats import beta

        n, odd = self.n_spectra, sum(call.verdict == "unknown" for call in self._calls)
        if not n:
            return 1.0, 1.0
        return odd / n, float(beta.ppf(confidence, odd + 1, n - odd)) if odd < n else 1.0

    def ingest(self, pixel: int, counts: NDArray[np.int64]) -> Change:
        """Take the spectrum of a pixel; one that was taken before is replaced, as in the record.

        Parameters
        ----------
        pixel : int
        counts : (channels,) counts

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
            self._calls.append(Classification(UNCLASSIFIED, 0.0, "low_counts"))
        else:
            self._spectra[i], self._bins[i] = spectrum, self._binned(spectrum)
        if self._found is not None:
            self._calls[i] = self._called(self._bins[i][None])[0]
            self._outliers += self._calls[i].verdict == "unknown"
        before = self._calls
        if self.n_spectra >= self._next_search or self._outliers >= OUTLIERS:
            self.search()
        if self._calls is before:
            return Change({pixel: before[i]}, searched=False)
        changed = {p: self._calls[j] for p, j in self._index.items() if j == i or self._calls[j] != before[j]}
        return Change(changed, searched=True)

    def search(self) -> None:
        """Look at all spectra again, and call each by what is found."""
        bins = np.array(self._bins)
        found = None
        if self._found is not None:
            found = discover(bins, self._found.mixture.posterior(tempered(bins)))
        if found is None or self.n_spectra <= AFRESH:
            # what was found early may be the wrong hill: also from nothing, and the better of both
            afresh = discover(bins)
            if found is None or afresh.mixture.bound > found.mixture.bound:
                found = afresh
        self._found = found
        self._name()
        self._calls = self._called(bins)
        self._next_search = int(np.ceil(GROWTH * self.n_spectra))
        self._outliers = 0

    def _binned(self, spectrum: NDArray[np.int64]) -> NDArray[np.int64]:
        edges = np.arange(0, len(spectrum), self._width)
        return np.asarray(np.add.reduceat(spectrum, edges))

    def _name(self) -> None:
        """Give each group the label that most of its spectra had, or a new one."""
        assert self._found is not None
        mixture, between = self._found.mixture, self._found.between
        hard = mixture.responsibility.argmax(axis=1)
        old = np.array([call.label for call in self._calls])
        own = [k for k in range(mixture.n_phases) if k not in between]
        shared = {
            (k, int(label)): int(((hard == k) & (old == label)).sum())
            for k in own
            for label in set(old) - {0}
        }
        labels: dict[int, int] = {}
        for (k, label), n in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
            if n and k not in labels and label not in labels.values():
                labels[k] = label
        for k in sorted(set(own) - set(labels), key=lambda k: -mixture.sizes[k]):
            free = [n for n in range(1, self.most + 1) if n not in labels.values()]
            unused = [n for n in free if n not in self._parents] or free
            if not unused:
                break  # more phases than labels: the smallest stay unclassified
            labels[k] = unused[0]
            mine = [label for label in old[hard == k].tolist() if label]
            self._parents[labels[k]] = max(set(mine), key=mine.count) if mine else 0
        self._labels = [labels.get(k, UNCLASSIFIED) for k in range(mixture.n_phases)]

    def _called(self, bins: NDArray[np.int64]) -> list[Classification]:
        """Calls of spectra (m, bins)."""
        assert self._found is not None
        mixture, between = self._found.mixture, self._found.between
        posterior = mixture.posterior(tempered(bins))
        best = posterior.argmax(axis=1)
        odd = self._fits_none(bins, best)
        calls = []
        for row, k, outlier in zip(posterior, best.tolist(), odd.tolist(), strict=True):
            probability, verdict, label = float(row[k]), "ok", self._labels[k]
            if k in between:
                mix = between[k]
                verdict, label = "mixed", self._labels[mix.first if mix.part >= 0.5 else mix.second]
            if outlier:
                verdict, label = "unknown", UNCLASSIFIED
            elif probability < SURE or label == UNCLASSIFIED:
                verdict = "low_counts"
            calls.append(Classification(label, probability, _verdict(verdict)))
        return calls

    def _fits_none(self, bins: NDArray[np.int64], best: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each spectrum differs from its phase by more than chance and scatter explain."""
        assert self._found is not None
        mixture = self._found.mixture
        shape = mixture._shapes.mean(mixture.sums)[best]
        total = bins.sum(axis=1, keepdims=True).astype(np.float64)
        expected: Floats = total * shape
        spread = expected + total**2 * shape / np.maximum(mixture.sums.sum(axis=1)[best], 1.0)[:, None] + 0.25
        chi = ((bins - expected) ** 2 / spread).sum(axis=1)
        # Σ (n - e)² / e has the mean of the bins that count and a variance of 2 and of 1/e each
        share = expected / spread
        mean, variance = share.sum(axis=1), (2.0 * share**2 + expected / spread**2).sum(axis=1)
        return np.asarray(chi - mean - 2.0 * ALIKE * total[:, 0] > SIGMAS * np.sqrt(variance + 1.0))


def _verdict(name: str) -> Verdict:
    verdicts: dict[str, Verdict] = {v: v for v in ("ok", "low_counts", "mixed", "unknown", "ill")}
    return verdicts[name]
