"""What ``instrument.yml`` may say: one class a section, each field with its limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..errors import ConfigError
from ..grid import ScanGrid
from .yamlfile import YamlFile, validated

__all__ = ["InstrumentSettings", "read_settings"]


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number, not yes or no")
    return value


Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Whole = Annotated[int, BeforeValidator(_no_bool)]


def _like(pattern: str, words: str) -> AfterValidator:
    """A text of a pattern that is described in words."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(words)
        return text

    return AfterValidator(check)


Word = Annotated[str, _like(r"\S+", "a word without spaces")]
ClassName = Annotated[
    str, _like(r"([A-Za-z_]\w*(\.\w+)*:)?[A-Za-z_]\w*", "the name of a class, or package.module:Class")
]


def _symbol(text: str) -> str:
    from ..spectra.physics.composition import is_symbol

    if not is_symbol(text):
        raise ValueError("the symbol of an element, such as Fe")
    return text


Symbol = Annotated[str, AfterValidator(_symbol)]


def _publisher(where: str) -> str:
    if re.fullmatch(r"kafka://[^\s/]+:\d{1,5}/\S+", where) is None:
        from ..callbacks.publish.zmq import proxy_address

        try:
            proxy_address(where)
        except ConfigError:
            raise ValueError("host:port, tcp://host:port, ipc://path or kafka://host:port/topic") from None
    return where


Publisher = Annotated[str, AfterValidator(_publisher)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=False, use_attribute_docstrings=True
    )


class PvPair(_Section):
    """The PVs of a signal that is written to another PV than it is read from."""

    read: Word
    """PV of the readback."""
    write: Word
    """PV of the setpoint."""


class DeviceSettings(_Section):
    """One device: its class and where it is."""

    class_: Annotated[ClassName, Field(alias="class")]
    """A name in `slads_bluesky.devices`, or ``package.module:Class``."""
    prefix: Word
    """Of its PVs; of a vendor's interface, whatever the class takes as its first argument."""
    pvs: dict[str, Word | PvPair] = {}
    """Whole names of PVs that are not prefix and suffix, by signal, such as ``x`` or ``blanker.setpoint``."""
    options: dict[str, Any] = {}
    """More arguments of the class."""


class DevicesSettings(_Section):
    """What a map moves, acquires with and reads."""

    beam: DeviceSettings = DeviceSettings.model_validate({"class": "SEMBeam", "prefix": "SEM:Beam:"})
    """Moves and blanks the beam."""
    eds: DeviceSettings = DeviceSettings.model_validate({"class": "EDSDetector", "prefix": "SEM:EDS:mca1"})
    """Acquires and classifies spectra."""
    sem: DeviceSettings | None = DeviceSettings.model_validate({"class": "Microscope", "prefix": "SEM:Beam:"})
    """Its settings become the baseline; empty for a microscope that publishes none."""
    bse: DeviceSettings | None = None
    """Scans backscatter frames, by which maps are guided that ask for an image; empty where there is none."""
    scan: DeviceSettings = DeviceSettings.model_validate({"class": "PointListScan", "prefix": "SEM:Scan:"})
    """Visits lists of points; only looked for with ``acquisition: list``."""
    mapping: DeviceSettings = DeviceSettings.model_validate({"class": "MappingEDS", "prefix": "SEM:EDS:Map:"})
    """The detector's mapping mode; only looked for with ``acquisition: list``."""


class SimulationSettings(_Section):
    """The specimen of the modes ``soft`` and ``ioc``."""

    object: Word = "pbsn-64"
    """Name of a simulated object: ``pbsn-`` or ``powder-`` and its side in pixels of 1 µm."""
    seed: Annotated[Whole, Field(ge=0)] = 0
    """Random seed of the object."""
    prefix: Word = "SEM:"
    """Prefix of the PVs that the mode ``ioc`` serves."""
    time_scale: Annotated[Number, Field(ge=0)] = 0.0
    """Wall time per simulated time: 0 ends an acquisition at once, 1 is real time."""


class GridSettings(_Section):
    """The region that is mapped unless a plan says otherwise; (y, x) throughout."""

    shape: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None = None
    """Rows and columns; either this or ``size_um``."""
    size_um: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    """Height and width in µm; either this or ``shape``."""
    step_um: Positive | Annotated[list[Positive], Field(min_length=2, max_length=2)] = 1.0
    """Distance between pixels in µm: one number, or along y and along x."""
    centre_um: Annotated[list[Number], Field(min_length=2, max_length=2)] = [0.0, 0.0]
    """Position of the middle of the grid in µm."""

    @model_validator(mode="after")
    def _one_size(self) -> GridSettings:
        if (self.shape is None) == (self.size_um is None):
            raise ValueError("either shape (pixels) or size_um (µm)")
        self.grid()
        return self

    def grid(self) -> ScanGrid:
        """Return the grid; ConfigError if it cannot be."""
        step = (self.step_um, self.step_um) if isinstance(self.step_um, float) else tuple(self.step_um)
        if self.shape is not None:
            shape = (self.shape[0], self.shape[1])
        else:
            assert self.size_um is not None
            shape = (round(self.size_um[0] / step[0]), round(self.size_um[1] / step[1]))
        return ScanGrid(shape, (step[0], step[1]), (self.centre_um[0], self.centre_um[1]))


class SamplerSettings(_Section):
    """What decides where to measure."""

    name: Literal["slads", "learned", "joint", "random", "low-discrepancy"] = "learned"
    """The sampler: ``learned`` brings a model of its own, and so does ``joint``, which plans the dose of each visit;
    ``slads`` is the paper's, the others are for comparison."""
    model: Path | None = None
    """File of a trained model; empty: the sampler's own, or in soft and ioc one that is trained."""
    fraction: Annotated[Number, Field(gt=0, le=1)] = 0.15
    """Part of the pixels to measure."""
    initial: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Part of the pixels in the initial mask; empty: the sampler's own."""
    stop_at: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Total distortion, as estimated, at which a map may end before the fraction; empty: never."""
    confidence: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Probability with which the distortion is at most ``stop_at`` before the map ends; empty: the plain stop
    rule."""
    smallest_feature: Annotated[Whole, Field(ge=1)] | None = None
    """Pixels of the smallest patch of which 99 % must hold a measured pixel before a stop rule ends the map; empty:
    none."""
    seed: Annotated[Whole, Field(ge=0)] = 0
    """Random seed of the initial mask."""
    interaction_um: Annotated[Number, Field(gt=0)] | None = None
    """Standard deviation of the volume that X-rays come from, µm (``phantom.interaction`` computes it): spectra at
    boundaries are read as mixtures and say where the boundary is; points only; empty: boundaries are sharp."""
    target: Literal["labels", "elements"] = "labels"
    """What pixels are chosen for: the map of the phases, or the maps of ``elements``, whose expected error falls
    most."""
    elements: list[Symbol] = []
    """The elements of that target."""
    minimise: Literal["dose", "time", "both"] | None = None
    """Of ``joint``: what the fall of the error is set against; empty: dose."""
    overhead_s: Annotated[Number, Field(ge=0)] | None = None
    """Of ``joint``, for time and both: time of a visit besides its dwell, s; empty: what points or lists usually
    take."""

    @model_validator(mode="after")
    def _elements_of_a_target(self) -> SamplerSettings:
        if (self.target == "elements") != bool(self.elements):
            raise ValueError("target: elements and the list of elements belong together")
        if self.target == "elements" and self.name != "learned":
            raise ValueError(f"target: elements takes the sampler learned, not {self.name}")
        return self

    @model_validator(mode="after")
    def _confident_of_something(self) -> SamplerSettings:
        if self.confidence is not None and self.stop_at is None:
            raise ValueError("confidence says nothing without stop_at")
        if self.name != "joint" and not (self.minimise is None and self.overhead_s is None):
            raise ValueError("minimise and overhead_s are of the sampler joint")
        if self.interaction_um is not None and (
            self.name not in ("learned", "slads") or self.target != "labels"
        ):
            raise ValueError("interaction_um takes the sampler learned or slads, and target: labels")
        return self


class ClassifierSettings(_Section):
    """What says which phase a spectrum is of."""

    file: Path | None = None
    """File of ``slads-bluesky train classifier``; empty on hardware: spectra can be collected, nothing mapped."""
    train: Literal["paper", "likelihood"] | None = None
    """Which classifier is trained on simulated spectra, in soft and ioc, where there is no file."""
    phases: Literal["auto", "known", "discover"] = "auto"
    """``discover``: maps need no phases, they are found on the way; ``known``: those of the classifier; ``auto``:
    those of the classifier where there is a file or one is trained, else they are found."""
    most_phases: Annotated[Whole, Field(ge=1, le=63)] = 12
    """Phases that are looked for at most."""
    counts: Annotated[Whole, Field(ge=1)] | None = None
    """Counts at which an acquisition of a map that finds its phases ends; empty: the dwell is fixed."""
    first_counts: Annotated[Whole, Field(ge=1)] | None = None
    """Counts of its first exposures, so that phases can be parted; empty: four times ``counts``."""
    every_phase_over: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Part of the area: a map whose phases are found may end once every phase over it is found with 95 %; empty: it
    ends with the fraction."""


class DoseSettings(_Section):
    """What the specimen is given, and what it may take."""

    dwell_s: Annotated[Positive, Field(le=3600)] = 10.0
    """Live time of each spectrum in s; with ``error``, the longest."""
    error: Annotated[Number, Field(ge=0, lt=0.5)] = 0.0
    """Adaptive dwell: an acquisition ends once a wrong phase is less probable than this; 0: the dwell is fixed."""
    run_nc: Positive | None = None
    """Dose in nC that a run may give; empty: no limit."""
    pixel_nc: Positive | None = None
    """Dose in nC that a pixel may get; empty: no limit."""
    minimum_na: Positive | None = None
    """Beam current in nA below which a map waits; empty: it never waits. Not used in the mode soft."""
    max_failed_points: Annotated[Whole, Field(ge=0)] = 10
    """Number of failed points that a run tolerates; one more ends it."""


class ListsSettings(_Section):
    """Lists of points, with ``acquisition: list``."""

    batch: Literal["auto", "pace"] | Whole | Number = "auto"
    """Points of a list: a number, a part of the pixels under 1, ``auto``: grows with what is known, or ``pace``: the
    same, but long enough that the hardware does not wait for decisions."""
    quantum_s: Positive = 1e-3
    """Real time of a pixel's first pass in s, where ``dose.error`` lets the dwell follow the spectrum."""
    pixels_per_buffer: Annotated[Whole, Field(ge=1, le=64)] = 32
    """Pixels that the X-ray processor hands over at once."""

    @model_validator(mode="after")
    def _batch(self) -> ListsSettings:
        from ..plans.batches import batch_size

        try:
            batch_size(self.batch)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


class CatalogSettings(_Section):
    """Where runs are recorded."""

    directory: Path | None = None
    """Folder of the record; empty: the user's own."""
    uri: Word | None = None
    """URI or profile of a Tiled server that takes the runs in place of the embedded catalog."""
    fsync: bool = False
    """Whether to wait for the disk after every document."""


class DisplaySettings(_Section):
    """What a session shows while a plan runs; headless workers show nothing."""

    table: bool = False
    """A line for each point."""
    progress: bool = True
    """A progress bar."""
    live: bool = True
    """A window that shows the map as it grows, where there is a display."""
    elements: Annotated[list[Symbol], Field(max_length=4)] = []
    """Up to four elements, of which the window shows a preview."""


class InstrumentSettings(_Section):
    """All of ``instrument.yml``."""

    mode: Literal["soft", "ioc", "hardware"]
    """``soft``: devices in this process over a simulated specimen; ``ioc``: starts the simulated microscope as an
    EPICS IOC; ``hardware``: the microscope behind the PVs."""
    acquisition: Literal["point", "list"] = "point"
    """``point``: one acquisition after the other; ``list``: lists of points at the pace of scan generator and X-ray
    processor."""
    lists: ListsSettings = ListsSettings()
    devices: DevicesSettings = DevicesSettings()
    simulation: SimulationSettings = SimulationSettings()
    grid: GridSettings
    sampler: SamplerSettings = SamplerSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    dose: DoseSettings = DoseSettings()
    catalog: CatalogSettings = CatalogSettings()
    publishers: list[Publisher] = []
    """Where every document is sent, a line each: ``host:port`` of a 0MQ proxy, or ``kafka://host:port/topic``."""
    display: DisplaySettings = DisplaySettings()

    @model_validator(mode="after")
    def _mixtures_point_by_point(self) -> InstrumentSettings:
        if self.acquisition == "list" and self.sampler.interaction_um is not None:
            raise ValueError("sampler.interaction_um takes acquisition: point; lists read no mixtures")
        return self


def read_settings(path: str | Path) -> tuple[InstrumentSettings, YamlFile]:
    """Read ``instrument.yml``.

    Parameters
    ----------
    path : path

    Returns
    -------
    InstrumentSettings, YamlFile
        What it says, and where it says it. Paths in it are absolute: those that are not begin at the file.

    Raises
    ------
    ConfigError
        Naming every wrong field with its line, what was found and what is allowed.
    """
    file = YamlFile(Path(path).expanduser().absolute())
    if not isinstance(file.data, dict):
        raise ConfigError(f"{file.path}, line 1: sections such as 'mode: soft' expected, not {file.data!r}")
    settings = validated(file, InstrumentSettings)
    here = file.path.parent

    def absolute(section: Any, field: str) -> Any:
        value = getattr(section, field)
        return section if value is None else section.model_copy(
            update={field: here / value.expanduser()}
        )  # fmt: skip

    return (
        settings.model_copy(
            update={
                "sampler": absolute(settings.sampler, "model"),
                "classifier": absolute(settings.classifier, "file"),
                "catalog": absolute(settings.catalog, "directory"),
            }
        ),
        file,
    )
