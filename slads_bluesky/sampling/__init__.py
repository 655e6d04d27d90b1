"""Where to measure next: dynamic sampling of label images.

Public names are loaded on first use, so that importing the package compiles nothing.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
