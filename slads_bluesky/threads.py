"""One thread of BLAS: sums that do not depend on how many cores a machine has, or how many a process may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the linear algebra of NumPy and SciPy run in one thread; afterwards as before.

    BLAS splits a sum differently for each number of threads, so that the last digits, hence a trained model and its
    hash, would depend on ``OPENBLAS_NUM_THREADS`` and on the machine. Training is small algebra (at most 26 × 26
    normal equations) and loses nothing by it. Also a decorator.

    Examples
    --------
    >>> import numpy as np
    >>> from slads_bluesky.threads import one_thread
    >>> with one_thread():
    ...     gram = np.ones((3, 2)).T @ np.ones((3, 2))
    >>> gram.tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
