"""What an operator decides about phases while a map runs: name, merge, split, forbid, allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ...errors import ConfigError

__all__ = ["ACTIONS", "PhaseStep"]

ACTIONS = ("name", "merge", "split", "forbid", "allow")
LONGEST_NAME = 80


@dataclass(frozen=True)
class PhaseStep:
    """One decision of an operator.

    Parameters
    ----------
    action : {"name", "merge", "split", "forbid", "allow"}
        ``name`` gives a phase a name. ``merge`` makes it one with another, whose label both have then. ``split``
        makes two of it, whether or not the evidence asks for that. The spectra of a forbidden phase are of no phase
        and do not vote, until it is allowed again.
    label : int
        Of the phase, from 1.
    other : int
        Of the phase that it is merged into.
    name : str
        Its name.
    who : str
        The operator.
    after : int
        Pixels that were measured when it took effect.
    refused : str
        Why it had no effect; empty where it had.

    Raises
    ------
    ConfigError
        Naming what it cannot be.

    Examples
    --------
    >>> PhaseStep("merge", 3, other=1).describe()
    'merge phase 3 into phase 1'
    """

    action: str
    label: int
    other: int = 0
    name: str = ""
    who: str = ""
    after: int = -1
    refused: str = ""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigError(f"of a phase one can {', '.join(ACTIONS)}, not '{self.action}'")
        if self.label < 1:
            raise ConfigError(f"phases have labels from 1, not {self.label}")
        if self.action == "merge" and (self.other < 1 or self.other == self.label):
            raise ConfigError(f"phase {self.label} can be merged into another phase, not into {self.other}")
        if self.action == "name" and not 0 < len(self.name.strip()) <= LONGEST_NAME:
            raise ConfigError(f"the name of a phase must have 1 to {LONGEST_NAME} characters")

    def to_json(self) -> dict[str, Any]:
        """Plain values; those at their defaults are left out."""
        usual = {"other": 0, "name": "", "who": "", "refused": ""}
        return {key: value for key, value in asdict(self).items() if usual.get(key) != value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        ConfigError
            If it is none.
        """
        try:
            return cls(
                str(values["action"]),
                int(values["label"]),
                other=int(values.get("other", 0)),
                name=str(values.get("name", "")),
                who=str(values.get("who", "")),
                after=int(values.get("after", -1)),
                refused=str(values.get("refused", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"an operator's step cannot be read ({error!r})") from None

    def describe(self) -> str:
        """Say in a few words what is done."""
        if self.action == "name":
            return f"name phase {self.label} '{self.name}'"
        more = f" into phase {self.other}" if self.action == "merge" else ""
        return f"{self.action} phase {self.label}{more}"
