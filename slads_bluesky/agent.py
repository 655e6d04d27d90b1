"""SladsAgent: decides for the adaptive plan where to measure, from the events that were measured.

Its methods are those of bluesky-adaptive (suggest, ingest, should_stop). It is pure: no I/O, no clock, no bluesky.
Its state depends on the emitted events only, so an agent that ingests the recorded events of a run is in the state
of the run's own agent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .agent_settings import AgentSettings
from .errors import ConfigError, DataError
from .grid import ScanGrid
from .protocols import UNCLASSIFIED, EventKeys, Sampler, Suggestion, TakesMixtures

__all__ = ["AgentSettings", "SladsAgent"]

MIXING = ("ok", "mixed", "low_counts")
"""Verdicts of spectra whose abundances are taken: they are of the known phases."""
NEAR = 2
"""Suggestions so near to a pixel that is being measured come last, pixels."""


class SladsAgent:
    """Decides pixel by pixel from classified spectra.

    Parameters
    ----------
    grid : ScanGrid
        Where the pixels lie.
    sampler : Sampler
        Decides from labels; of the grid's shape.
    n_labels : int
        Phases, L; an event with a label above it is refused.
    fraction : float, optional
        Stop when this part of the grid's pixels was measured, 0 < fraction ≤ 1.
    stop_rule : bool
        Whether the sampler's own stop rule may end the map earlier than the fraction.
    keys : EventKeys
        Where in an Event the agent looks.
    provenance : mapping, optional
        JSON that a replay needs and this class cannot know: model hashes, seed, how the sampler was made.

    Raises
    ------
    ConfigError
        If the fraction lies outside (0, 1], grid and sampler differ in shape, or nothing would ever stop the map.

    Examples
    --------
    >>> from slads_bluesky import LearnedSampler, ScanGrid, SladsAgent
    >>> grid = ScanGrid((32, 32))
    >>> agent = SladsAgent(grid, LearnedSampler(grid.shape, labels=2), n_labels=2, fraction=0.1)
    >>> (first,) = agent.suggest()
    >>> agent.ingest({"data": {"scan_pixel": first.pixel, "eds_label": 1, "eds_verdict": "ok"}})
    >>> agent.n_measured, agent.n_wanted
    (1, 102)
    """

    recorded_as = ""
    """Name in the start document; by default that of the class."""
    needs_spectra = False
    """Whether `ingest` looks at the spectrum of an Event."""
    calls_spectra = False
    """Whether it says itself which phase a spectrum is of, whatever the Event says."""

    def __init__(
        self,
        grid: ScanGrid,
        sampler: Sampler,
        *,
        n_labels: int,
        fraction: float | None = None,
        stop_rule: bool = True,
        keys: EventKeys | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        if fraction is not None and not 0 < fraction <= 1:
            raise ConfigError(f"fraction must be above 0 and at most 1, not {fraction}")
        if tuple(grid.shape) != tuple(sampler.shape):
            raise ConfigError(f"grid of shape {tuple(grid.shape)}, sampler of shape {tuple(sampler.shape)}")
        self._grid = grid
        self._sampler = sampler
        self._n_labels = n_labels
        self._fraction = fraction
        self._n_wanted = None if fraction is None else max(1, round(fraction * grid.n_pixels))
        self._stop_rule = stop_rule
        self._keys = keys if keys is not None else EventKeys()
        self._provenance = dict(provenance or {})
        self._mixing = sampler if isinstance(sampler, TakesMixtures) else None
        self._verdicts: dict[int, str] = {}
        self._suggestions: list[Suggestion] = []
        self._asked = 0
        self._has_image = False

    @classmethod
    def from_settings(cls, settings: AgentSettings, model: Any = None) -> Self:
        """Make an agent and its sampler from settings.

        Parameters
        ----------
        settings : AgentSettings
        model : optional
            The sampler's trained model, if it needs one; its hash must be ``settings.sampler_sha256`` where given.

        Raises
        ------
        ConfigError
            If the model is another one, or a setting is not what it may be.
        """
        from .sampling.coverage import fraction_needed
        from .sampling.factory import make_sampler

        wanted, have = settings.sampler_sha256, getattr(model, "sha256", None)
        if wanted is not None and have is not None and wanted != have:
            raise ConfigError(
                f"agent configuration wants the sampler model {wanted[:12]}, this is {have[:12]}"
            )
        grid = settings.grid
        if settings.smallest_feature is not None and settings.fraction is not None:
            needed = fraction_needed(settings.smallest_feature)
            if needed > settings.fraction:
                raise ConfigError(
                    f"smallest_feature {settings.smallest_feature} takes up to {needed:.1%} of the pixels, the "
                    f"fraction is {settings.fraction:.1%}: raise the fraction or the smallest feature"
                )
        sampler = make_sampler(
            settings.sampler,
            grid.shape,
            labels=settings.n_labels,
            model=model,
            seed=settings.seed,
            initial=settings.initial,
            roi=grid.roi,
            stop_at=settings.stop_at,
            confidence=settings.confidence,
            smallest_feature=settings.smallest_feature,
            interaction_px=settings.interaction_px,
            endmembers=settings.endmembers,
            minimise=settings.minimise,
            overhead_counts=settings.overhead_counts,
            overhead_s=settings.overhead_s,
            image_network=settings.image_network,
        )
        return cls(
            grid,
            sampler,
            n_labels=settings.n_labels,
            fraction=settings.fraction,
            stop_rule=settings.stop_at is not None,
            keys=settings.keys,
            provenance=settings.provenance(),
            **cls._arguments_of(settings),
        )

    @classmethod
    def _arguments_of(cls, settings: AgentSettings) -> dict[str, Any]:
        """Arguments that a subclass takes besides."""
        return {}

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], model: Any = None) -> Self:
        """Make an agent from a recorded configuration; see `AgentSettings.from_json` and `from_settings`."""
        return cls.from_settings(AgentSettings.from_json(configuration), model)

    def __repr__(self) -> str:
        rows, columns = self._grid.shape
        wanted = "" if self._n_wanted is None else f" of {self._n_wanted} wanted"
        return f"<{type(self).__name__}: {rows} × {columns} pixels, {self.n_measured} measured{wanted}>"

    @property
    def grid(self) -> ScanGrid:
        """Where the pixels lie."""
        return self._grid

    @property
    def keys(self) -> EventKeys:
        """Where in an Event it looks."""
        return self._keys

    @property
    def sampler(self) -> Sampler:
        """What decides, from labels."""
        return self._sampler

    @property
    def n_measured(self) -> int:
        """Different pixels ingested so far, unclassified ones included."""
        return self._sampler.n_measured

    @property
    def revisits(self) -> bool:
        """Whether a pixel may be suggested again after it was measured: its visits add up."""
        return bool(getattr(self._sampler, "revisits", False))

    @property
    def n_visits(self) -> int:
        """Points ingested so far: visits where pixels may be visited again, else different pixels."""
        return int(getattr(self._sampler, "n_visits", self.n_measured)) if self.revisits else self.n_measured

    @property
    def n_wanted(self) -> int | None:
        """Pixels that make the wanted fraction, None without one."""
        return self._n_wanted

    @property
    def verdicts(self) -> dict[str, int]:
        """How many measured pixels have each verdict."""
        return dict(Counter(self._verdicts.values()))

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Up to `n` pixels to measure next; the same until something new is ingested."""
        if n < 1:
            raise ConfigError(f"a suggestion is of at least one pixel, not {n}")
        if self._asked < n:
            self._suggestions = self._sampler.suggest(n)
            self._asked = n
        return self._suggestions[:n]

    def suggest_besides(self, n: int, pending: Collection[int]) -> list[Suggestion]:
        """Up to `n` pixels to measure next, while others are chosen already and their labels not known yet.

        A sampler that can pretend what the pending pixels will show does so (its own ``suggest_besides``); of any
        other, suggestions within two pixels of a pending one come last.

        Parameters
        ----------
        n : int
        pending : collection of int
            Flat indices of pixels that are being measured.
        """
        if n < 1:
            raise ConfigError(f"a suggestion is of at least one pixel, not {n}")
        if not pending:
            return self._sampler.suggest(n)
        own = getattr(self._sampler, "suggest_besides", None)
        if own is not None:
            return list(own(n, pending))
        known = set(pending)
        found = [s for s in self._sampler.suggest(n + 4 * len(known)) if s.pixel not in known]
        columns = self._grid.shape[1]
        at = np.array([divmod(s.pixel, columns) for s in found]).reshape(-1, 1, 2)
        others = np.array([divmod(p, columns) for p in sorted(known)]).reshape(1, -1, 2)
        near = (np.abs(at - others).max(axis=2) <= NEAR).any(axis=1)
        far = [s for s, close in zip(found, near, strict=True) if not close]
        return [*far, *(s for s, close in zip(found, near, strict=True) if close)][:n]

    def ingest_image(self, event: Mapping[str, Any]) -> None:
        """Take the Event of the stream ``image`` as it was emitted, before the first point.

        The sampler uses the frame as far as the measured pixels show that it helps; see
        `sampling.base.GridSampler.take_image`.

        Raises
        ------
        DataError
            If the event has no frame of the grid's shape, or points are measured already.
        """
        key = self._keys.image
        if key not in event["data"]:
            raise DataError(f"event {event.get('seq_num')} of the stream image has no key '{key}'")
        take = getattr(self._sampler, "take_image", None)
        if take is not None:
            take(np.asarray(event["data"][key]))
        self._asked, self._has_image = 0, True

    @property
    def has_image(self) -> bool:
        """Whether it has taken an image."""
        return self._has_image

    @property
    def image_use(self) -> dict[str, Any] | None:
        """How the sampler uses the image now; None without one or before the first validation; JSON only.

        ``used``; ``planes`` with their weights; ``displacement`` of the image, pixels (y, x); ``gain``, the mean gain
        in the logarithm of the probability of a hidden label.
        """
        use = getattr(self._sampler, "image_use", None)
        if use is None:
            return None
        return {
            "used": use.used,
            "planes": {term.plane: term.weight for term in use.terms},
            "displacement": [use.displacement.y, use.displacement.x],
            "gain": use.gain,
        }

    def ingest(self, event: Mapping[str, Any]) -> None:
        """Take an Event document as it was emitted.

        Only a spectrum whose verdict is ``ok`` votes for its label; any other counts as measured and does not
        vote in the reconstruction. Where the sampler takes abundances (`AgentSettings.interaction_px`), ``mixed``
        spectra vote too, and each gives the parts of its phases. A sampler that takes evidence
        (``ingest_evidence``) is given the log-likelihoods instead, where the Event holds them.

        Raises
        ------
        DataError
            If a key is missing, the pixel lies outside the grid or the label outside 0 … L; nothing is taken.
        """
        data, keys = event["data"], self._keys
        try:
            pixel, label, verdict = int(data[keys.pixel]), int(data[keys.label]), str(data[keys.verdict])
        except KeyError as error:
            raise DataError(f"event {event.get('seq_num')} has no key {error}") from None
        if not 0 <= pixel < self._grid.shape[0] * self._grid.shape[1]:
            raise DataError(
                f"event {event.get('seq_num')}: {keys.pixel} {pixel} lies outside the grid {self._grid.shape}"
            )
        if not 0 <= label <= self._n_labels:
            raise DataError(
                f"event {event.get('seq_num')}: {keys.label} {label} is not one of 0 … {self._n_labels}"
            )
        parts = None if self._mixing is None else self._mixture(event)
        evidence = data.get(keys.log_likelihood)
        take = getattr(self._sampler, "ingest_evidence", None)
        if take is not None and evidence is not None:
            values = np.asarray(evidence, np.float64)
            counts, visit = float(data.get(keys.counts, 0.0)), int(data.get(keys.visit, 0))
            take(pixel, values, counts=counts, visit=visit, real_s=float(data.get(keys.real_time, 0.0)))
        elif self._mixing is not None and parts is not None and verdict in MIXING:
            self._mixing.ingest_mixture(pixel, *parts, unbounded=keys.unbounded in data)
        else:
            self._sampler.ingest(pixel, label if verdict == "ok" else UNCLASSIFIED)
        self._verdicts[pixel] = verdict
        self._asked = 0

    def _mixture(
        self, event: Mapping[str, Any]
    ) -> tuple[int, NDArray[np.float64], NDArray[np.float64]] | None:
        """Phase with the largest part, the parts and their standard deviations; None of an event without them."""
        data, keys = event["data"], self._keys
        if keys.abundances not in data:
            return None
        names = keys.abundances, keys.abundance_sd
        if keys.unbounded in data:  # of runs recorded before, the expected parts are all there is
            names = keys.unbounded, keys.unbounded_sd
        parts, sd = (np.asarray(data[key], np.float64) for key in names)
        majority = int(data[keys.majority])
        if parts.shape != (self._n_labels,) or sd.shape != parts.shape or not 0 <= majority <= self._n_labels:
            raise DataError(
                f"event {event.get('seq_num')}: {names[0]} of shape {parts.shape} with {keys.majority} "
                f"{majority}; there are {self._n_labels} phases"
            )
        return majority, parts, sd

    @property
    def stop_reason(self) -> str:
        """Why the map is done, empty while it is not."""
        if self.n_measured >= self._grid.n_pixels:
            return "every pixel is measured"
        if self._n_wanted is not None and self.n_measured >= self._n_wanted:
            return f"the wanted fraction of {self._fraction:g} is measured"
        if not self._can_suggest():
            return "no pixel is left that may be measured"
        if self._stop_rule and self._sampler.should_stop():
            return "the stop rule holds"
        return ""

    def _can_suggest(self) -> bool:
        """Whether any pixel is left: of a sampler that counts them, without a plan that nobody may ask for."""
        left = getattr(self._sampler, "n_open", None)
        return bool(self.suggest(1)) if left is None or self.revisits else left > 0

    def should_stop(self) -> bool:
        """Whether the map is done."""
        return bool(self.stop_reason)

    def distortion_estimate(self) -> float:
        """Estimated total distortion (Eq. 14 of the paper) of the present reconstruction; NaN before there is one."""
        return self._sampler.distortion_estimate()

    def configuration(self) -> dict[str, Any]:
        """All that a replay needs to make this agent again; JSON only."""
        return {
            "agent": self.recorded_as or type(self).__name__,
            "grid": self._grid.to_json(),
            "n_labels": self._n_labels,
            "fraction": self._fraction,
            "stop_rule": self._stop_rule,
            "keys": asdict(self._keys),
            **self._provenance,
        }

    def map_data(self) -> dict[str, Any]:
        """What the stream ``map`` records.

        Returns
        -------
        dict
            ``labels`` (rows, columns) uint8: the reconstruction; ``measured`` (rows, columns) int16: measured
            labels, 0 where unclassified, -1 where unmeasured; ``n_measured``; ``fraction`` of the grid's pixels;
            ``distortion_estimate``, NaN before there is one. With an image also ``image_used``, 1 where it is, and
            ``image_shift_y`` and ``image_shift_x``, its displacement in pixels. Of a sampler that takes abundances
            also ``sharp``, ``sharp_uncertainty`` and ``area_fractions``; see `TakesMixtures.boundary_maps`.
        """
        image = {}
        if self._has_image:
            use = self.image_use or {"used": False, "displacement": [0.0, 0.0]}
            image = {
                "image_used": int(use["used"]),
                "image_shift_y": float(use["displacement"][0]),
                "image_shift_x": float(use["displacement"][1]),
            }
        return {
            **image,
            **({} if self._mixing is None else self._mixing.boundary_maps()),
            "labels": self._sampler.reconstruct(),
            "measured": np.asarray(self._sampler.measured, np.int16),
            "n_measured": self.n_measured,
            "fraction": self.n_measured / self._grid.n_pixels,
            "distortion_estimate": float(self._sampler.distortion_estimate())
            if self.n_measured
            else math.nan,
        }
