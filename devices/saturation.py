"""Whether a spectrum shows that its detector was saturated: counters at their limit, or hardly any live time.

Such a spectrum is no measurement of the specimen, however well it may resemble a phase: its highest peaks are cut
off, or it is mostly pile-up. Every detector of this package refuses it: its point is measured again and then fails.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import InstrumentError

__all__ = ["check_saturation"]

CEILINGS = (2**16 - 1, 2**24 - 1, 2**31 - 1)
"""Where the counters of 16, 24 and 32 bits (as int32) of a channel end."""
MOST_DEAD = 0.95
"""Part of the real time that a detector may be dead: makers specify theirs up to half of it."""


def check_saturation(counts: NDArray[np.int32], live_s: float, real_s: float) -> None:
    """Refuse the spectrum of a saturated detector.

    Parameters
    ----------
    counts : array (n_channels,) of int32
    live_s, real_s : float
        Of its acquisition, s.

    Raises
    ------
    InstrumentError
        With the channels at their limit, or the dead time.

    Examples
    --------
    >>> import numpy as np
    >>> check_saturation(np.array([3, 65535, 65535], np.int32), 1.0, 1.5)
    Traceback (most recent call last):
    ...
    slads_bluesky.errors.InstrumentError: saturated: 2 channels stand at 65535 counts, the limit of a counter
    """
    most = int(counts.max()) if counts.size else 0
    if most in CEILINGS:
        n = int((counts == most).sum())
        stand = "channel stands" if n == 1 else "channels stand"
        raise InstrumentError(f"saturated: {n} {stand} at {most} counts, the limit of a counter")
    if real_s > 0 and live_s < (1.0 - MOST_DEAD) * real_s:
        raise InstrumentError(
            f"saturated: dead for {100 * (1 - live_s / real_s):.1f} % of the time, more than {100 * MOST_DEAD:g} %"
        )
