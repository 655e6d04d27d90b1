"""``slads-bluesky calibrate-detector``: what known materials show of a detector, for composition-only classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import check_writable
from .options import Json

__all__ = ["calibrate_detector", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("calibrate-detector")(calibrate_detector)


def calibrate_detector(
    known: Annotated[
        Path,
        typer.Argument(
            metavar="KNOWN.YML", help="Like phases.yml, each material with a composition and files."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Calibration to write (JSON).")],
    json_file: Json = None,
) -> None:
    """Learn a detector's energy scale, line widths, efficiency and background from spectra of known materials."""
    from rich.console import Console
    from rich.table import Table

    from ..files import write_json
    from ..spectra.io.known_file import load_known
    from ..spectra.likelihood.calibration import calibrate

    check_writable(output)
    check_writable(json_file)
    file, axis, materials = load_known(known)
    found = calibrate(
        materials,
        axis,
        beam_energy_kev=file.beam_energy_kev,
        takeoff_deg=file.takeoff_deg,
        resolution_ev=file.resolution_ev,
    )
    found.save(output)
    console = Console(highlight=False)
    table = Table(
        "nuisance", "mean", "scatter", title=f"{', '.join(found.materials)}: in standard deviations without"
    )
    for name, sd in found.sd.items():
        table.add_row(name, f"{found.mean[name]:.2f}" if name in found.mean else "–", f"{sd:.2f}")
    console.print(table)
    if found.dropped:
        console.print(
            f"left as without a calibration, since the other materials do not predict it: {', '.join(found.dropped)}"
        )
    console.print(
        f"energy scale: gain {100 * found.gain:+.3f} %, offset {1e3 * found.offset_kev:+.2f} eV; "
        f"resolution {found.true_resolution_ev(found.resolution_ev):.1f} eV; used from {found.low_kev:.3f} keV"
    )
    write_json(
        json_file,
        {
            "materials": list(found.materials),
            "gain": found.gain,
            "offset_ev": 1e3 * found.offset_kev,
            "resolution_ev": found.true_resolution_ev(found.resolution_ev),
            "mean": dict(found.mean),
            "sd": dict(found.sd),
            "dropped": list(found.dropped),
        },
    )
