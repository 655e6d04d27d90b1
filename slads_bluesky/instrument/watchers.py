"""What shows a run as it goes: publishers, warnings, tables, the progress bar, the live window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ..callbacks.headless import is_headless
from .parts import MapModels
from .settings import InstrumentSettings

__all__ = ["subscribe_watchers"]


def subscribe_watchers(
    engine: Any,
    settings: InstrumentSettings,
    models: Callable[[], MapModels],
    estimate: Callable[[], float],
    on_problem: Callable[[str], None] | None = None,
) -> tuple[Any, Any]:
    """Subscribe what shows a run to a RunEngine: nothing but numbers in a headless worker.

    Parameters
    ----------
    engine : RecordedEngine
    settings : InstrumentSettings
    models : callable
        The models of now: a classifier may be moved to another energy scale between two maps.
    estimate : callable
        Estimated distortion of the map that runs, NaN without one.
    on_problem : callable, optional
        Called with a sentence for each problem of a publisher and for unexpected spectra.

    Returns
    -------
    bec : BestEffortCallback
    live : object or None
        The window that shows a map as it grows; None without a display.
    """
    from bluesky.callbacks.best_effort import BestEffortCallback

    for where in settings.publishers:
        from ..callbacks.publish import make_publisher

        engine.subscribe(make_publisher(where, on_problem=on_problem))
    if on_problem is not None:
        from ..callbacks.energy_scale_watch import EnergyScaleWatch
        from ..callbacks.verdict_watch import VerdictWatch

        engine.subscribe(VerdictWatch(on_problem))
        engine.subscribe(EnergyScaleWatch(lambda: cast(Any, models().classifier), on_problem))
    bec = BestEffortCallback()
    bec.disable_plots()
    if not settings.display.table:
        bec.disable_table()
    if is_headless():
        return bec, None
    engine.subscribe(bec)
    if settings.display.progress:
        from ..callbacks.progress import MapProgress

        bar = MapProgress(estimate)
        engine.subscribe(bar)
        engine.displays.append(bar)
    live: Any = None
    if settings.display.live:
        from ..callbacks.live import live_view
        from ..callbacks.live.templates import phase_templates

        classifier = models().classifier
        templates = None if classifier is None else phase_templates(classifier)
        live = live_view(estimate=estimate, templates=templates, elements=settings.display.elements)
        if live is not None:
            engine.subscribe(live)
    return bec, live
