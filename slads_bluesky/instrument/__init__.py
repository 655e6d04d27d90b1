"""An instrument from one file: ``instrument.yml``, validated, made into a RunEngine, devices, models and a record.

The public names are imported when first used: a session takes seconds, its settings do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .prompt import prepare_prompt
    from .session import Session
    from .settings import InstrumentSettings, read_settings
    from .startup import open_session

__all__ = ["InstrumentSettings", "Session", "open_session", "prepare_prompt", "read_settings"]

_HOME = {
    "InstrumentSettings": "settings",
    "Session": "session",
    "open_session": "startup",
    "prepare_prompt": "prompt",
    "read_settings": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
