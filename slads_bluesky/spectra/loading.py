"""Any classifier from its file, whichever kind it is."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelFileError
from ..modelfile import read_kind
from .likelihood.classifier import PhaseClassifier
from .paper.classifier import PaperClassifier

__all__ = ["load_classifier"]

_KINDS: dict[str, type[PaperClassifier] | type[PhaseClassifier]] = {
    PaperClassifier.kind: PaperClassifier,
    PhaseClassifier.kind: PhaseClassifier,
}


def load_classifier(path: str | Path) -> PaperClassifier | PhaseClassifier:
    """Read a classifier that some ``save`` wrote.

    Raises
    ------
    ModelFileError
        Naming the file, if it is missing, truncated, foreign, changed, newer than this program or of no known kind.
    """
    kind = read_kind(path)
    if kind not in _KINDS:
        raise ModelFileError(f"{path}: holds a model of kind {kind!r}, not a classifier")
    return _KINDS[kind].load(path)
