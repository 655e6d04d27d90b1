"""The RunEngine of a session: when a plan has ended, its runs are in the catalog before the prompt is back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bluesky import RunEngine

from ..callbacks.windows import ResponsiveWindows
from ..record import Recorder
from ..record.scan_id import scan_id_source
from .metadata import PersistentMetadata

__all__ = ["RecordedEngine"]

CATCH_UP_S = 30.0
"""How long the prompt waits for the catalog; the journal has everything anyway."""


class RecordedEngine(RunEngine):
    """A RunEngine whose documents are recorded, and whose metadata and scan_id outlive it.

    Parameters
    ----------
    recorder : Recorder
        Subscribed first; ``RE.md`` is kept beside its journal.
    marks : mapping, optional
        Metadata that every run of this session bears, and that no user's metadata replaces.
    **more
        As for RunEngine.
    """

    def __init__(self, recorder: Recorder, *, marks: Mapping[str, Any] | None = None, **more: Any) -> None:
        bears = dict(marks or {})
        metadata: Any = PersistentMetadata(recorder.directory / "metadata.json")
        super().__init__(
            metadata,
            **{"during_task": ResponsiveWindows(), "md_normalizer": lambda md: {**md, **bears}, **more},
        )
        self.scan_id_source = scan_id_source(recorder.directory)
        self.subscribe(recorder)  # type: ignore[no-untyped-call]
        self._recorder = recorder

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a plan, then wait a moment for the catalog."""
        return self._caught_up(super().__call__(*args, **kwargs))

    def resume(self) -> Any:
        """Resume a paused plan, then wait a moment for the catalog."""
        return self._caught_up(super().resume())  # type: ignore[no-untyped-call]

    def abort(self, reason: str = "") -> Any:
        """End a paused plan badly, then wait a moment for the catalog."""
        return self._caught_up(super().abort(reason))  # type: ignore[no-untyped-call]

    def stop(self) -> Any:
        """End a paused plan well, then wait a moment for the catalog."""
        return self._caught_up(super().stop())  # type: ignore[no-untyped-call]

    def _caught_up(self, result: Any) -> Any:
        if not self._recorder.up_to_date:
            self._recorder.flush(timeout=CATCH_UP_S)
        return result
