"""Phase maps by SEM-EDS from a few per cent of the pixels: SLADS dynamic sampling under Bluesky."""

from importlib.metadata import version as _version

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__version__ = _version("slads-bluesky")
