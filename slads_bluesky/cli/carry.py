"""``slads-bluesky export | report | serve``: what was recorded, taken elsewhere."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files import check_writable, write_json
from ..terminal import make_console, working
from .options import Json
from .record import Uid, Where, open_map

if TYPE_CHECKING:
    from ..analysis.elements.maps import ElementMaps
    from ..analysis.run_data import RunData

__all__ = ["export", "register", "report", "serve"]

Elements = Annotated[
    str | None,
    typer.Option(
        metavar="SYMBOLS|auto",
        help="Element maps, too: of these elements, or of those whose lines are found.",
    ),
]
Guide = Annotated[
    Path | None,
    typer.Option(metavar="IMAGE", help="Image of the same field that guides the element maps, such as BSE."),
]
Standards = Annotated[
    list[str] | None,
    typer.Option(
        "--standard",
        metavar="FILE=FORMULA[:SYMBOLS]",
        help="Spectrum of a standard for the compositions, and what it is the standard of.",
    ),
]
Oxygen = Annotated[str, typer.Option(metavar="measured|stoichiometry", help="Where oxygen comes from.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    numbers = {"ignore_unknown_options": True}  # "-1" is a run, not an option
    app.command(context_settings=numbers)(export)
    app.command(context_settings=numbers)(report)
    app.command()(serve)


def export(
    uid: Uid,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Ends in .hspy, .zspy, .nxs, .msa, .tif, .npz or .csv; of a run that is no map, .npz or .csv.",
        ),
    ],
    elements: Elements = None,
    guide: Guide = None,
    oxygen: Oxygen = "measured",
    standard: Standards = None,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Write a map into a file of another program."""
    from ..export.formats import export_map
    from ..export.plain import export_run
    from ..record.runs import find_run

    check_writable(json_file)
    console = make_console()
    run = find_run(uid, catalog)
    if "grid" in run.start:
        _, data = open_map(run.uid, catalog)
        figures: dict[str, Any] = {"uid": data.uid, "n_measured": data.n_measured}
    else:
        data, figures = None, {"uid": run.uid}
    maps = None
    if elements is not None and data is not None:
        maps = compute_elements(data, elements, guide, oxygen, standard or ())
    with working(console, f"writing {path.name}"):
        written = export_map(data, path, maps) if data is not None else export_run(run.documents(), path)
    for file in written:
        console.print(str(file))
    write_json(json_file, {**figures, "files": [str(file) for file in written]})


def report(
    uid: Uid,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .html, .pdf or .png.")],
    elements: Elements = None,
    guide: Guide = None,
    oxygen: Oxygen = "measured",
    standard: Standards = None,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Write a map's report: pictures, area fractions with intervals, dose and time, configuration."""
    from ..analysis.compare import known_truth
    from ..analysis.summary import summarize
    from ..export.report import write_report

    check_writable(json_file)
    console = make_console()
    _, data = open_map(uid, catalog)
    maps = None
    if elements is not None:
        maps = compute_elements(data, elements, guide, oxygen, standard or ())
    with working(console, f"writing {path.name}"):
        write_report(data, path, known_truth(data), maps)
    console.print(str(path))
    write_json(json_file, {**summarize(data)[1], "file": str(path)})


def compute_elements(
    data: RunData, elements: str, guide: Path | None, oxygen: str, standards: Sequence[str] = ()
) -> ElementMaps:
    """Element maps as the command line asks for them."""
    from ..analysis.quantification.sources import read_standard
    from ..export.elements import maps_of_run, read_guide
    from ..progress import tracker

    symbols = None if elements == "auto" else [s.strip() for s in elements.split(",") if s.strip()]
    image = read_guide(guide, data.grid.shape) if guide is not None else None
    known = [read_standard(text) for text in standards]
    with tracker("element maps") as progress:
        return maps_of_run(data, symbols, image=image, oxygen=oxygen, standards=known, progress=progress)


def serve(
    catalog: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The record; by default the one in the user's data directory."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback open it to the network.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="TILED_SINGLE_USER_API_KEY",
            hidden=True,  # an argument can be read by every user of the machine
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the API key, if it is not in the variable TILED_SINGLE_USER_API_KEY; made with a new key "
            "if there is none, by default api-key beside the record's journal.",
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(envvar="SLADS_BLUESKY_DATABASE", help="postgresql://… instead of SQLite files."),
    ] = None,
) -> None:
    """Serve a record to browsers and to other machines, by Tiled, until interrupted."""
    from ..record.catalog.serve import key_in
    from ..record.catalog.serve import serve as serve_record
    from ..record.location import record_path

    console = make_console()
    directory = record_path(catalog)
    if key is not None and any(text in sys.argv for text in (key, f"--key={key}")):
        make_console(stderr=True).print(
            "an argument can be read by all users of this machine: use --key-file"
        )
    file = key_file if key_file is not None else directory / "api-key"
    own = key if key is not None and key_file is None else key_in(file)

    def ready(address: str) -> None:
        console.print(f"serving at {address}, until Ctrl-C")
        if key is None or key_file is not None:
            console.print(f"the API key is in {file}, which nobody but you can read")
            console.print(f"in a browser: {address}/?api_key=KEY")
            console.print(
                f"from Python:  open_catalog('{address}') with TILED_API_KEY=$(cat {shlex.quote(str(file))})"
            )

    serve_record(directory, api_key=own, host=host, port=port, database=database, on_ready=ready)
