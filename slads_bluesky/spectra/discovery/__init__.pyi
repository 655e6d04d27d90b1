from .phases import FoundPhase as FoundPhase
from .phases import PhaseDiscovery as PhaseDiscovery
from .search import discover as discover

__all__ = ["FoundPhase", "PhaseDiscovery", "discover"]
