from .catalog.store import close_catalog as close_catalog
from .catalog.store import open_catalog as open_catalog
from .journal.reading import read_journal as read_journal
from .journal.writing import Journal as Journal
from .location import default_directory as default_directory
from .location import journal_directory as journal_directory
from .recorder import Recorder as Recorder

__all__ = [
    "Journal",
    "Recorder",
    "close_catalog",
    "default_directory",
    "journal_directory",
    "open_catalog",
    "read_journal",
]
