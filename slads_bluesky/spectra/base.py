"""What every classifier shares: its hash, and the model file that it is stored in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from ..errors import ModelFileError
from ..modelfile import model_sha256, read_model, write_model

__all__ = ["StoredClassifier"]


class StoredClassifier(ABC):
    """A classifier made of arrays and of a description in JSON, and of nothing else."""

    kind: ClassVar[str]
    """What its files say they hold."""
    version: ClassVar[int]
    """Newest format of its files."""
    nan_arrays: ClassVar[tuple[str, ...]] = ()
    """Arrays that may hold NaN, for "unknown"."""

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by name."""

    @abstractmethod
    def _description(self) -> dict[str, Any]:
        """Return all else, as JSON."""

    @classmethod
    @abstractmethod
    def _restore(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Make the classifier whose arrays and description these are."""

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that its answers depend on."""
        return model_sha256(self.kind, self._arrays(), self._description())

    def save(self, path: str | Path) -> None:
        """Write it to one file (safetensors with JSON in the header); `spectra.load_classifier` reads it."""
        write_model(path, self.kind, self.version, self._arrays(), self._description())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; ModelFileError naming the file and what is wrong with it."""
        arrays, description = read_model(path, cls.kind, cls.version, cls.nan_arrays)
        try:
            return cls._restore(arrays, description)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ModelFileError(f"{path}: field {error} is missing or wrong") from error
