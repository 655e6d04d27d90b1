"""Phase maps by SEM-EDS from a few per cent of the pixels: SLADS dynamic sampling under Bluesky."""

from importlib.metadata import version as _version

from .grid import ScanGrid

__all__ = ["ScanGrid", "__version__"]
__version__ = _version("slads-bluesky")
