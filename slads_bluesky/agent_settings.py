"""Settings of an agent: one frozen description, for making it, for the start document and for a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, cast

from .errors import ConfigError, in_one_line
from .grid import ScanGrid
from .pointlist import Settling
from .protocols import Classifier, Endmembers, EventKeys

__all__ = ["LEAST_INTERACTION_PX", "LIST_OVERHEAD_S", "POINT_OVERHEAD_S", "AgentSettings"]

POINT_OVERHEAD_S = 0.011
"""Time of a point besides its dwell, over Channel Access, s; `bench point` measures it."""
LIST_OVERHEAD_S = Settling().base_s
"""The same in a list of points, s: the beam settles."""
LEAST_INTERACTION_PX = 0.3
"""An interaction volume narrower than this leaves boundaries as sharp as pixels are."""


@dataclass(frozen=True)
class AgentSettings:
    """All that decides what an agent will suggest, but for the measured labels; recorded in the start document.

    Parameters
    ----------
    grid : ScanGrid
        Where the pixels lie.
    n_labels : int
        Phases, L.
    phases : tuple of str
        Their names, for readers of the record; empty where the classifier's are meant.
    fraction : float, optional
        Fraction of the grid's pixels to measure, 0 < fraction ≤ 1.
    seed : int
        Seed of the initial mask.
    sampler : str
        Name, as `slads_bluesky.sampling.factory.make_sampler` takes it.
    initial : float, optional
        Fraction of the pixels in the initial mask; by default the sampler's own.
    stop_at : float, optional
        Estimated total distortion at which the map may end earlier; None: never.
    confidence : float, optional
        Probability with which the distortion must not be above `stop_at` for that.
    smallest_feature : int, optional
        Pixels of the smallest patch of which 99 % must hold a measured pixel; None: none is asked for.
    interaction_px : float, optional
        Standard deviation of the interaction volume, pixels: events hold abundances, and mixed spectra vote for their
        largest part; None: boundaries are sharp, and they do not vote.
    endmembers : {"evident", "always"}
        With `interaction_px`: which corrections of pure phases count; see `sampling.endmembers`. Where a recorded
        configuration does not say, it is "always".
    minimise : str, optional
        What the sampler ``joint`` sets the fall of the error against: dose, time or both; None: its default.
    overhead_counts : float, optional
        Counts that a visit costs besides its own, for ``time`` and ``both``; see `sampling.joint.JointSampler`.
    overhead_s : float, optional
        The same as time, s: counts at the rate of the spectra so far. `POINT_OVERHEAD_S` point by point,
        `LIST_OVERHEAD_S` in point lists.
    image_network : str, optional
        Hash of the model by which the sampler ``learned`` uses an image (`sampling.learned.model.image_model`);
        None as in maps recorded before there was one.
    model_hashes : mapping of str to str
        SHA-256 of the models ``sampler`` and ``classifier``.
    keys : EventKeys
        Where in an Event the agent looks.
    more : mapping
        Other keys of a recorded configuration, kept as they are.

    Examples
    --------
    >>> from slads_bluesky import ScanGrid
    >>> settings = AgentSettings(ScanGrid((64, 64)), n_labels=2, fraction=0.1, sampler="low-discrepancy")
    >>> AgentSettings.from_json(settings.to_json()) == settings
    True
    """

    grid: ScanGrid
    n_labels: int
    phases: tuple[str, ...] = ()
    fraction: float | None = None
    seed: int = 0
    sampler: str = "learned"
    initial: float | None = None
    stop_at: float | None = None
    confidence: float | None = None
    smallest_feature: int | None = None
    interaction_px: float | None = None
    endmembers: Endmembers = "evident"
    minimise: str | None = None
    overhead_counts: float | None = None
    overhead_s: float | None = None
    image_network: str | None = None
    model_hashes: Mapping[str, str] = field(default_factory=dict)
    keys: EventKeys = field(default_factory=EventKeys)
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def for_models(cls, grid: ScanGrid, classifier: Classifier, model: Any = None, **settings: Any) -> Self:
        """Settings of a map with these models: their phases and their hashes.

        Parameters
        ----------
        grid : ScanGrid
        classifier : Classifier
            Gives the phases.
        model : optional
            Of the sampler; None for a sampler without one.
        **settings
            Other fields.
        """
        hashes = {"classifier": classifier.sha256}
        if model is not None:
            hashes["sampler"] = model.sha256
        phases = tuple(classifier.phases)
        return cls(grid, len(phases), phases, model_hashes=hashes, **settings)

    @classmethod
    def from_json(cls, configuration: Mapping[str, Any]) -> Self:
        """Read a configuration as start documents hold it: ``grid``, ``n_labels``, ``seed``, ``sampler``, and more.

        Raises
        ------
        ConfigError
            Naming what is missing or not what it may be.
        """
        known = {"agent", "grid", "n_labels", "phases", "fraction", "seed", "sampler", "model_hashes", "keys"}
        try:
            sampler = dict(configuration["sampler"])
            return cls(
                ScanGrid.from_json(configuration["grid"]),
                n_labels=int(configuration["n_labels"]),
                phases=tuple(str(name) for name in configuration.get("phases") or ()),
                fraction=_number(configuration, "fraction"),
                seed=int(configuration["seed"]),
                sampler=str(sampler["name"]),
                initial=_number(sampler, "initial"),
                stop_at=_number(sampler, "stop_at"),
                confidence=_number(sampler, "confidence"),
                smallest_feature=_whole(sampler, "smallest_feature"),
                interaction_px=_number(sampler, "interaction_px"),
                endmembers=_endmembers(sampler),
                minimise=None if sampler.get("minimise") is None else str(sampler["minimise"]),
                overhead_counts=_number(sampler, "overhead_counts"),
                overhead_s=_number(sampler, "overhead_s"),
                image_network=None if sampler.get("image_network") is None else str(sampler["image_network"]),
                model_hashes={str(k): str(v) for k, v in (configuration.get("model_hashes") or {}).items()},
                keys=EventKeys(**(configuration.get("keys") or {})),
                more={k: v for k, v in configuration.items() if k not in known and k != "stop_rule"},
            )
        except KeyError as error:
            raise ConfigError(f"agent configuration: {in_one_line('', error)} is missing") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"agent configuration: {in_one_line('', error)}") from None

    def to_json(self) -> dict[str, Any]:
        """Plain values, as start documents hold them and `from_json` reads them."""
        return {
            "grid": self.grid.to_json(),
            "n_labels": self.n_labels,
            "fraction": self.fraction,
            "stop_rule": self.stop_at is not None,
            "keys": asdict(self.keys),
            **self.provenance(),
        }

    def provenance(self) -> dict[str, Any]:
        """Those of the values that the agent records and does not use itself."""
        return {
            "phases": list(self.phases),
            "seed": self.seed,
            "sampler": {
                "name": self.sampler,
                "initial": self.initial,
                "stop_at": self.stop_at,
                "confidence": self.confidence,
                **({} if self.smallest_feature is None else {"smallest_feature": self.smallest_feature}),
                **self._mixing(),
                **({} if self.minimise is None else {"minimise": self.minimise}),
                **({} if self.overhead_counts is None else {"overhead_counts": self.overhead_counts}),
                **({} if self.overhead_s is None else {"overhead_s": self.overhead_s}),
                **({} if self.image_network is None else {"image_network": self.image_network}),
            },
            "model_hashes": dict(self.model_hashes),
            **self.more,
        }

    def _mixing(self) -> dict[str, Any]:
        """Return what says how mixed samples are taken."""
        if self.interaction_px is None:
            return {}
        return {"interaction_px": self.interaction_px, "endmembers": self.endmembers}

    @property
    def sampler_sha256(self) -> str | None:
        """Hash of the sampler's model, None where it has none."""
        return self.model_hashes.get("sampler")


def _whole(section: Mapping[str, Any], key: str) -> int | None:
    value = section.get(key)
    return None if value is None else int(value)


def _endmembers(section: Mapping[str, Any]) -> Endmembers:
    """Return how pure phases are corrected: configurations of mixed samples that do not say did it always."""
    said = section.get("endmembers", "evident" if section.get("interaction_px") is None else "always")
    if said not in ("always", "evident"):
        raise ValueError(f"endmembers is 'always' or 'evident', not {said!r}")
    return cast(Endmembers, said)


def _number(section: Mapping[str, Any], key: str) -> float | None:
    value = section.get(key)
    return None if value is None else float(value)
