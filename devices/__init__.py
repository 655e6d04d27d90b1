"""ophyd devices: the SEM beam, the EDS detector, the microscope.

Loaded on first use: importing ophyd chooses its control layer, and the simulated microscope must be started before
that.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
