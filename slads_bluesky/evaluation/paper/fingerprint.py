"""What a trial's result depends on besides its object and seed: the program and the weights that come with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

from ...codehash import code_hash

if TYPE_CHECKING:
    from .trial import Method

__all__ = ["fingerprint"]

SOURCES = tuple(
    f"{__package__}.{name}" for name in ("curves", "smoother", "measured_maps", "recorded", "trial")
)
"""What decides, simulates, classifies and scores; what these modules import is found by `code_hash`."""


def fingerprint(method: Method | None = None, *, rival: bool = False) -> str:
    """Identify results that may be taken for this program's.

    Parameters
    ----------
    method : Method, optional
        Its settings count, and the weights that come with the program if it maps by them.
    rival : bool
        Whether the code of the rival counts, and the weights of the evidence network.

    Returns
    -------
    str
        The version and 16 hexadecimal digits.
    """
    digest = hashlib.sha256(code_hash(*SOURCES).encode())
    if method is not None:
        digest.update(json.dumps(asdict(method), sort_keys=True).encode())
        if method.sampler == "learned":
            digest.update(_weights())
    if rival:
        from ...sampling.joint.model import SHIPPED

        digest.update(code_hash(f"{__package__}.rival").encode())
        digest.update(SHIPPED.read_bytes())
    return f"{version('slads-bluesky')}-{digest.hexdigest()[:16]}"


def _weights() -> bytes:
    """Hash of the file as it stands now; reading the model would need all of torch."""
    from ...sampling.learned.model import SHIPPED

    return hashlib.sha256(SHIPPED.read_bytes()).digest()
