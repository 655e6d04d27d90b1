from .elements import ElementPrior as ElementPrior
from .phases import FoundPhase as FoundPhase
from .phases import PhaseDiscovery as PhaseDiscovery
from .search import discover as discover
from .steps import PhaseStep as PhaseStep

__all__ = ["ElementPrior", "FoundPhase", "PhaseDiscovery", "PhaseStep", "discover"]
