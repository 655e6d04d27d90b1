"""How a network's predictions become picks, and how it is trained: settings that stand in its model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ...errors import ConfigError
from .guided_inputs import N_GUIDED
from .inputs import N_PLANES

__all__ = ["VERSION_1", "PolicySettings", "TrainingSettings"]


@dataclass(frozen=True)
class PolicySettings:
    """Settings of the policy that a model was chosen with.

    A run is replayed with the settings of its own model, so that new defaults never change an old decision.

    Parameters
    ----------
    growth, least, most : float
        A batch of picks is `growth` of the pixels measured so far, but from `least` to `most` of all that may be
        measured.
    complement : bool
        Of three labels or more, the probability of the one with the most samples is what the others leave: the
        network passes over the map once less.

    Raises
    ------
    ConfigError
        If a share lies outside (0, 1].
    """

    growth: float = 0.05
    least: float = 0.0025
    most: float = 0.0035
    complement: bool = True

    def __post_init__(self) -> None:
        for name in ("growth", "least", "most"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                raise ConfigError(f"{name} must lie in (0, 1], not {value}")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> PolicySettings:
        """Read what `to_json` gave; a setting that is not there has the value of `VERSION_1`.

        Raises
        ------
        TypeError
            If it holds a setting that this program does not have.
        """
        unknown = set(settings) - {field.name for field in fields(cls)}
        if unknown:
            raise TypeError(f"unknown policy setting {min(unknown)}")
        return cls(**{**asdict(VERSION_1), **settings})


VERSION_1 = PolicySettings(growth=0.04, least=0.0012, most=0.0015, complement=False)
"""Settings of model files that have none, as the program was when they were written."""


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that training depends on besides the program and the number of steps.

    Parameters
    ----------
    widths : tuple of int
        Channels of the network's levels.
    side : int
        Rows and columns of the training images, pixels.
    pool : int
        Images held; the oldest make room for new ones.
    batch : int
        Images a step.
    every, fresh : int
        After each `every` steps `fresh` new images enter the pool, ordered mostly by the network.
    rate : float
        Learning rate of AdamW before it is let down over the last quarter of the steps.
    margin : float
        Added to an image's cross-entropy before the logarithm is taken.
    plain : int
        Steps at the start with the cross-entropy itself as the loss.
    own : float
        Share of the new images that are cut from a user's own, where there are any; the others are generated, so
        that what is common to all specimens is not forgotten.
    seed : int
        Seed of images, orders, batches and weights.
    label_noise : float
        Largest share of wrong labels among the samples of a state; in half of the states all are confusions of one
        pair of labels. Above 0 the loss counts measured pixels, too.
    framed : float
        Share of the states with a frame of the field beside the labels. Above 0 the network has the planes of
        `guided_inputs`, and every other state has no wrong labels.
    """

    widths: tuple[int, ...] = (32, 48, 64, 96)
    side: int = 128
    pool: int = 1500
    batch: int = 24
    every: int = 500
    fresh: int = 96
    rate: float = 2e-3
    margin: float = 0.003
    plain: int = 1000
    own: float = 0.8
    seed: int = 0
    label_noise: float = 0.0
    framed: float = 0.0

    @property
    def planes(self) -> int:
        """Planes of the network's input."""
        return N_GUIDED if self.framed else N_PLANES
