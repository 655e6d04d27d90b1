"""One map of a simulated object through the whole system, and how good it was."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..agent import SladsAgent
from ..agent_settings import LEAST_INTERACTION_PX, LIST_OVERHEAD_S, POINT_OVERHEAD_S, AgentSettings
from ..agents import agent_from_settings, element_target
from ..callbacks.statistics import RunStatistics
from ..errors import InstrumentError
from ..grid import ScanGrid
from ..protocols import HasMixture, Specimen, StopRule
from ..sampling.factory import image_network_of
from ..simulated import simulation_metadata
from ..spectra.dwell import adaptive_dwell
from ..spectra.dwell_mixed import mixture_dwell
from .models import Models

__all__ = ["KnownSpecimen", "MapResult", "make_agent", "make_flyer", "run_map"]


class KnownSpecimen(Specimen, Protocol):
    """What can be mapped and scored here: `phantom.Phantom` is one.

    Over Channel Access, the simulated object of its name and seed is mapped.
    """

    @property
    def seed(self) -> int:
        """Random seed of the phantom."""

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases 1 … L."""

    @property
    def truth(self) -> NDArray[np.uint8]:
        """(rows, columns): the phase of each pixel, 1 … L."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(rows, columns): `truth`, but 0 where the spectrum is ill."""

    @property
    def boundary_fraction(self) -> float:
        """Fraction of pixels at boundaries: how hard it is to sample."""


def _imperfections(phantom: KnownSpecimen) -> dict[str, float]:
    """What the specimen has besides, for the start document and for the simulated microscope's process."""
    made = getattr(phantom, "imperfections", None)
    return {} if made is None else dict(made.to_json())


@dataclass(frozen=True)
class MapResult:
    """A finished map, with the truth to compare with."""

    uid: str
    scan_id: int
    phantom: KnownSpecimen
    measured: NDArray[np.int16]
    """(rows, columns): labels as classified, 0 where unclassified, -1 where unmeasured."""
    reconstruction: NDArray[np.uint8]
    """(rows, columns): labels 1 … L."""
    statistics: RunStatistics
    decision_s: NDArray[np.float64]
    """(N,) time that the agent took for each decision, s."""
    wall_s: float
    reason: str
    """Why the map ended."""
    called: NDArray[np.int64] | None = None
    """(N,) labels of the measured pixels in their order; None: those of the events."""

    def figures(self) -> dict[str, Any]:
        """Figures of the map; JSON only.

        Distortion is Eq. 14 of the paper. ``td`` counts against the clean phase map, ``td_majority`` against the
        phase with the largest part in each pixel's interaction volume; ``td_paper_definition`` has
        label 0 as a class of the truth, as the paper does: an ill pixel is right only if it was measured and
        classified as ill.
        """
        truth, labels = self.phantom.truth, self.phantom.labels
        as_paper = np.where(self.measured == 0, 0, self.reconstruction)
        is_label = labels.ravel()[self.statistics.pixels]
        called = self.called if self.called is not None else self.statistics.labels
        good = is_label > 0
        milliseconds = self.statistics.point_s * 1e3
        n = int((self.measured >= 0).sum())
        return {
            "uid": self.uid,
            "scan_id": self.scan_id,
            "object": self.phantom.name,
            "seed": self.phantom.seed,
            "boundary_fraction": self.phantom.boundary_fraction,
            "fraction": n / truth.size,
            "n_measured": n,
            "td": float((self.reconstruction != truth).mean()),
            "td_majority": float((self.reconstruction != getattr(self.phantom, "majority", truth)).mean()),
            "td_paper_definition": float((as_paper != labels).mean()),
            "misclassification": float(((called != is_label) & (called > 0)).mean()),
            "false_alarm": float((called[good] == 0).mean()) if good.any() else 0.0,
            "n_ill_measured": int((~good).sum()),
            "dwell_total_s": self.statistics.live_time_s,
            "beam_on_total_s": self.statistics.real_time_s,
            "dose_nC": self.statistics.dose_nc,
            "wall_s": self.wall_s,
            "point_ms": _median_p99(milliseconds),
            "decision_us": _median_p99(self.decision_s * 1e6),
            "stop_reason": self.reason,
        }


def make_agent(
    phantom: KnownSpecimen,
    models: Models,
    *,
    fraction: float,
    seed: int = 0,
    stop_at: float | None = None,
    confidence: float | None = None,
    initial: float | None = None,
    smallest_feature: int | None = None,
    elements: Sequence[str] = (),
    minimise: str | None = None,
    lists: bool = False,
) -> SladsAgent:
    """Make the agent that maps an object: its grid, a sampler, the wanted fraction.

    Parameters
    ----------
    phantom : KnownSpecimen
        Gives the shape and the phases; nothing else of it is looked at.
    models : Models
    fraction : float
        Part of the pixels to measure, 0 < fraction ≤ 1.
    seed : int
        Seed of the initial mask.
    stop_at : float, optional
        Total distortion at which the sampler's stop rule may end the map earlier.
    confidence : float, optional
        Probability with which the distortion must not be above `stop_at` for that.
    initial : float, optional
        Part of the pixels in the initial low-discrepancy mask; by default the sampler's own.
    smallest_feature : int, optional
        Pixels of the smallest patch of which 99 % must hold a measured pixel.
    elements : sequence of str
        Choose pixels for the maps of these elements, not for that of the phases.
    minimise : {"dose", "time", "both"}, optional
        What the sampler ``joint`` sets the fall of the error against.
    lists : bool
        Whether points are visited in lists: for `minimise`, what a visit costs besides its dwell.
    """
    pitch = float(getattr(phantom, "pitch_um", 1.0))
    interaction_px = _interaction_px(phantom, models)
    settings = AgentSettings.for_models(
        ScanGrid(phantom.shape, (pitch, pitch)),
        models.classifier,
        models.sampler,
        sampler=models.sampler_name,
        fraction=fraction,
        seed=seed,
        initial=initial,
        stop_at=stop_at,
        confidence=confidence,
        smallest_feature=smallest_feature,
        interaction_px=interaction_px,
        image_network=image_network_of(models.sampler_name, interaction_px),
        more=element_target(elements, models.classifier),
        minimise=minimise,
        overhead_s=None if minimise is None else LIST_OVERHEAD_S if lists else POINT_OVERHEAD_S,
    )
    return agent_from_settings(settings, models.sampler)


def run_map(
    phantom: KnownSpecimen,
    models: Models,
    agent: SladsAgent,
    *,
    soft: bool,
    subscribers: list[Callable[[str, dict[str, Any]], Any]],
    scan_id_source: Callable[[Any], int] | None = None,
    dwell_s: float = 10.0,
    error: float | None = None,
    batch: int | float | str | None = None,
    time_scale: float = 0.0,
    md: dict[str, Any] | None = None,
    stop_rule: StopRule | None = None,
    bse: bool = False,
) -> MapResult:
    """Map an object with a RunEngine of its own.

    Parameters
    ----------
    phantom : KnownSpecimen
    models : Models
    agent : SladsAgent
    soft : bool
        In-process devices; otherwise the simulated microscope in a process of its own, over Channel Access.
    subscribers : list of callable
        Take every document, in this order, before the plan takes its next step.
    scan_id_source : callable, optional
        Gives the run's number from the RunEngine's metadata.
    dwell_s : float
        Live time of each spectrum, s; with `error`, the longest.
    error : float, optional
        Adaptive dwell: end each acquisition once the probability of a wrong phase is under this.
    batch : int, float or "auto", optional
        Visit the points in lists of that many; see `plans.batches.batch_size`.
    time_scale : float
        Wall time per simulated time of the simulated microscope, 0: acquisitions end at once.
    md : dict, optional
        Added to the start document.
    stop_rule : StopRule, optional
        Ends each acquisition; by default what follows from `error` and the specimen's interaction volume.
    bse : bool
        Scan a backscatter frame first, which guides the map.

    Returns
    -------
    MapResult

    Raises
    ------
    InstrumentError
        If the simulated microscope does not start or dies.
    KeyboardInterrupt
        After Ctrl-C, once the run is closed and the beam blanked.
    """
    from ..plans.adaptive import adaptive_map
    from ..plans.engine import BeamSafeEngine
    from ..plans.ledger import Ledger

    statistics, ledger = RunStatistics(agent.keys), Ledger()
    engine: Any = BeamSafeEngine({})
    if scan_id_source is not None:
        engine.scan_id_source = scan_id_source
    for subscriber in [*subscribers, statistics]:
        engine.subscribe(subscriber)
    about = {"sample": phantom.name, **(md or {}), **_about(phantom)}
    mixing = _interaction_px(phantom, models) is not None
    make_rule = mixture_dwell if mixing else adaptive_dwell
    rule = stop_rule if stop_rule is not None else make_rule(models.classifier, error or 0.0, dwell_s)
    with _devices(phantom, models, soft, rule, time_scale) as (beam, eds, microscope):
        if mixing:
            eds.configure({"abundances": True})
        engine.beams.append(beam)
        flyer = None if batch is None else make_flyer(beam, eds, time_scale)
        began = time.perf_counter()
        _run(
            engine,
            adaptive_map(
                beam,
                eds,
                agent,
                baseline=[microscope],
                dwell_s=dwell_s,
                ledger=ledger,
                md=about,
                flyer=flyer,
                batch=batch or "auto",
                image=make_bse(beam) if bse else None,
            ),
        )
        wall = time.perf_counter() - began
    return MapResult(
        uid=statistics.start_doc["uid"],
        scan_id=statistics.start_doc["scan_id"],
        phantom=phantom,
        measured=agent.sampler.measured,
        reconstruction=agent.sampler.reconstruct(),
        statistics=statistics,
        decision_s=np.array(ledger.seconds("decide")),
        wall_s=wall,
        reason=statistics.stop_doc.get("reason", ""),
    )


def _interaction_px(phantom: KnownSpecimen, models: Models) -> float | None:
    """Standard deviation of the interaction volume, pixels, where models can use it; else None."""
    width = float(getattr(phantom, "interaction_px", 0.0))
    usable = models.sampler_name in ("learned", "slads") and isinstance(models.classifier, HasMixture)
    return width if width >= LEAST_INTERACTION_PX and usable else None


def _about(phantom: KnownSpecimen) -> dict[str, Any]:
    return simulation_metadata(phantom.name, phantom.seed, _imperfections(phantom))


def _run(engine: Any, plan: Any) -> None:
    """Run a plan to its end; Ctrl-C ends it with a stop document, the beam blanked."""
    from bluesky.utils import FailedStatus, RunEngineInterrupted

    try:
        engine(plan)
    except RunEngineInterrupted:
        engine.abort(reason="interrupted by the user")
        raise KeyboardInterrupt from None
    except (FailedStatus, TimeoutError) as error:
        cause = error.__cause__ or error
        raise InstrumentError(f"the map ended early: {cause or type(cause).__name__}") from error


def make_flyer(beam: Any, eds: Any, time_scale: float = 0.0) -> Any:
    """Make the flyer of a simulated microscope, soft or over Channel Access."""
    from ..devices.flyer import SparseFlyer

    if not hasattr(beam, "prefix"):
        from ..devices.sim.softlist import SoftListEngine

        return SparseFlyer(SoftListEngine(beam.sem, time_scale=time_scale), eds, beam)
    from ..devices.listscan import EpicsListEngine, MappingEDS, PointListScan

    prefix = beam.prefix.removesuffix("Beam:")
    scan = PointListScan(f"{prefix}Scan:", name="scan")
    return SparseFlyer(
        EpicsListEngine(scan, MappingEDS(f"{prefix}EDS:Map:", name="mapping"), eds, beam), eds, beam
    )


def make_bse(beam: Any) -> Any:
    """Make the backscatter detector of a simulated microscope, soft or over Channel Access."""
    if not hasattr(beam, "prefix"):
        from ..devices.sim.soft import SoftBSE

        return SoftBSE("bse", beam.sem)
    from ..devices import BSEDetector

    return BSEDetector(f"{beam.prefix.removesuffix('Beam:')}BSE:", name="bse", beam=beam)


@contextlib.contextmanager
def _devices(
    phantom: KnownSpecimen, models: Models, soft: bool, rule: Any, time_scale: float = 0.0
) -> Iterator[tuple[Any, Any, Any]]:
    if soft:
        from ..devices.sim.soft import soft_microscope

        yield soft_microscope(phantom, models.classifier, stop_rule=rule)
        return
    from ..devices.sim.process import SimulatedMicroscope

    with SimulatedMicroscope(
        phantom.name, phantom.seed, time_scale=time_scale, imperfections=_imperfections(phantom)
    ) as simulated:
        from ..devices import (  # only now: clients must know the address first
            EDSDetector,
            Microscope,
            SEMBeam,
        )

        prefix = simulated.prefix
        beam = SEMBeam(f"{prefix}Beam:", name="beam")
        yield (
            beam,
            EDSDetector(
                f"{prefix}EDS:mca1", name="eds", classifier=models.classifier, beam=beam, stop_rule=rule
            ),
            Microscope(f"{prefix}Beam:", name="sem"),
        )


def _median_p99(values: NDArray[np.float64]) -> dict[str, float]:
    if not values.size:
        return {"median": 0.0, "p99": 0.0}
    return {"median": float(np.median(values)), "p99": float(np.percentile(values, 99))}
