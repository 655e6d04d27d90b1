"""What a run cost and how its spectra were called, from its own documents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocols import EventKeys
from ..streams import StreamRouter

__all__ = ["RunStatistics"]


class RunStatistics(StreamRouter):
    """Document callback that keeps the small numbers of each point of a run, never the spectra.

    An event that a pause has made the RunEngine emit again replaces the one before.

    Parameters
    ----------
    keys : EventKeys, optional
        Where in an Event to look.
    """

    def __init__(self, keys: EventKeys | None = None) -> None:
        super().__init__()
        self._keys = keys or EventKeys()
        self._rows: dict[int, tuple[int, int, float, float, float, int, float]] = {}
        self.start_doc: dict[str, Any] = {}
        self.stop_doc: dict[str, Any] = {}

    def start(self, doc: Any) -> None:
        """Begin with a run."""
        self.start_doc, self.stop_doc = doc, {}
        self._rows.clear()

    def stop(self, doc: Any) -> None:
        """Keep how the run ended."""
        self.stop_doc = doc

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take a point."""
        if stream == "primary":
            data, keys = doc["data"], self._keys
            self._rows[doc["seq_num"]] = (
                int(data[keys.pixel]),
                int(data[keys.label]),
                float(data[keys.live_time]),
                float(data[keys.real_time]),
                float(data.get(keys.dose, float("nan"))),
                int(data.get(keys.counts, 0)),
                doc["time"],
            )

    def _column(self, index: int) -> list[Any]:
        return [row[index] for _, row in sorted(self._rows.items())]

    @property
    def pixels(self) -> NDArray[np.int64]:
        """(N,) flat indices in the order of their measurement."""
        return np.array(self._column(0), np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) labels as classified, 0 where unclassified."""
        return np.array(self._column(1), np.int64)

    @property
    def live_time_s(self) -> float:
        """Live time of all spectra, s."""
        return float(sum(self._column(2)))

    @property
    def live_times_s(self) -> NDArray[np.float64]:
        """(N,) live time of each spectrum, s."""
        return np.array(self._column(2), np.float64)

    @property
    def real_time_s(self) -> float:
        """Time that the beam dwelt, s."""
        return float(sum(self._column(3)))

    @property
    def doses_nc(self) -> NDArray[np.float64]:
        """(N,) charge that fell on each measured pixel, nC."""
        return np.array(self._column(4), np.float64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(N,) counts of each spectrum."""
        return np.array(self._column(5), np.int64)

    @property
    def dose_nc(self) -> float:
        """Charge that fell on the measured pixels, nC."""
        return float(self.doses_nc.sum())

    @property
    def point_s(self) -> NDArray[np.float64]:
        """(N - 1,) wall time from each event to the next, s."""
        return np.diff(np.array(self._column(6), np.float64))
