"""Pre-flight check: what would prevent a map, found before the specimen is in, each with a hint how to fix it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InstrumentError, ModelFileError, SladsError
from ..protocols import Classifier

__all__ = [
    "CheckResult",
    "all_passed",
    "check_classifier_file",
    "check_detector",
    "check_devices",
    "check_proxy",
    "check_record",
    "check_settings",
    "check_versions",
]

LEAST_FREE_GB = 2.0
"""A map of 1024² pixels at 5 % takes about 0.5 GB in the journal and as much in the catalog."""


@dataclass(frozen=True)
class CheckResult:
    """Result of one pre-flight check."""

    name: str
    """What was checked."""
    passed: bool
    message: str
    """What was found."""
    hint: str = ""
    """How to fix it; empty if the check passed."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, under the names of the fields."""
        return {**asdict(self), "passed": bool(self.passed)}  # a comparison of arrays gives numpy's own


def check_versions(package: str = "slads-bluesky") -> list[CheckResult]:
    """Compare Python and the installed packages with what a package asks for, its extras left out."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    about = metadata.metadata(package)
    python = ".".join(str(n) for n in sys.version_info[:3])
    wanted = str(about["Requires-Python"]) if "Requires-Python" in about else ""
    results = []
    if python not in SpecifierSet(wanted):
        results.append(
            CheckResult(
                "Python", False, f"{python}, {wanted} is needed", "make a virtual environment with it"
            )
        )
    n = 0
    for line in metadata.requires(package) or []:
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        n += 1
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            found = ""
        if not found or not need.specifier.contains(found, prereleases=True):
            results.append(
                CheckResult(
                    need.name, False, f"{found or 'is missing'}, {need.specifier or 'any version'} is needed",
                    f"pip install -c constraints.txt '{need}'",
                )
            )  # fmt: skip
    if not results:
        message = f"Python {python}; the {n} packages that {package} {about['Version']} needs are there"
        results.append(CheckResult("versions", True, message))
    return results


def check_record(directory: Path) -> list[CheckResult]:
    """Check that a record can be written and read: journal, room on its disk, catalog.

    Parameters
    ----------
    directory : Path
        Of the record; one that does not exist is all right where it can be made.
    """
    from ..record.location import catalog_directory, journal_directory

    journal = journal_directory(directory)
    writable = _writable(journal)
    results = [writable]
    if not writable.passed:
        return results
    free = shutil.disk_usage(_existing(directory)).free / 1e9
    room = free >= LEAST_FREE_GB
    results.append(
        CheckResult(
            "disk", room, f"{free:.1f} GB free", "" if room else "make room, or record elsewhere (--catalog)"
        )
    )
    if journal.is_dir():
        results += _journals(directory)
    if catalog_directory(directory).is_dir():
        results.append(_catalog(directory))
    return results


def check_tiled(where: str) -> list[CheckResult]:
    """Check a Tiled server, by its address or a profile: specs, media types, storage."""
    from ..record.catalog.server_check import check_server

    return [CheckResult(*result) for result in check_server(where)]


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _writable(journal: Path) -> CheckResult:
    place = _existing(journal)
    hint = f"let {place} be writable for you, or record elsewhere (--catalog)"
    if not place.is_dir():
        return CheckResult(
            "journal", False, f"{place} is a file, not a folder", "move it away, or record elsewhere"
        )
    began = time.perf_counter()
    try:  # permissions alone do not show it: nobody can write to /proc
        if place != journal:
            tempfile.TemporaryDirectory(dir=place, prefix=".doctor-").cleanup()
            return CheckResult("journal", True, f"{journal} will be made by the first run")
        with tempfile.NamedTemporaryFile(dir=journal, prefix=".doctor-") as file:
            file.write(bytes(8192))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return CheckResult("journal", False, f"{place} cannot be written: {error.strerror}", hint)
    took = (time.perf_counter() - began) * 1e3
    return CheckResult("journal", True, f"{journal} takes a spectrum, safely on the disk in {took:.1f} ms")


def _journals(directory: Path) -> list[CheckResult]:
    from ..record.journal.writing import is_being_taken
    from ..record.runs import list_runs

    broken: list[str] = []
    runs = list_runs(directory, broken.append)
    results = [
        CheckResult(
            "journal", False, text, "move the file out of the journal's folder; no other run is harmed"
        )
        for text in broken
    ]
    interrupted = [run for run in runs if run.stop is None and not is_being_taken(run.source)]
    message = f"{_runs(len(runs))} can be read"
    if interrupted:
        message += (
            f"; {len(interrupted)} were interrupted and can be resumed, such as {interrupted[-1].uid[:8]}"
        )
    results += [
        CheckResult(
            "catalog",
            False,
            f"run {run.uid[:8]} is in the journal only: {run.left_out}",
            "show, export and report read it from the journal; no other run is harmed",
        )
        for run in runs
        if run.left_out
    ]
    return [*results, CheckResult("runs", True, message)]


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"


def _catalog(directory: Path) -> CheckResult:
    from ..record.catalog.store import borrowed_catalog
    from ..record.location import catalog_directory
    from ..record.runs import list_runs

    folder = catalog_directory(directory)
    rebuild = f"move {folder} away: it is rebuilt from the journal"
    try:
        with sqlite3.connect(folder / "catalog.db", timeout=2) as database:
            database.execute("BEGIN IMMEDIATE")  # as a writer would, and nothing is written
            database.rollback()
        database.close()
        with borrowed_catalog(directory, create=False, catch_up=False) as catalog:
            try:
                held = set(catalog)
            except Exception as error:  # whatever tiled or its database says
                return CheckResult("catalog", False, f"{folder} cannot be read: {error}", rebuild)
    except sqlite3.Error as error:
        return CheckResult("catalog", False, f"{folder}/catalog.db: {error}", rebuild)
    except SladsError as error:
        return CheckResult("catalog", False, str(error), rebuild)
    missing = sum(run.uid not in held for run in list_runs(directory, lambda _: None))
    more = f"; {missing} more are in the journal only and follow when it is next opened" if missing else ""
    return CheckResult("catalog", True, f"{folder} can be written and read, {_runs(len(held))}{more}")


def check_devices(beam: Any, eds: Any, sem: Any, timeout_s: float) -> list[CheckResult]:
    """Check that all PVs of the instrument answer, and that beam and detector are fit to begin.

    Parameters
    ----------
    beam, eds, sem : SEMBeam, EDSDetector, Microscope
    timeout_s : float
        For all of them together.
    """
    from ..devices.connect import connect

    limit = time.monotonic() + timeout_s
    results, there = [], []
    for device in (beam, eds, sem):
        n = sum(1 for _ in device.walk_signals())
        try:
            connect(device, max(0.1, limit - time.monotonic()))
        except InstrumentError as error:
            results.append(CheckResult(device.name, False, str(error), _where_ca_looks(device.prefix)))
        else:
            there.append(device)
            results.append(CheckResult(device.name, True, f"all {n} signals under {device.prefix} answer"))
    for device in there:
        if hasattr(device, "check_units"):
            results += _check_units(device)
    if beam in there:
        results += [*_beam_checks(beam), _check_watchdog(beam)]
    return results


def _check_watchdog(beam: Any) -> CheckResult:
    from ..devices.guard import watchdog_report

    return CheckResult("watchdog", True, *watchdog_report(beam))


def _check_units(device: Any) -> list[CheckResult]:
    try:
        device.check_units()
    except InstrumentError as error:
        return [
            CheckResult(
                "units", False, str(error), "give the PV the unit that is named (EGU), or scale it in the IOC"
            )
        ]
    return []


def _where_ca_looks(prefix: str) -> str:
    looked = os.environ.get("EPICS_CA_ADDR_LIST", "").strip()
    automatic = os.environ.get("EPICS_CA_AUTO_ADDR_LIST", "YES").strip().upper() != "NO"
    places = [looked] if looked else []
    places += ["the local network (EPICS_CA_AUTO_ADDR_LIST)"] if automatic else []
    return (
        f"is the IOC running, and {prefix} its prefix? Channel Access looks at "
        f"{' and '.join(places) or 'no address'}; EPICS_CA_ADDR_LIST names others"
    )


def _beam_checks(beam: Any) -> list[CheckResult]:
    try:
        blanked, current = bool(beam.blanker.get()), float(beam.current.get())
        dose_ok = bool(beam.dose_ok.get())
    except Exception as error:  # whatever the control layer raises for a value that does not come
        return [CheckResult("beam", False, f"{beam.name} cannot be read: {error}", "look at the IOC")]
    return [
        CheckResult("blanker", blanked, f"the beam is {'blanked' if blanked else 'on the specimen'}",
                "" if blanked else "blank it: between plans nothing needs it"),
        CheckResult("current", current > 0, f"{current:.4g} nA",
                "" if current > 0 else "switch the beam on, or reset the trip"),
        CheckResult("dose", dose_ok, "within its budget" if dose_ok else "the specimen's dose budget is spent",
                "" if dose_ok else "take another specimen, or give it a larger budget"),
    ]  # fmt: skip


def check_detector(eds: Any, classifier: Classifier | None) -> CheckResult:
    """Compare channels and calibration of a detector that answers with those of a classifier, if there is one."""
    from ..devices.reading import check_classifier
    from .energy_scale import can_move

    channels, quadratic = int(eds.channels.get()), float(eds.energy_quadratic.get())
    offset, width = float(eds.energy_offset.get()), float(eds.energy_width.get())
    message = f"{channels} channels, {offset:.5g} keV + i × {width:.5g} keV"
    if quadratic != 0:
        hint = "calibrate the detector linearly (CALQ = 0)"
        return CheckResult(
            "calibration", False, f"{message} + i² × {quadratic:.3g} keV, which is not supported", hint
        )
    try:
        check_classifier(eds.name, channels, offset, width, classifier)
    except InstrumentError as error:
        if can_move(classifier, offset, width, channels):
            return CheckResult("calibration", True, f"{message}, to which a session moves the classifier")
        hint = "set the detector's calibration, or train a classifier for this one (slads-bluesky train classifier)"
        return CheckResult("calibration", False, str(error), hint)
    return CheckResult(
        "calibration", True, message + (", as the classifier has it" if classifier is not None else "")
    )


def check_settings(beam: Any, eds: Any, classifier: Classifier) -> list[CheckResult]:
    """Compare beam energy, elevation angle and resolution with those that a classifier was made for.

    Parameters
    ----------
    beam, eds : SEMBeam, EDSDetector
        Connected. Settings that they do not give are not compared.
    classifier : Classifier
        One that does not state what it was made for gives no result.
    """
    made_for = getattr(classifier, "settings", None)
    facts = getattr(eds, "facts", None)
    results = []
    for name, found, field, most, unit, hint in (
        (
            "beam energy",
            _energy(beam),
            "beam_energy_kev",
            0.5,
            "kV",
            "set the high voltage, or train a classifier for it",
        ),
        (
            "elevation angle",
            getattr(facts, "elevation_angle_deg", None),
            "takeoff_deg",
            3.0,
            "°",
            _HINT_FACTS,
        ),
        (
            "resolution",
            getattr(facts, "energy_resolution_ev", None),
            "resolution_ev",
            10.0,
            "eV",
            _HINT_FACTS,
        ),
    ):
        wanted = getattr(made_for, field, None)
        if found is None or wanted is None:
            continue
        if abs(found - wanted) <= most:
            results.append(CheckResult(name, True, f"{found:g} {unit}, as the classifier has it"))
        else:
            message = f"{found:g} {unit}, the classifier was made for {wanted:g} {unit}"
            results.append(CheckResult(name, False, message, hint))
    return results


_HINT_FACTS = "correct devices.eds.options in instrument.yml, or train a classifier for this detector"


def _energy(beam: Any) -> float | None:
    signal = getattr(beam, "energy", None)
    return None if signal is None else float(signal.get())


def check_classifier_file(path: Path) -> tuple[CheckResult, Classifier | None]:
    """Load a classifier and classify an empty spectrum; the classifier is None if that fails."""
    from ..spectra import load_classifier

    try:
        classifier: Classifier = load_classifier(path)
        classifier.classify(np.zeros(classifier.n_channels, np.int32))
    except ModelFileError as error:
        return CheckResult(
            "classifier", False, str(error), "train it again: slads-bluesky train classifier"
        ), None
    return CheckResult(
        "classifier", True, f"{path}: {', '.join(classifier.phases)}; {classifier.n_channels} channels"
    ), classifier  # fmt: skip


def check_proxy(address: str, timeout_s: float) -> CheckResult:
    """Check that a 0MQ proxy takes documents at its incoming side."""
    from ..callbacks.publish.zmq import proxy_answers

    there = proxy_answers(address, timeout_s)
    hint = "start it: bluesky-0MQ-proxy --in-address HOST:PORT --out-address HOST:PORT"
    return CheckResult(
        "0MQ proxy", there, f"{address} {'takes documents' if there else 'does not answer'}", "" if there else hint
    )  # fmt: skip


def all_passed(results: Iterable[CheckResult]) -> bool:
    """Whether every check passed."""
    return all(result.passed for result in results)
