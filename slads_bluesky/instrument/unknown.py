"""Maps whose phases are found on the way: what the search must know of the instrument, and what operators do.

The functions of `PhaseDesk` are those of the prompt, of a queue server's clients and of the page: each notes what it
does in the record's log of operators, and hands it to the agent of the map that runs, where it takes effect after the
next point.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..agent_settings import AgentSettings
from ..analysis.quantification.geometry import Conditions
from ..analysis.quantification.naming import PhaseNames
from ..discovering_agent import UNNAMED, DiscoveringAgent, pixels_needed, search_settings
from ..errors import ConfigError
from ..grid import ScanGrid
from ..record.operator_log import append_action
from ..spectra.axis import EnergyAxis
from ..spectra.discovery.steps import PhaseStep

__all__ = ["CONFIDENCE", "PhaseDesk", "beam_energy_kev", "detector_axis", "discovering_agent", "phase_names"]

CONFIDENCE = 0.95
"""With which every phase over a part of the area is to be found, where that is asked for."""


def detector_axis(eds: Any) -> EnergyAxis:
    """Energies of a detector's channels, as it is calibrated now."""
    about, name = eds.read_configuration(), eds.name
    try:
        channels = int(eds.describe()[f"{name}_spectrum"]["shape"][-1])
        offset, width = (float(about[f"{name}_energy_{key}"]["value"]) for key in ("offset", "width"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{name}: its channels and their energies are not known ({error!r}), without which no phases can be found"
        ) from None
    return EnergyAxis(offset, width, channels)


def beam_energy_kev(sem: Any) -> float | None:
    """High voltage of a microscope, kV; None of one that does not say."""
    if sem is None:
        return None
    reading = sem.read()
    value = next((entry["value"] for key, entry in reading.items() if key.endswith("_high_voltage")), None)
    return float(value) if value is not None and 1.0 <= float(value) <= 50.0 else None


def discovering_agent(
    grid: ScanGrid,
    eds: Any,
    sem: Any,
    model: Any,
    *,
    most: int,
    part: float | None = None,
    counts: tuple[int, int] | None = None,
    **settings: Any,
) -> DiscoveringAgent:
    """Make the agent of a map whose phases are found.

    Parameters
    ----------
    grid : ScanGrid
    eds, sem : devices
        The detector says its channels and energies, the microscope its high voltage; without one, a spectrum may be
        any curve, and phases are not quantified.
    model : optional
        Of the sampler.
    most : int
        Phases at most.
    part : float, optional
        The map may end once every phase over this part of the area is found with `CONFIDENCE`.
    counts : (int, int), optional
        Counts of the first exposures, and of those after them.
    **settings
        Of `AgentSettings`.
    """
    axis, energy = detector_axis(eds), beam_energy_kev(sem)
    search = search_settings(
        axis, most=most, beam_energy_kev=energy, part=part, confidence=CONFIDENCE, counts=counts
    )
    hashes = {"classifier": UNNAMED, **({} if model is None else {"sampler": model.sha256})}
    if part is not None and settings.get("initial") is None:
        settings["initial"] = min(0.99, (pixels_needed(part, CONFIDENCE) + 1) / grid.n_pixels)
    agent = DiscoveringAgent.from_settings(
        AgentSettings(grid, most, model_hashes=hashes, more={"discovery": search}, **settings), model
    )
    agent.namer = phase_names(eds, sem)
    return agent


def phase_names(eds: Any, sem: Any) -> PhaseNames | None:
    """What says what found phases may be; None where the microscope does not say its high voltage."""
    energy = beam_energy_kev(sem)
    return None if energy is None else PhaseNames(detector_axis(eds), Conditions(beam_energy_kev=energy))


class PhaseDesk:
    """What an operator can do with the phases of the map that runs.

    Parameters
    ----------
    agent : callable
        Returns the agent of the session's last map, or None.
    record : Path
        Directory of the record.
    """

    def __init__(self, agent: Callable[[], Any], record: Path) -> None:
        self._agent, self._record = agent, record

    def name(self, label: int, name: str, who: str = "") -> str:
        """Give a phase a name; see `PhaseStep`. Returns a sentence."""
        return self._request("name", label, who, name=name)

    def merge(self, label: int, into: int, who: str = "") -> str:
        """Make a phase one with another, whose label both have then."""
        return self._request("merge", label, who, other=into)

    def split(self, label: int, who: str = "") -> str:
        """Make two phases of one, whether or not the evidence asks for that; merged ones are parted again."""
        return self._request("split", label, who)

    def forbid(self, label: int, who: str = "") -> str:
        """Let the spectra of a phase be of no phase: they do not vote."""
        return self._request("forbid", label, who)

    def allow(self, label: int, who: str = "") -> str:
        """Let a phase that was forbidden be one again."""
        return self._request("allow", label, who)

    def found(self) -> dict[str, Any]:
        """Phases found so far in plain values: names, spectra, parents, and what part may still be hidden."""
        discovery = self._discovering().discovery
        estimate, upper = discovery.undiscovered()
        return {
            "phases": [
                {
                    "label": phase.label, "name": phase.name, "n_spectra": phase.n_spectra,
                    "counts": int(phase.spectrum.sum()), "parent": phase.parent, "forbidden": phase.forbidden,
                }
                for phase in discovery.phases
            ],
            "undiscovered": estimate,
            "undiscovered_upper": upper,
        }  # fmt: skip

    def _discovering(self) -> DiscoveringAgent:
        agent = self._agent()
        if not isinstance(agent, DiscoveringAgent):
            raise ConfigError(
                "no map whose phases are found has been started in this session (phases: discover)"
            )
        return agent

    def _request(self, action: str, label: int, who: str, **more: Any) -> str:
        agent = self._discovering()
        step = PhaseStep(action, int(label), who=who or getpass.getuser(), **more)
        agent.check_step(step)
        append_action(self._record, step.who, "phases", step.describe())
        agent.request(step)
        return f"{step.describe()}: takes effect after the next point"
