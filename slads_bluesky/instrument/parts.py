"""The parts of a session, each made from its section of ``instrument.yml``: devices, models, catalog.

Every error names the part, and the line of the file that has to do with it.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError, InstrumentError, SladsError, in_one_line
from ..protocols import Classifier
from ..simulation.models import prepare_models
from .settings import DeviceSettings, InstrumentSettings
from .yamlfile import YamlFile

__all__ = ["Devices", "MapModels", "connect_devices", "make_devices", "make_models", "start_microscope"]

CONNECTION_S = 15.0
"""How long the PVs of each device may take to answer when a session starts: the machine is busy then."""

UNTRAINED = ("random", "low-discrepancy")
"""Samplers without a model."""


@dataclass(frozen=True)
class Devices:
    """What a map moves and reads."""

    beam: Any
    eds: Any
    sem: Any
    scan: Any = None
    """Scan generator and mapping mode; None where points are visited one by one, or in this process."""
    mapping: Any = None
    flyer: Any = None
    """Visits lists of points; None where points are visited one by one."""
    bse: Any = None
    """Scans backscatter frames; None where there is none."""


@dataclass(frozen=True)
class MapModels:
    """What a map decides by."""

    sampler: Any
    """Model of the sampler; None if it needs none."""
    classifier: Classifier | None
    """None before there is one: spectra can be collected then, but nothing mapped."""


def make_models(settings: InstrumentSettings, file: YamlFile) -> MapModels:
    """Load the models, or train those that were never trained on the simulated specimen's kind.

    Raises
    ------
    ConfigError
        Naming the line, if a model file is missing or foreign, or one is needed and not named.
    """
    from ..sampling.factory import load_model
    from ..spectra import load_classifier

    wanted, simulated = settings.sampler, settings.mode != "hardware"
    judge = settings.classifier
    model: Any = None
    classifier: Classifier | None = None
    if judge.file is not None and judge.train is not None:
        raise ConfigError(f"{file.at('classifier', 'train')}: either a file or train, not both")
    if judge.train is not None and not simulated:
        raise ConfigError(
            f"{file.at('classifier', 'train')}: a classifier is trained on simulated spectra in the modes soft and "
            "ioc only; on hardware name its file (collect_spectra and `slads-bluesky train classifier` make one)"
        )
    if wanted.model is not None:
        try:
            model = load_model(wanted.name, wanted.model)
        except SladsError as error:
            raise ConfigError(f"{file.at('sampler', 'model')}: {error}") from error
    elif wanted.name == "slads" and not simulated:
        raise ConfigError(
            f"{file.at('sampler', 'name')}: slads needs a model of images like your specimen's: name its file as "
            "sampler.model (`slads-bluesky train sampler` makes one), or take the sampler learned"
        )
    if judge.file is not None:
        try:
            classifier = load_classifier(judge.file)
        except SladsError as error:
            raise ConfigError(f"{file.at('classifier', 'file')}: {error}") from error
    unasked = judge.phases == "discover"  # no phases are to be known
    given = wanted.name in UNTRAINED or (unasked and wanted.name == "learned")
    if simulated and ((model is None and not given) or (classifier is None and not unasked)):
        prepared = prepare_models(
            settings.simulation.object,
            sampler=wanted.name if wanted.name in ("learned", "joint") else "slads",
            classifier=judge.train or "likelihood",
        )
        if model is None and wanted.name not in UNTRAINED:
            model = prepared.sampler
        classifier = classifier or (None if unasked else prepared.classifier)
    elif model is None and wanted.name == "learned":
        from ..sampling.learned.model import shipped_model

        model = shipped_model()
    elif model is None and wanted.name == "joint":
        from ..sampling.joint.model import shipped_joint_model

        model = shipped_joint_model()
    _check_error(settings, file, classifier)
    return MapModels(model, classifier)


def _check_error(settings: InstrumentSettings, file: YamlFile, classifier: Classifier | None) -> None:
    from ..spectra.dwell import adaptive_dwell

    try:
        adaptive_dwell(classifier, settings.dose.error, cap_s=1.0)
    except ConfigError as error:
        raise ConfigError(f"{file.at('dose', 'error')}: {error}") from None


def start_microscope(settings: InstrumentSettings) -> Any:
    """Start the simulated microscope of the mode ``ioc`` in a process of its own; it must be stopped.

    Raises
    ------
    InstrumentError
        If it does not start.
    """
    from ..devices.sim.process import SimulatedMicroscope

    about = settings.simulation
    microscope = SimulatedMicroscope(
        about.object, seed=about.seed, prefix=about.prefix, time_scale=about.time_scale
    )
    microscope.start()
    return microscope


def make_devices(settings: InstrumentSettings, file: YamlFile) -> Devices:
    """Make the devices; they begin to look for their PVs. The detector has no classifier yet.

    In the mode ``ioc`` the simulated microscope must be there already.

    Raises
    ------
    ConfigError
        Naming the line, if there is no such class or it does not take the options.
    """
    if settings.mode == "soft":
        from ..devices.sim.soft import SoftBSE, soft_microscope
        from ..phantom import make_object

        about = settings.simulation
        soft = Devices(*soft_microscope(make_object(about.object, about.seed)))
        soft = replace(soft, bse=SoftBSE("bse", soft.beam.sem))
        if settings.acquisition == "point":
            return soft
        from ..devices.flyer import SparseFlyer
        from ..devices.sim.softlist import SoftListEngine

        engine = SoftListEngine(
            soft.beam.sem,
            pixels_per_buffer=settings.lists.pixels_per_buffer,
            time_scale=about.time_scale,
        )
        return replace(soft, flyer=SparseFlyer(engine, soft.eds, soft.beam))
    wanted = settings.devices
    beam = _make("beam", wanted.beam, file)
    eds = _make("eds", wanted.eds, file, beam=beam)
    sem = None if wanted.sem is None else _make("sem", wanted.sem, file)
    bse = None if wanted.bse is None else _make("bse", wanted.bse, file)
    if bse is not None and getattr(bse, "beam", beam) is None:
        bse.beam = beam  # a vendor's class need not know of one
    if settings.acquisition == "point":
        return Devices(beam, eds, sem, bse=bse)
    from ..devices.flyer import SparseFlyer
    from ..devices.listscan import EpicsListEngine

    scan, mapping = _make("scan", wanted.scan, file), _make("mapping", wanted.mapping, file)
    lists = EpicsListEngine(scan, mapping, eds, beam, pixels_per_buffer=settings.lists.pixels_per_buffer)
    return Devices(beam, eds, sem, scan, mapping, SparseFlyer(lists, eds, beam), bse)


def connect_devices(settings: InstrumentSettings, file: YamlFile, devices: Devices) -> None:
    """Wait until the devices answer.

    Raises
    ------
    InstrumentError
        Naming the line, the device and every PV that does not answer.
    """
    from ..devices.connect import connect

    if settings.mode == "soft":
        return
    silent: list[str] = []
    for name, device in vars(devices).items():
        if not hasattr(device, "walk_signals"):  # a vendor's interface: no PVs to wait for
            continue
        try:
            connect(
                device, 0.1 if silent else CONNECTION_S
            )  # one was waited for: the others had that time too
            if hasattr(device, "check_units"):
                device.check_units()
        except InstrumentError as error:
            silent.append(f"{file.at('devices', name, 'prefix')}: {error}")
    if silent:
        raise InstrumentError("\n    ".join(silent))


def _make(name: str, about: DeviceSettings, file: YamlFile, **parts: Any) -> Any:
    module, _, class_name = about.class_.rpartition(":")
    try:
        kind = getattr(importlib.import_module(module or "slads_bluesky.devices"), class_name)
    except (ImportError, AttributeError) as error:
        known = ", ".join(importlib.import_module("slads_bluesky.devices").__all__)
        raise ConfigError(
            f"{file.at('devices', name, 'class')}: found {about.class_} ({error}); "
            f"allowed: {known}, or package.module:Class"
        ) from None
    where = file.at("devices", name, "class")
    _check_ours(name, kind, where)
    if about.pvs:
        from ..devices.pvnames import with_pv_names

        names = {
            name: pv if isinstance(pv, str) else {"read": pv.read, "write": pv.write}
            for name, pv in about.pvs.items()
        }
        try:
            kind = with_pv_names(kind, names)
        except ConfigError as error:
            raise ConfigError(f"{file.at('devices', name, 'pvs')}: {error}") from None
    try:
        device = kind(about.prefix, name=name, **parts, **about.options)
    except (TypeError, ConfigError) as error:
        allowed = ", ".join(_options(kind)) or "none"
        text = f"{in_one_line('', error)}; allowed: {allowed}" if isinstance(error, TypeError) else str(error)
        raise ConfigError(f"{file.at('devices', name, 'options')}: {text}") from None
    lacking = [attribute for attribute in _NEEDED[name] if not hasattr(device, attribute)]
    if lacking:
        raise ConfigError(
            f"{where}: a {type(device).__name__} cannot be the {name}: it has no {', '.join(lacking)}; "
            f"one of ours: {_ROLES[name]}"
        )
    return device


_ROLES = {
    "beam": "SEMBeam",
    "eds": "EDSDetector",
    "sem": "Microscope",
    "bse": "BSEDetector",
    "scan": "PointListScan",
    "mapping": "MappingEDS",
}
"""Class of `slads_bluesky.devices` for each role."""
_NEEDED = {
    "beam": ("set", "blanker", "read", "describe"),
    "eds": ("trigger", "configure", "read", "describe"),
    "sem": ("read", "describe"),
    "bse": ("trigger", "configure", "read", "describe"),
    "scan": ("load", "launch", "abort", "settling"),
    "mapping": ("read", "describe"),
}
"""What plans use of each role; see `protocols.Beam` and `protocols.Detector`."""


def _check_ours(name: str, kind: Any, where: str) -> None:
    """Refuse one of our classes in a role of another; each has the attributes that any ophyd device has."""
    from .. import devices

    for role, ours in _ROLES.items():
        if role != name and kind is getattr(devices, ours):
            raise ConfigError(
                f"{where}: {ours} is the class of devices.{role}; devices.{name} needs {_ROLES[name]}"
            )


def _options(kind: Any) -> list[str]:
    """Options of a class: its keyword arguments without prefix, name, parts, and those of every ophyd device."""
    found: dict[str, None] = {}
    for base in getattr(kind, "__mro__", ()):
        if base.__module__.partition(".")[0] in ("ophyd", "bluesky", "builtins"):
            continue
        init = base.__dict__.get("__init__")
        if init is not None:
            named = inspect.signature(init).parameters.values()
            found.update((p.name, None) for p in named if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))
    return [name for name in found if name not in ("self", "prefix", "name", "beam", "classifier", "parent")]
