"""What a trial's result depends on besides its object and seed: the program and the weights that come with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trial import Method

__all__ = ["fingerprint"]

SOURCES = (
    "agent.py", "experiment.py", "models.py", "devices", "phantom", "plans", "sampling", "spectra",
    "reproduction/curves.py", "reproduction/easier.py", "reproduction/real.py", "reproduction/recorded.py",
    "reproduction/trial.py",
)  # fmt: skip
"""Of the package: what decides, simulates, classifies and scores. The record, tables and charts are not among it."""


def fingerprint(method: Method | None = None) -> str:
    """Identify results that may be taken for this program's.

    Parameters
    ----------
    method : Method, optional
        Its settings count, and the weights that come with the program if it maps by them.

    Returns
    -------
    str
        The version and 16 hexadecimal digits.
    """
    digest = hashlib.sha256(_code().encode())
    if method is not None:
        digest.update(json.dumps(asdict(method), sort_keys=True).encode())
        if method.sampler == "learned":
            digest.update(_weights())
    return f"{version('slads-bluesky')}-{digest.hexdigest()[:16]}"


def _weights() -> bytes:
    """Hash of the file as it stands now; reading the model would need all of torch."""
    from ..sampling.learned_model import SHIPPED

    return hashlib.sha256(SHIPPED.read_bytes()).digest()


@lru_cache
def _code() -> str:
    """Hash of the sources: in a checkout the version stays while the code changes."""
    here, digest = Path(__file__).parents[1], hashlib.sha256()
    for name in SOURCES:
        path = here / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()
