"""What a plan asks of a flyer over point lists: bluesky's verbs, and what a list left behind."""

from collections.abc import Callable
from typing import Any, Protocol

from slads_bluesky.pointlist import PointList

__all__ = ["FlyerLike"]


class FlyerLike(Protocol):
    """A flyer over point lists; `slads_bluesky.devices.flyer.SparseFlyer` is one."""

    name: str
    engine: Any

    def prepare(self, points: PointList) -> Any:
        """Load a list."""

    def kickoff(self) -> Any:
        """Start it."""

    def complete(self) -> Any:
        """Return the status of its end."""

    def collect_pages(self) -> Any:
        """Yield event pages of what came."""

    def settled(self) -> None:
        """Take it that a checkpoint followed the rows collected so far."""

    def on_news(self, heard: Callable[[], None]) -> None:
        """Call at the next rows, or at the end of the list."""

    @property
    def n_ready(self) -> int:
        """Rows that can be collected."""

    @property
    def trouble(self) -> str:
        """Why the last list ended early; empty if it did not."""

    def forget(self, pixel: int) -> None:
        """Give up a pixel that wanted another pass."""

    @property
    def undecided(self) -> list[int]:
        """Indices of points of the last list that want another pass."""

    @property
    def missed(self) -> dict[int, str]:
        """Indices of points of the last list without a valid spectrum, and why."""

    @property
    def lost(self) -> set[int]:
        """Indices of those that the pixel is not to blame for: a client that was too slow, or a pause."""

    @property
    def dose_nc(self) -> float:
        """Charge on the specimen so far, nC."""

    def first_pass_s(self, quantum_s: float) -> float:
        """Real time of a pixel's first pass, s."""

    def dwell_of_counts_s(self, counts: int) -> float:
        """Real time in which so many counts come, s; NaN while that is not known."""

    def next_pass_s(self, pixel: int) -> float:
        """Real time of an undecided pixel's next pass, s."""
