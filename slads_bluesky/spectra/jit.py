"""Numba's compiler that passes the types of the compiled function to the type checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., object])

_FLAGS = {"reassoc", "contract", "arcp", "nsz"}
"""Sums may be reordered; NaN and infinity keep their meaning."""


def compiled(function: F) -> F:
    """Compile at the first call and keep the machine code on disk.

    What a compiled function calls becomes part of it. Else there would be two versions of the machine code, which
    add up in different orders: the callee's own, used in the process that compiled it, and the copy in its
    caller's file, used in every later process.
    """
    return cast(F, njit(cache=True, fastmath=_FLAGS, nogil=True, forceinline=True)(function))
