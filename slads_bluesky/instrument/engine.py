"""The RunEngine of a session: when a plan has ended, its runs are in the catalog before the prompt is back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..callbacks.windows import ResponsiveWindows
from ..metadata import plain_metadata
from ..plans.engine import BeamSafeEngine
from ..record import Recorder
from ..record.scan_id import scan_id_source
from .metadata import PersistentMetadata
from .operator import OperatorStream

__all__ = ["RecordedEngine"]

_log = logging.getLogger(__name__)

CATCH_UP_S = 30.0
"""How long the prompt waits for the catalog; the journal has everything anyway."""


class Pausable(Protocol):
    """A display that can leave the terminal to the prompt."""

    def pause(self) -> None:
        """Draw nothing until `resume`."""

    def resume(self) -> None:
        """Draw again."""


class RecordedEngine(BeamSafeEngine):
    """A RunEngine whose documents are recorded, and whose metadata and scan_id outlive it.

    Parameters
    ----------
    recorder : Recorder
        Subscribed first; ``RE.md`` is kept beside its journal.
    marks : mapping, optional
        Metadata that every run of this session bears, and that no user's metadata replaces.
    **more
        As for BeamSafeEngine.
    """

    def __init__(self, recorder: Recorder, *, marks: Mapping[str, Any] | None = None, **more: Any) -> None:
        bears = dict(marks or {})
        metadata: Any = PersistentMetadata(recorder.directory / "metadata.json")
        super().__init__(
            metadata,
            **{
                "during_task": ResponsiveWindows(),
                "md_normalizer": lambda md: plain_metadata({**md, **bears}),
                **more,
            },
        )
        self.scan_id_source = scan_id_source(recorder.directory)
        self.preprocessors.append(OperatorStream(recorder.directory))
        self.subscribe(recorder)  # type: ignore[no-untyped-call]
        self._recorder = recorder
        self._n_documents = self._n_caught_up = 0
        self.subscribe(self._count)  # type: ignore[no-untyped-call]
        self.displays: list[Pausable] = []
        """What is drawn on the terminal during a plan: it pauses with the plan, when the prompt is back."""
        self.state_hook: Any = self._changed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a plan; whether it ends well or badly, wait a moment for the catalog."""
        with self._caught_up():
            return super().__call__(*args, **kwargs)

    def resume(self) -> Any:
        """Resume a paused plan, then wait a moment for the catalog."""
        with self._caught_up():
            return super().resume()

    def abort(self, reason: str = "") -> Any:
        """End a paused plan as aborted, then wait a moment for the catalog."""
        with self._caught_up():
            return super().abort(reason)

    def stop(self) -> Any:
        """End a paused plan as successful, then wait a moment for the catalog."""
        with self._caught_up():
            return super().stop()

    def halt(self) -> Any:
        """End a paused plan at once, without its cleanup, then wait a moment for the catalog."""
        with self._caught_up():
            return super().halt()

    @contextlib.contextmanager
    def _caught_up(self) -> Iterator[None]:
        """Wait at the end until the catalog holds every document, stop documents included."""
        try:
            yield
        finally:
            if self.state != "paused" and self._n_documents != self._n_caught_up:
                self._n_caught_up = self._n_documents
                if not self._recorder.flush(timeout=CATCH_UP_S):
                    _log.warning(
                        "the catalog is not up to date yet; the journal holds the run, and load() reads it"
                    )

    def _count(self, name: str, doc: Mapping[str, Any]) -> None:
        self._n_documents += 1

    def _changed(self, state: str, before: str) -> None:
        for display in self.displays:
            if state in ("paused", "idle"):
                display.pause()
            elif before == "paused" and state == "running":
                display.resume()
