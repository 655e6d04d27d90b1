"""The record of runs: journal, databroker catalog, and the way from one to the other.

The only package that knows databroker and tiled; both are imported when a catalog is opened, not before.
"""

from .journal import Journal
from .reading import read_journal
from .recorder import Recorder
from .store import close_catalog, default_directory, journal_directory, open_catalog

__all__ = [
    "Journal",
    "Recorder",
    "close_catalog",
    "default_directory",
    "journal_directory",
    "open_catalog",
    "read_journal",
]
