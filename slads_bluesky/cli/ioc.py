"""``slads-bluesky ioc``: the simulated microscope, served over Channel Access until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import make_console
from .options import Blur, Imperfect

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add ``ioc`` to `app`."""
    app.command()(ioc)


def ioc(
    object_name: Annotated[
        str, typer.Option("--object", help="Simulated object such as pbsn-128, or an .npy label image.")
    ] = "pbsn-128",
    prefix: Annotated[str, typer.Option(help="Prefix of every PV.")] = "SEM:",
    seed: Annotated[int, typer.Option(help="Seed of the object.")] = 0,
    blur: Blur = None,
    imperfect: Imperfect = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")] = 0,
    time_scale: Annotated[
        float, typer.Option(min=0.0, help="Wall time per simulated time; 0 acquires at once, 1 is real time.")
    ] = 1.0,
    log: Annotated[
        Path | None, typer.Option(help="Append a line of JSON for each acquisition to it.")
    ] = None,
    list_pvs: Annotated[bool, typer.Option("--list-pvs", help="List the PVs and exit.")] = False,
) -> None:
    """Serve a simulated microscope over Channel Access until stopped (Ctrl-C)."""
    import asyncio
    import signal

    from rich.table import Table

    from ..devices.sim.ioc import open_specimen, run_until, serve
    from ..devices.sim.pvs import all_pvs
    from ..files import check_writable
    from ..phantom.imperfections import imperfections_of

    console = make_console()
    if list_pvs:
        table = Table("PV", "type", "unit", "limits", "access", "what it is", box=None)
        for pv in all_pvs(prefix):
            table.add_row(
                pv.name, pv.kind, pv.units, pv.limits, "read" if pv.read_only else "read, write", pv.doc
            )
        console.print(table)
        return
    check_writable(log)
    specimen = open_specimen(object_name, seed, imperfections_of(imperfect, blur).to_json())

    def ready(found: int) -> None:
        console.print(
            f"{specimen.name}: serving {prefix}… on 127.0.0.1:{found} until Ctrl-C. From another shell:"
        )
        console.print(f'  export EPICS_CA_ADDR_LIST="127.0.0.1:{found}" EPICS_CA_AUTO_ADDR_LIST=NO')
        for line in (
            f"caproto-put --no-repeater -c -w 60 {prefix}Beam:Blank 0",
            f"caproto-put --no-repeater -c -w 60 {prefix}EDS:mca1EraseStart 1",
            f"caproto-get --no-repeater {prefix}EDS:mca1.ELTM {prefix}EDS:mca1.ACT {prefix}Beam:Dose",
        ):
            console.print(f"  {line}")

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        serving = serve(specimen, prefix, port=port, time_scale=time_scale, log=log, ready=ready)
        await run_until(stop, serving)

    asyncio.run(run())
