"""``slads-bluesky doctor``: the pre-flight check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..files import check_writable, write_json
from ..terminal import make_console, working
from .options import Json

if TYPE_CHECKING:
    from ..instrument.diagnostics import CheckResult

__all__ = ["doctor", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(doctor)


def doctor(
    prefix: Annotated[
        str | None, typer.Option(help="Check the PVs of an instrument with this prefix, such as SEM:.")
    ] = None,
    instrument: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Check what an instrument.yml names: PVs, classifier, record, proxy."
        ),
    ] = None,
    classifier: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check a classifier, and the detector against it.")
    ] = None,
    zmq: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Check a 0MQ proxy's incoming side.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URI|PROFILE", help="Check a facility's Tiled server: its specs, media types and storage."
        ),
    ] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The record; by default the one in the user's data directory."),
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="S", help="How long PVs and proxy may take.")] = 5.0,
    json_file: Json = None,
) -> None:
    """Check PVs, calibration, classifier, record and versions; exit code 1 if a check fails."""
    from ..instrument import diagnostics as checks
    from ..record import default_directory

    console = make_console()
    check_writable(json_file)
    if not timeout > 0:
        raise ConfigError(f"--timeout must be positive, not {timeout:g}")
    if prefix is not None and instrument is not None:
        raise ConfigError("--prefix or --instrument: each says which PVs there are")
    if prefix is not None and (not prefix or any(c.isspace() for c in prefix)):
        raise ConfigError(f"PV prefix must be a word, not {prefix!r}")
    results: list[CheckResult] = []

    def show(*found: CheckResult) -> None:
        for result in found:
            results.append(result)
            console.print(
                "ok    " if result.passed else "not ok", style="green" if result.passed else "red", end=" "
            )
            console.print(f"{result.name}: {result.message}")
            if result.hint:
                console.print(f"       → {result.hint}")

    make_devices: Any = None
    proxies = [zmq] if zmq is not None else []
    if instrument is not None:
        settings, file = _settings(instrument)
        classifier = classifier or settings.classifier.file
        catalog = catalog or settings.catalog.directory
        server = server or settings.catalog.uri
        proxies = proxies or [where for where in settings.publishers if not where.startswith("kafka://")]
        show(checks.CheckResult("instrument", True, f"{instrument}: mode {settings.mode}"))
        if settings.mode == "hardware":
            make_devices = lambda: _devices_of(settings, file)  # noqa: E731
    elif prefix is not None:
        make_devices = lambda: _devices(prefix)  # noqa: E731

    show(*checks.check_versions())
    with working(console, "looking at the record"):
        found = checks.check_record(catalog if catalog is not None else default_directory())
    show(*found)
    if server is not None:
        with working(console, "asking the Tiled server"):
            found = checks.check_tiled(server)
        show(*found)
    judge = None
    if classifier is not None:
        one, judge = checks.check_classifier_file(classifier)
        show(one)
    for where in proxies:
        show(checks.check_proxy(where, timeout))
    if make_devices is not None:
        beam, eds, sem = make_devices()
        with working(console, "waiting for PVs"):
            found = checks.check_devices(beam, eds, sem, timeout)
        show(*found)
        if eds.connected:
            show(checks.check_detector(eds, judge))
            if judge is not None and beam.connected:
                show(*checks.check_settings(beam, eds, judge))
    passed = checks.all_passed(results)
    console.print(
        "all checks passed"
        if passed
        else f"{sum(not r.passed for r in results)} of {len(results)} checks failed"
    )
    write_json(json_file, {"passed": passed, "checks": [result.to_json() for result in results]})
    if not passed:
        raise typer.Exit(1)


def _devices(prefix: str) -> tuple[Any, Any, Any]:
    """The instrument as the simulated microscope has it: beam and column under Beam:, the record EDS:mca1."""
    from ..devices import EDSDetector, Microscope, SEMBeam

    return (
        SEMBeam(f"{prefix}Beam:", name="beam"),
        EDSDetector(f"{prefix}EDS:mca1", name="eds"),
        Microscope(f"{prefix}Beam:", name="sem"),
    )


def _settings(path: Path) -> tuple[Any, Any]:
    from ..instrument import read_settings

    return read_settings(path)


def _devices_of(settings: Any, file: Any) -> tuple[Any, Any, Any]:
    from ..instrument.parts import make_devices

    made = make_devices(settings, file)
    return made.beam, made.eds, made.sem
