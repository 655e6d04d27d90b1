"""Which kind of agent a description asks for: by phases, by phases that it finds itself, or by elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .agent import SladsAgent
from .agent_settings import AgentSettings
from .discovering_agent import DiscoveringAgent
from .element_agent import ElementAgent
from .errors import ConfigError
from .protocols import Classifier
from .spectra.physics.windows import element_windows

__all__ = ["agent_from_settings", "agent_of", "element_target", "looks_at_spectra"]

KINDS: Mapping[str, type[SladsAgent]] = {"discovery": DiscoveringAgent, "elements": ElementAgent}
"""By the key of a configuration that only this kind of agent has."""


def agent_of(configuration: Mapping[str, Any], model: Any = None) -> SladsAgent:
    """Make the agent of a recorded configuration: of the kind that the run's was.

    Raises
    ------
    ConfigError
        As `SladsAgent.from_configuration`.
    """
    return agent_from_settings(AgentSettings.from_json(configuration), model)


def looks_at_spectra(configuration: Mapping[str, Any]) -> bool:
    """Whether the agent of a recorded configuration needs the spectra of a map to be in the state that it had."""
    return any(configuration.get(key) and kind.needs_spectra for key, kind in KINDS.items())


def agent_from_settings(settings: AgentSettings, model: Any = None) -> SladsAgent:
    """Make the agent that settings ask for; ConfigError as `SladsAgent.from_settings`."""
    kind = next((kind for key, kind in KINDS.items() if settings.more.get(key)), SladsAgent)
    return kind.from_settings(settings, model)


def element_target(elements: Sequence[str], classifier: Classifier) -> dict[str, Any]:
    """Return what settings have as ``more`` for an agent that maps elements; nothing if there are none.

    Parameters
    ----------
    elements : sequence of str
        Symbols.
    classifier : Classifier
        Gives the energy scale of the spectra.

    Raises
    ------
    ConfigError
        Naming an element without a line, or if the classifier has no energy scale.
    """
    if not elements:
        return {}
    axis = getattr(classifier, "axis", None)
    if axis is None:
        raise ConfigError(
            "the target 'elements' needs a classifier that knows its energy scale; the paper's does not"
        )
    return {"elements": {symbol: list(of) for symbol, of in element_windows(elements, axis).items()}}
