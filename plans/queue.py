"""Plans with plain arguments: what a queue server takes, and what is short to type at a prompt.

All arguments are JSON, with limits, defaults (those of ``instrument.yml``) and descriptions by which the queue
server validates an item before it is queued. No ``from __future__ import annotations`` here: the server reads the
annotations as they stand.
"""

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import MAX_SIDE, ScanGrid
from slads_bluesky.protocols import Agent

from . import raster
from .adaptive import adaptive_map
from .arguments import checked
from .collect import collect_phase
from .stubs import in_thread

try:
    from bluesky_queueserver import parameter_annotation_decorator
except ImportError:  # the extra "queue" is not installed: nobody asks for the descriptions
    parameter_annotation_decorator = None

__all__ = ["QueuePlans", "SessionLike", "queue_plans"]

Plan = Generator[Msg, Any, Any]


class SessionLike(Protocol):
    """What these plans need of a session; see `slads_bluesky.instrument.Session`."""

    beam: Any
    eds: Any

    @property
    def acquisition(self) -> Mapping[str, Any]:
        """More arguments of `adaptive_map`: the flyer and its batch where points are visited in lists, else none."""

    @property
    def grid(self) -> ScanGrid:
        """The grid of ``instrument.yml``."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """``fraction``, ``seed``, ``dwell_s`` and ``error`` of ``instrument.yml``; ``phases``, known or discover."""

    def make_grid(self, **changes: Any) -> ScanGrid:
        """That grid, changed."""

    def make_agent(self, fraction: float | None = None, **changes: Any) -> Agent:
        """Make an agent for one map."""

    def resumed_agent(self, run: str | int) -> tuple[Agent, dict[str, Any], dict[str, Any]]:
        """Agent of a map that was cut off, metadata of the run that resumes it, and its dwell and error."""

    def map_image(
        self, image: str, *, shape: tuple[int, int], step_um: float, pixel_um: float | None = None
    ) -> Any:
        """Image of `adaptive_map`: None, the backscatter detector or a frame from a file."""

    def prepare_map(self, **changes: Any) -> dict[str, Any]:
        """Return keyword arguments of `adaptive_map`, `RunOptions`."""


class QueuePlans(NamedTuple):
    """The plans over one session."""

    map_sample: Callable[..., Plan]
    resume_map: Callable[..., Plan]
    raster_map: Callable[..., Plan]
    collect_spectra: Callable[..., Plan]


_SAMPLE = {"description": "Name of the sample, for the record."}
_GRID = {
    "rows": {"description": "Rows of the grid (along y).", "min": 1, "max": MAX_SIDE, "step": 1},
    "columns": {"description": "Columns of the grid (along x).", "min": 1, "max": MAX_SIDE, "step": 1},
    "step_um": {"description": "Distance between pixels, µm.", "min": 1e-4, "max": 1e3, "step": 0.1},
    "centre_x_um": {"description": "Middle of the grid along x, µm.", "min": -1e5, "max": 1e5, "step": 1.0},
    "centre_y_um": {"description": "Middle of the grid along y, µm.", "min": -1e5, "max": 1e5, "step": 1.0},
}
_DWELL = {"description": "Live time of each spectrum, s.", "min": 1e-4, "max": 3600.0, "step": 0.1}
_ERROR = {
    "description": "Accepted probability of a wrong phase, at which an acquisition ends; 0: the dwell is fixed.",
    "min": 0.0, "max": 0.4, "step": 0.001,
}  # fmt: skip
_BUDGET = {"description": "Dose that the run may give, nC; none: as in instrument.yml.", "min": 1e-6}
_NOTES = {"description": "Anything worth recording."}


def _described(description: str, **parameters: Mapping[str, Any]) -> Callable[..., Any]:
    """Describe a plan and its parameters, once for ``plan?`` at the prompt and for the queue server."""

    def decorate(plan: Callable[..., Any]) -> Callable[..., Any]:
        plan.__doc__ = _docstring(description, parameters)
        if parameter_annotation_decorator is None:
            return plan
        facts = {"description": description, "parameters": {name: dict(a) for name, a in parameters.items()}}
        return parameter_annotation_decorator(facts)(plan)  # type: ignore[no-any-return]

    return decorate


def _docstring(description: str, parameters: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [description, "", "Parameters", "----------"]
    for name, about in parameters.items():
        limits = [f"{about[key]:g}" if key in about else "" for key in ("min", "max")]
        within = f" ({limits[0]} … {limits[1]})" if any(limits) else ""
        lines += [name, f"    {about['description']}{within}"]
    return "\n".join(lines)


def queue_plans(session: SessionLike) -> QueuePlans:
    """Make the plans over a session.

    Parameters
    ----------
    session : SessionLike
        Its grid, fraction, seed and dwell are the defaults.

    Returns
    -------
    QueuePlans
    """
    grid, usual = session.grid, session.defaults
    (centre_y, centre_x), (n_rows, n_columns) = grid.centre_um, grid.shape
    step = float(grid.step_um[0])
    fraction_, seed_ = float(usual["fraction"]), int(usual["seed"])
    dwell_, error_ = float(usual["dwell_s"]), float(usual["error"])
    phases_ = str(usual["phases"])

    def aside(function: Callable[[], Any]) -> Plan:
        with ThreadPoolExecutor(1, thread_name_prefix="slads-prepare") as executor:
            return (yield from in_thread(executor, function))

    @_described(
        "Map a sample adaptively, until the wanted fraction of its pixels is measured.",
        sample=_SAMPLE,
        fraction={"description": "Part of the pixels to measure.", "min": 1e-4, "max": 1.0, "step": 0.01},
        **_GRID,
        dwell_s=_DWELL,
        error=_ERROR,
        budget_nc=_BUDGET,
        stop_at={
            "description": "Estimated distortion at which the map may end earlier.", "min": 1e-6, "max": 0.5,
        },
        confidence={
            "description": "Probability with which the distortion must not be above stop_at for that.",
            "min": 0.5, "max": 0.999,
        },
        smallest_feature={
            "description": "Pixels of the smallest patch of which 99 % must hold a measured pixel.",
            "min": 1, "max": 1_000_000, "step": 1,
        },
        minimise={
            "description": "What the sampler joint sets the fall of the error against: dose, time or both; none: as "
            "in instrument.yml.",
        },
        image={
            "description": "Image that guides the map: bse to scan a backscatter frame, or the file of a frame "
            "(.tif, .png, .npy); none: no image.",
        },
        image_pixel_um={
            "description": "Pixel of the frame in the file, µm; none: it shows the field of the map.",
            "min": 1e-5, "max": 1e3,
        },
        phases={
            "description": "known: those of the classifier; discover: found on the way, the dwell is fixed then.",
        },
        every_phase_over={
            "description": "Part of the area: a map whose phases are found may end once every phase over it is found "
            "with 95 %.",
            "min": 1e-4, "max": 0.5,
        },
        seed={"description": "Seed of the initial mask.", "min": 0, "max": 2**31, "step": 1},
        notes=_NOTES,
    )  # fmt: skip
    @checked
    def map_sample(
        sample: str,
        fraction: float = fraction_,
        rows: int = n_rows,
        columns: int = n_columns,
        step_um: float = step,
        centre_x_um: float = centre_x,
        centre_y_um: float = centre_y,
        dwell_s: float = dwell_,
        error: float = error_,
        budget_nc: float | None = None,
        stop_at: float | None = None,
        confidence: float | None = None,
        smallest_feature: int | None = None,
        minimise: str = "",
        image: str = "",
        image_pixel_um: float | None = None,
        phases: str = phases_,
        every_phase_over: float | None = None,
        seed: int = seed_,
        notes: str = "",
    ) -> Plan:
        """Map a sample adaptively, until the wanted fraction of its pixels is measured."""
        _named(sample)
        frame = yield from aside(
            lambda: session.map_image(image, shape=(rows, columns), step_um=step_um, pixel_um=image_pixel_um)
        )
        agent = yield from aside(
            lambda: session.make_agent(
                fraction, shape=(rows, columns), step_um=step_um, centre_um=(centre_y_um, centre_x_um),
                seed=seed, stop_at=stop_at, confidence=confidence, smallest_feature=smallest_feature,
                minimise=minimise or None,
                phases=phases, every_phase_over=every_phase_over,
            )
        )  # fmt: skip
        arguments = session.prepare_map(dwell_s=dwell_s, error=error, run_nc=budget_nc, phases=phases)
        md = _about(sample, notes, num_points=agent.n_wanted)
        return (
            yield from adaptive_map(
                session.beam, session.eds, agent, **arguments, **session.acquisition, md=md, image=frame
            )
        )  # fmt: skip

    @_described(
        "Resume a map that was cut off, as a new run that names its parent.",
        run={"description": "The run: its uid or the beginning of it, its scan_id, or -1 for the latest."},
        notes=_NOTES,
    )
    @checked
    def resume_map(run: str | int = "-1", notes: str = "") -> Plan:
        """Resume a map that was cut off, as a new run that names its parent."""
        agent, md, dose = yield from aside(lambda: session.resumed_agent(run))
        phases = "discover" if hasattr(agent, "detector_classifier") else "known"
        arguments = session.prepare_map(**dose, phases=phases)
        about = _about(md.pop("sample", ""), notes, **md, num_points=agent.n_wanted - agent.n_measured)
        return (
            yield from adaptive_map(
                session.beam, session.eds, agent, **arguments, **session.acquisition, md=about
            )
        )  # fmt: skip

    @_described(
        "Measure every pixel of a sample, row by row: what an adaptive map is compared with.",
        sample=_SAMPLE,
        **_GRID,
        dwell_s=_DWELL,
        error=_ERROR,
        budget_nc=_BUDGET,
        notes=_NOTES,
    )
    @checked
    def raster_map(
        sample: str,
        rows: int = n_rows,
        columns: int = n_columns,
        step_um: float = step,
        centre_x_um: float = centre_x,
        centre_y_um: float = centre_y,
        dwell_s: float = dwell_,
        error: float = error_,
        budget_nc: float | None = None,
        notes: str = "",
    ) -> Plan:
        """Measure every pixel of a sample, row by row: what an adaptive map is compared with."""
        _named(sample)
        wanted = session.make_grid(
            shape=(rows, columns), step_um=step_um, centre_um=(centre_y_um, centre_x_um)
        )
        arguments = session.prepare_map(dwell_s=dwell_s, error=error, run_nc=budget_nc, phases="known")
        return (
            yield from raster.raster_map(
                session.beam, session.eds, wanted, **arguments, md=_about(sample, notes)
            )
        )

    @_described(
        "Take spectra of one phase, to train a classifier on.",
        phase={"description": "Name of the phase."},
        positions={
            "description": "Places [x, y] in µm known to be of the phase; none: where the beam stands.",
            "min": -1e5, "max": 1e5,
        },
        spectra={"description": "Spectra altogether.", "min": 1, "max": 10000, "step": 1},
        spread_um={
            "description": "Radius around each place in which the spots lie, µm.", "min": 0.0, "max": 1e3,
        },
        dwell_s=_DWELL,
        budget_nc=_BUDGET,
        sample=_SAMPLE,
        notes=_NOTES,
    )  # fmt: skip
    @checked
    def collect_spectra(
        phase: str,
        positions: list[tuple[float, float]] | None = None,
        spectra: int = 24,
        spread_um: float = 0.0,
        dwell_s: float = dwell_,
        budget_nc: float | None = None,
        sample: str = "",
        notes: str = "",
    ) -> Plan:
        """Take spectra of one phase, to train a classifier on."""
        arguments = session.prepare_map(dwell_s=dwell_s, run_nc=budget_nc, phases="known")
        return (
            yield from collect_phase(
                session.beam, session.eds, phase, positions, n=spectra, spread_um=spread_um,
                **arguments, md=_about(sample, notes),
            )
        )  # fmt: skip

    return QueuePlans(map_sample, resume_map, raster_map, collect_spectra)


def _named(sample: str) -> None:
    if not sample.strip():
        raise ConfigError("a sample needs a name")


def _about(sample: str, notes: str, **more: Any) -> dict[str, Any]:
    said = {"sample": sample, "notes": notes, **more}
    return {key: value for key, value in said.items() if value not in ("", None)}
