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
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SladsError
from ..slads.model import SladsModel
from .guided_inputs import GREYS
from .network import LabelNet
from .pool import Pool, draw_guided_state, draw_state
from .prediction import beside_planes, predict_pairs
from .settings import TrainingSettings

__all__ = ["Batch", "Producers", "planes_of"]

CPU = torch.device("cpu")

SLOTS = 2
"""Batches in shared memory for each process."""
FIRST_IMAGES = 24
"""Of a process, so that a trained network does not forget on a few."""
WAIT_S = 0.5
_TARGET, _COUNTED = 1, 2

Weights = Mapping[str, NDArray[np.float32]]


def planes_of(distances: Tensor) -> Tensor:
    """Return the network's input (n, 5, rows, columns) of squared distances (n, 2, rows, columns), on their device.

    The same as `inputs.planes`, in torch; not yet in the order of memory that the network wants.
    """
    own, other = distances.float().sqrt().unbind(1)
    near = (other - own) / (other + own).clamp_min(1e-6)
    made = [own == 0, other == 0, 0.5 * own.log1p(), 0.5 * other.log1p(), near]
    return torch.stack([plane.float() for plane in made], 1)


class Batch(NamedTuple):
    """States of many images as a producer makes them, without what can be worked out of it where torch computes."""

    distances: Tensor
    """(n, 2, rows, columns) int16, squared."""
    marks: Tensor
    """(n, rows, columns) uint8: 1 where the label is the target's, 2 where the pixel counts for the loss."""
    ratios: Tensor
    """(n, T, rows, columns) int8, T = 0 where no image guides the network; see `guided_inputs.ratio_tables`."""
    noise: Tensor
    """(n,) float32: share of the labels that may be wrong."""

    def to(self, device: torch.device) -> Batch:
        """Return it on another device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))

    def examples(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the network's input, the target and the weight of each pixel, (n, …, rows, columns) float32."""
        x = planes_of(self.distances)
        if self.ratios.shape[1]:
            x = torch.cat([x, beside_planes(self.ratios, self.noise)], 1)
        y = (self.marks & _TARGET)[:, None].float()
        counted = (self.marks & _COUNTED > 0)[:, None].float()
        weight = counted / counted.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1.0)
        return x.contiguous(memory_format=torch.channels_last), y, weight


class _Block:
    """Arrays in shared memory: `slots` batches."""

    def __init__(self, buffer: Any, settings: TrainingSettings, slots: int) -> None:
        n, pixels = settings.batch, (settings.side, settings.side)
        terms = len(GREYS) if settings.framed else 0
        at = 0

        def view(shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
            nonlocal at
            array: NDArray[Any] = np.ndarray((slots, n, *shape), kind, buffer, offset=at)
            at += array.nbytes
            return array

        self.noise = view((), np.float32)
        self.distances = view((2, *pixels), np.int16)
        self.marks = view(pixels, np.uint8)
        self.ratios = view((terms, *pixels), np.int8)

    @staticmethod
    def bytes(settings: TrainingSettings, slots: int) -> int:
        """Size of the buffer."""
        terms = len(GREYS) if settings.framed else 0
        return slots * settings.batch * (4 + (5 + terms) * settings.side**2)


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
    device : torch.device
        Where the network orders the images.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        images: Sequence[NDArray[np.uint8]],
        slads: SladsModel,
        processes: int,
        steps: int = 0,
        device: torch.device = CPU,
    ) -> None:
        context = get_context("spawn")
        self._slots = SLOTS * processes
        self._memory = SharedMemory(create=True, size=_Block.bytes(settings, self._slots))
        self._block = _Block(self._memory.buf, settings, self._slots)
        self._pinned = device.type == "cuda"
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
                    self._memory.name,
                    str(device),
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

    def batch(self) -> Batch:
        """Return the next batch.

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
        block = self._block
        arrays = (block.distances[slot], block.marks[slot], block.ratios[slot], block.noise[slot])
        shared = [torch.from_numpy(array) for array in arrays]
        batch = Batch(*(part.pin_memory() if self._pinned else part.clone() for part in shared))
        self._free.put(slot)
        return batch

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
        del self._block
        self._memory.close()
        self._memory.unlink()

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
    memory_name: str,
    device_name: str,
    channels: tuple[Any, Any, Any, Any],
) -> None:
    """Make batches until the end is set; the body of a process."""
    free, full, weights, end = channels
    number, processes, steps = place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training ends it
    torch.set_num_threads(1)
    memory = SharedMemory(name=memory_name)
    try:
        device = torch.device(device_name)
        block = _Block(memory.buf, settings, SLOTS * processes)
        rng = np.random.default_rng([settings.seed, 3, number, steps])
        with ThreadPoolExecutor(1) as threads:
            model = SladsModel(slads[0], (1, 2), radius=slads[1])
            pool = Pool(settings, images, rng, model, threads)
            net: LabelNet | None = None
            share = max(5, settings.fresh // processes)
            made = number * settings.every // processes**2  # they shall not all order images at once
            while not end.is_set():
                try:
                    found = weights.get_nowait()
                    net = net or _network(settings, device)
                    net.load_state_dict({name: torch.from_numpy(array) for name, array in found.items()})
                except queue.Empty:
                    pass
                if not len(pool) or made * processes >= settings.every:
                    predict = (
                        None if net is None else partial(predict_pairs, net, threads=threads, device=device)
                    )
                    pool.refresh(
                        share if len(pool) else max(share, min(FIRST_IMAGES, settings.pool)), predict
                    )
                    made = 0
                try:
                    slot = free.get(timeout=WAIT_S)
                except queue.Empty:
                    continue
                _fill(block, slot, pool, rng, settings)
                full.put(slot)
                made += 1
        del block
    except (
        Exception
    ) as error:  # the parent raises it; a process that dies without a word would stop the training
        full.put(f"{type(error).__name__}: {error}")
    finally:
        full.close()
        full.join_thread()
        memory.close()


def _network(settings: TrainingSettings, device: torch.device) -> LabelNet:
    net = LabelNet(settings.widths, settings.planes)
    placed: LabelNet = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def _fill(block: _Block, slot: int, pool: Pool, rng: np.random.Generator, settings: TrainingSettings) -> None:
    """Draw a batch of states into a slot."""
    for i, pick in enumerate(rng.integers(0, len(pool), settings.batch)):
        truth, order = pool.truth[pick], pool.orders[pick]
        if settings.framed:
            pair, target, counted, beside = draw_guided_state(truth, order, pool.frames[pick], rng, settings)
            block.ratios[slot, i], block.noise[slot, i] = beside
        else:
            pair, target, counted = draw_state(truth, order, rng, settings.label_noise)
        block.distances[slot, i] = pair
        block.marks[slot, i] = _TARGET * target + _COUNTED * counted
