from .prompt import prepare_prompt as prepare_prompt
from .session import Session as Session
from .settings import InstrumentSettings as InstrumentSettings
from .settings import read_settings as read_settings
from .startup import open_session as open_session

__all__ = ["InstrumentSettings", "Session", "open_session", "prepare_prompt", "read_settings"]
