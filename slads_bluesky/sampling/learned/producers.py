"""Training batches from several processes: each has a pool of its own, ordered by the network as it was lately.

A process draws images, lets the network order them and makes batches of states beside the training; the batches lie
in shared memory as squared distances, and the network's input planes are made of them where torch computes. Which
process delivers next is not determined: only training in one process gives the same weights again.
"""

from __future__ import annotations

import queue
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SladsError
from ..slads.model import SladsModel
from .network import LabelNet
from .pool import Pool, draw_state
from .prediction import predict_pairs
from .settings import TrainingSettings

__all__ = ["Producers", "planes_of"]

SLOTS = 2
"""Batches in shared memory for each process."""
WAIT_S = 0.5
_TARGET, _COUNTED = 1, 2

Weights = Mapping[str, NDArray[np.float32]]


def planes_of(distances: Tensor) -> Tensor:
    """Return the network's input (n, 5, rows, columns) of squared distances (n, 2, rows, columns), on their device.

    The same as `inputs.planes`, in torch.
    """
    own, other = distances.float().sqrt().unbind(1)
    near = (other - own) / (other + own).clamp_min(1e-6)
    made = [own == 0, other == 0, 0.5 * own.log1p(), 0.5 * other.log1p(), near]
    return torch.stack([plane.float() for plane in made], 1).contiguous(memory_format=torch.channels_last)


def _views(
    block: SharedMemory, settings: TrainingSettings, slots: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Distances (slots, batch, 2, side, side) and marks (slots, batch, side, side) of a block of shared memory."""
    pixels = (settings.side, settings.side)
    shape = (slots, settings.batch, 2, *pixels)
    distances = np.ndarray(shape, np.int16, block.buf)
    marks = np.ndarray((slots, settings.batch, *pixels), np.uint8, block.buf, offset=distances.nbytes)
    return distances, marks


def _bytes(settings: TrainingSettings, slots: int) -> int:
    return 5 * slots * settings.batch * settings.side**2


class Producers:
    """Processes that make batches; a context manager that ends them.

    Parameters
    ----------
    settings : TrainingSettings
    images : sequence of (rows, columns) uint8
        Label images to adapt to.
    slads : SladsModel
    processes : int
    steps : int
        Steps before: part of the seeds, so that a resumed training draws other images.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        images: Sequence[NDArray[np.uint8]],
        slads: SladsModel,
        processes: int,
        steps: int = 0,
    ) -> None:
        context = get_context("spawn")
        self._slots = SLOTS * processes
        self._block = SharedMemory(create=True, size=_bytes(settings, self._slots))
        self._distances, self._marks = _views(self._block, settings, self._slots)
        self._free: Any = context.Queue()
        self._full: Any = context.Queue()
        self._end = context.Event()
        self._weights: list[Any] = [context.Queue(maxsize=1) for _ in range(processes)]
        for slot in range(self._slots):
            self._free.put(slot)
        self._processes = [
            context.Process(
                target=_produce,
                args=(
                    replace(settings, pool=max(8, settings.pool // processes)),
                    tuple(images),
                    (np.array(slads.theta), slads.radius),
                    (number, processes, steps),
                    self._block.name,
                    (self._free, self._full, self._weights[number], self._end),
                ),
                daemon=True,
                name=f"producer {number + 1} of {processes}",
            )
            for number in range(processes)
        ]
        for process in self._processes:
            process.start()

    def renew(self, weights: Weights) -> None:
        """Pass the network's weights on; a process that has not taken the last ones yet takes none."""
        for waiting in self._weights:
            try:
                waiting.put_nowait(dict(weights))
            except queue.Full:
                continue

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next batch: distances (n, 2, r, c) int16, target and weight (n, 1, r, c) float32.

        Raises
        ------
        SladsError
            Naming the process that ended, and why.
        """
        while True:
            try:
                slot = self._full.get(timeout=WAIT_S)
                break
            except queue.Empty:
                for process in self._processes:
                    if not process.is_alive():
                        raise SladsError(
                            f"{process.name} of training images ended ({process.exitcode})"
                        ) from None
        if isinstance(slot, str):
            raise SladsError(f"a producer of training images ended: {slot}")
        distances = torch.from_numpy(self._distances[slot].copy())
        marks = self._marks[slot][:, None].copy()
        self._free.put(slot)
        counted = (marks & _COUNTED > 0).astype(np.float32)
        counted /= np.maximum(counted.sum(axis=(1, 2, 3), keepdims=True), 1.0)
        return distances, torch.from_numpy((marks & _TARGET).astype(np.float32)), torch.from_numpy(counted)

    def close(self) -> None:
        """End the processes and free the memory."""
        self._end.set()
        for process in self._processes:
            process.join(20)
            if process.is_alive():
                process.kill()
                process.join()
        for waiting in (self._free, self._full, *self._weights):
            waiting.cancel_join_thread()
            waiting.close()
        del self._distances, self._marks
        self._block.close()
        self._block.unlink()

    def __enter__(self) -> Producers:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _produce(
    settings: TrainingSettings,
    images: tuple[NDArray[np.uint8], ...],
    slads: tuple[NDArray[np.float64], int],
    place: tuple[int, int, int],
    block_name: str,
    channels: tuple[Any, Any, Any, Any],
) -> None:
    """Make batches until the end is set; the body of a process."""
    free, full, weights, end = channels
    number, processes, steps = place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training ends it
    torch.set_num_threads(1)
    block = SharedMemory(name=block_name)
    try:
        distances, marks = _views(block, settings, SLOTS * processes)
        rng = np.random.default_rng([settings.seed, 3, number, steps])
        with ThreadPoolExecutor(1) as threads:
            model = SladsModel(slads[0], (1, 2), radius=slads[1])
            pool = Pool(settings, images, rng, model, threads)
            net: LabelNet | None = None
            share = max(5, settings.fresh // processes)
            made = 0
            while not end.is_set():
                try:
                    found = weights.get_nowait()
                    net = net or LabelNet(settings.widths)
                    net.load_state_dict({name: torch.from_numpy(array) for name, array in found.items()})
                except queue.Empty:
                    pass
                if not len(pool) or made * processes >= settings.every:
                    ordered = None if net is None else partial(predict_pairs, net, threads=threads)
                    pool.refresh(share, ordered)
                    made = 0
                try:
                    slot = free.get(timeout=WAIT_S)
                except queue.Empty:
                    continue
                for i, pick in enumerate(rng.integers(0, len(pool), settings.batch)):
                    pair, target, counted = draw_state(
                        pool.truth[pick], pool.orders[pick], rng, settings.label_noise
                    )
                    distances[slot, i] = pair
                    marks[slot, i] = _TARGET * target + _COUNTED * counted
                full.put(slot)
                made += 1
            del distances, marks
    except (
        Exception
    ) as error:  # the parent raises it; a process that dies without a word would stop the training
        full.put(f"{type(error).__name__}: {error}")
    finally:
        full.close()
        full.join_thread()
        block.close()
