"""Numba's compiler with the types of the compiled function kept for the type checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile at the first call, keep the machine code on disk; sums may be reordered, no NaN or Inf may occur."""
    return cast(F, njit(cache=True, fastmath=True, nogil=True)(function))
