"""ophyd devices: the SEM beam, the EDS detector, the microscope.

Loaded on first use: importing ophyd chooses its control layer, and the simulated microscope must be started before
that.
"""

import lazy_loader as _lazy

from .encoding import accept_any_bytes as _accept_any_bytes

_accept_any_bytes()  # before pyepics is imported, which reads its encoding once

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
