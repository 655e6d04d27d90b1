"""An instrument from one file: ``instrument.yml``, validated, made into a RunEngine, devices, models and a record.

Public names are loaded on first use: a session takes seconds, its settings do not.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
