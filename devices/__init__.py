"""ophyd devices: the SEM beam, the EDS detector, the microscope.

Imported when they are asked for: importing ophyd chooses its control layer, and the simulated microscope must be
started before that.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .beam import SEMBeam
    from .eds import EDSDetector
    from .microscope import Microscope

__all__ = ["EDSDetector", "Microscope", "SEMBeam"]

_HOMES = {"EDSDetector": "eds", "Microscope": "microscope", "SEMBeam": "beam"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
