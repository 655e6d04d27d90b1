"""An image of the field before a map: scanned by a detector or given, recorded, and taken by the agent as recorded.

The stream ``image`` has one Event. As for the points, the agent takes the Event that was emitted, so that a replay
has what the run had.
"""

import logging
import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from bluesky.utils import Msg
from numpy.typing import NDArray

from slads_bluesky.errors import ConfigError, DeviceAwayError, InstrumentError
from slads_bluesky.protocols import Agent

from .stubs import EventCollector, record, trigger_and_wait

__all__ = ["STREAM", "GivenFrame", "check_image", "image_argument", "image_options", "record_image"]

STREAM = "image"
FRAME_TIMEOUT_S = 30.0
"""How much longer a frame may take than its pixels, s."""
RETRY_AFTER_S = 0.2
"""Time between two tries, s."""

_log = logging.getLogger(__name__)


class GivenFrame:
    """A readable: a frame that there is already, on the grid of the map.

    Parameters
    ----------
    frame : (rows, columns) float32 array
        Grey levels.
    source : str
        Where it is from, such as the name of its file.
    name : str
        Prefix of its data keys: ``{name}_image`` and ``{name}_source``.
    """

    parent = None
    hints: Mapping[str, Any] = {"fields": []}

    def __init__(self, frame: NDArray[np.float32], source: str, name: str = "bse") -> None:
        self.name = name
        self.frame = np.array(frame, np.float32)
        """(rows, columns): grey levels."""
        self._source = source
        self._time = time.time()

    def read(self) -> dict[str, Any]:
        """The frame, and where it is from."""
        values = {"image": self.frame, "source": self._source}
        return {f"{self.name}_{key}": {"value": v, "timestamp": self._time} for key, v in values.items()}

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        source = f"plan:{self.name}"
        image = {"dtype": "array", "dtype_numpy": "<f4", "shape": list(self.frame.shape), "source": source}
        return {
            f"{self.name}_image": image,
            f"{self.name}_source": {"dtype": "string", "shape": [], "source": source},
        }


def check_image(agent: Agent, image: Any) -> None:
    """Raise ConfigError if the agent would not find the image where it looks, or cannot take one."""
    if image is None:
        return
    if not hasattr(agent, "ingest_image"):
        raise ConfigError(f"{agent!r} takes no image")
    wanted = getattr(agent.keys, "image", "")
    if wanted != f"{image.name}_image":
        raise ConfigError(
            f"the agent looks for the image at '{wanted}', {image.name} gives '{image.name}_image'"
        )


def image_argument(image: Any) -> dict[str, Any]:
    """Name of the image's device, for a start document; empty without one."""
    return {} if image is None else {"image": image.name}


def image_options(image: Any, agent: Agent) -> dict[str, Any]:
    """Arguments of `run.one_run` with which it records an image first; none without one."""
    return {} if image is None else {"first": lambda: record_image(image, agent), "more": [image]}


def _scan(image: Any, timeout_s: float) -> Generator[Msg, Any, None]:
    """Scan a frame; once more if the detector refuses it, as a point is tried."""
    try:
        yield from trigger_and_wait(image, timeout_s)
    except DeviceAwayError:
        raise
    except InstrumentError as error:
        _log.warning("%s; scanned once more", error)
        yield Msg("sleep", None, RETRY_AFTER_S)
        yield from trigger_and_wait(image, timeout_s)


def record_image(image: Any, agent: Agent) -> Generator[Msg, Any, None]:
    """Scan a frame of the agent's grid if `image` can be triggered, record it, and let the agent take it.

    Nothing is done for an agent that has measured pixels already: a resumed map has its image in the run that it
    resumes.

    Parameters
    ----------
    image : Readable
        A detector such as `devices.BSEDetector`, or a `GivenFrame`.
    agent : Agent

    Raises
    ------
    InstrumentError
        If the frame takes too long, or the detector fails or refuses it twice.
    DataError
        If the frame is not one of the grid.
    """
    if agent.n_measured:
        return
    collector = EventCollector(STREAM)
    token = yield Msg("subscribe", None, collector, "all")
    if hasattr(image, "trigger"):
        grid = agent.grid
        rows, columns = grid.shape
        field = {"shape": (rows, columns), "step_um": grid.step_um, "centre_um": grid.centre_um}
        yield Msg("configure", image, field)
        yield from _scan(image, FRAME_TIMEOUT_S + rows * columns * 1e-3)
    yield from record(STREAM, [image])
    event = collector.take()
    if token is not None:
        yield Msg("unsubscribe", None, token=token)
    if event is not None:  # None where nobody runs the messages
        agent.ingest_image(event)  # type: ignore[attr-defined]
