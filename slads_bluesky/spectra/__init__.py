"""What was measured: the energy axis, a physics model, detection and classification of EDS spectra.

Public names are loaded on first use, so that ``spectra.axis`` alone costs neither torch nor numba.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
