"""What went wrong, in words for the person at the instrument.

Every error that a user can cause or fix derives from `SladsError`; the command line prints its text as one
line and exits with code 2. A message names the culprit: the file, the field, the PV, and both values where two
disagree.
"""

__all__ = ["ConfigError", "DataError", "InstrumentError", "ModelFileError", "RecordError", "SladsError"]


class SladsError(Exception):
    """Base of all errors that are shown to the user as one line."""


class ConfigError(SladsError, ValueError):
    """An option, a name or a configuration field is not what it may be."""


class DataError(SladsError, ValueError):
    """An image, a spectrum or another array is not what it may be."""


class ModelFileError(SladsError, ValueError):
    """A model file is truncated, foreign, newer than this program or made for something else."""


class InstrumentError(SladsError, RuntimeError):
    """The instrument, real or simulated, is missing, has died or refuses."""


class RecordError(SladsError, RuntimeError):
    """The journal or the catalog cannot be written, or holds something it should not."""
