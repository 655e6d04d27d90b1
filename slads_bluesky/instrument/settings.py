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
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class DeviceSettings(_Section):
    """One device: its class and where it is."""

    class_: Annotated[ClassName, Field(alias="class")]
    """A name in `slads_bluesky.devices`, or ``package.module:Class``."""
    prefix: Word
    """Of its PVs; of a vendor's interface, whatever the class takes as its first argument."""
    options: dict[str, Any] = {}
    """More arguments of the class."""


class DevicesSettings(_Section):
    """What a map moves, acquires with and reads."""

    beam: DeviceSettings = DeviceSettings.model_validate({"class": "SEMBeam", "prefix": "SEM:Beam:"})
    eds: DeviceSettings = DeviceSettings.model_validate({"class": "EDSDetector", "prefix": "SEM:EDS:mca1"})
    sem: DeviceSettings | None = DeviceSettings.model_validate({"class": "Microscope", "prefix": "SEM:Beam:"})
    """Its settings become the baseline; None for a microscope that does not give them."""


class SimulationSettings(_Section):
    """The specimen of the modes ``soft`` and ``ioc``."""

    object: Word = "pbsn-64"
    seed: Annotated[Whole, Field(ge=0)] = 0
    prefix: Word = "SEM:"
    time_scale: Annotated[Number, Field(ge=0)] = 0.0


class GridSettings(_Section):
    """The region that is mapped unless a plan says otherwise; (y, x) throughout."""

    shape: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None = None
    size_um: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    step_um: Positive | Annotated[list[Positive], Field(min_length=2, max_length=2)] = 1.0
    centre_um: Annotated[list[Number], Field(min_length=2, max_length=2)] = [0.0, 0.0]

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

    name: Literal["slads", "learned", "random", "low-discrepancy"] = "learned"
    model: Path | None = None
    fraction: Annotated[Number, Field(gt=0, le=1)] = 0.15
    initial: Annotated[Number, Field(gt=0, lt=1)] | None = None
    stop_at: Annotated[Number, Field(gt=0, lt=1)] | None = None
    confidence: Annotated[Number, Field(gt=0, lt=1)] | None = None
    seed: Annotated[Whole, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _confident_of_something(self) -> SamplerSettings:
        if self.confidence is not None and self.stop_at is None:
            raise ValueError("confidence says nothing without stop_at")
        return self


class ClassifierSettings(_Section):
    """What says which phase a spectrum is of."""

    file: Path | None = None
    train: Literal["paper", "likelihood"] | None = None


class DoseSettings(_Section):
    """What the specimen is given, and what it may take."""

    dwell_s: Annotated[Positive, Field(le=3600)] = 10.0
    error: Annotated[Number, Field(ge=0, lt=0.5)] = 0.0
    run_nc: Positive | None = None
    pixel_nc: Positive | None = None
    minimum_na: Positive | None = None
    max_failed_points: Annotated[Whole, Field(ge=0)] = 10


class CatalogSettings(_Section):
    """Where runs are recorded."""

    directory: Path | None = None
    uri: Word | None = None
    fsync: bool = False


class DisplaySettings(_Section):
    """What a session shows while a plan runs; headless workers show nothing."""

    table: bool = False
    progress: bool = True
    live: bool = True


class InstrumentSettings(_Section):
    """All of ``instrument.yml``."""

    mode: Literal["soft", "ioc", "hardware"]
    devices: DevicesSettings = DevicesSettings()
    simulation: SimulationSettings = SimulationSettings()
    grid: GridSettings
    sampler: SamplerSettings = SamplerSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    dose: DoseSettings = DoseSettings()
    catalog: CatalogSettings = CatalogSettings()
    publishers: list[Publisher] = []
    """See `slads_bluesky.callbacks.publish.make_publisher`."""
    display: DisplaySettings = DisplaySettings()


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
