"""The record of runs: journal, databroker catalog, and the way from one to the other.

Only `record.catalog` knows databroker and tiled; both are imported when a catalog is opened, not before.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
