"""The simulated microscope as an EPICS IOC.

``python -m slads_bluesky.devices.sim.ioc --object pbsn-128 --prefix SEM:`` serves it until stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InstrumentError, SladsError
from ...protocols import Specimen
from .caserver import LoopbackContext
from .driver import Driver
from .framegroup import make_frames
from .listgroup import make_lists
from .model import SimulatedSEM
from .openbeam import OpenBeamServer
from .ports import free_port
from .pvgroup import make_group

__all__ = ["main", "open_specimen", "run_until", "serve"]


async def serve(specimen: Specimen, prefix: str, *, port: int = 0, time_scale: float = 0.0,
                log: Path | None = None, open_beam: int = 0, ready: Any = None) -> None:  # fmt: skip
    """Serve a specimen under the beam on loopback until cancelled.

    Parameters
    ----------
    specimen : Specimen
    prefix : str
        Of every PV.
    port : int
        0 for a free one.
    time_scale : float
        See `driver`.
    log : Path, optional
        File for a line of JSON for each acquisition.
    open_beam : int
        Port of a stand-in for an Open Beam Interface over the same specimen; 0: none.
    ready : callable of int, optional
        Called with the port once clients can connect.

    Raises
    ------
    InstrumentError
        If there is no free port.
    """
    port = free_port(port)
    os.environ.update(
        EPICS_CA_SERVER_PORT=str(port), EPICS_CAS_SERVER_PORT=str(port), EPICS_CAS_INTF_ADDR_LIST="127.0.0.1",
        EPICS_CAS_BEACON_ADDR_LIST="127.0.0.1", EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO",
    )  # fmt: skip
    driver = Driver(SimulatedSEM(specimen), time_scale, log)
    group = make_group(prefix, driver)
    await group.show()
    lists = make_lists(prefix, driver, group.show_dose)
    frames = make_frames(prefix, driver, group.show_dose, group.light)
    context = group.context = LoopbackContext({**group.pvdb, **lists.pvdb, **frames.pvdb})

    async def started(_: Any) -> None:
        if context.port != port:
            raise InstrumentError(f"no free port: {port} was taken in the meantime")
        if open_beam:
            await OpenBeamServer(driver, lists).serve(open_beam)
        if ready is not None:
            ready(port)

    await context.run(startup_hook=started)


async def run_until(stop: asyncio.Event, serving: Coroutine[Any, Any, None]) -> None:
    """Serve until `stop` is set or the server ends by itself, of which an error is raised.

    A cancellation can get lost where a server waits, with a time limit, for a client's connection to close
    (`asyncio.wait_for` before Python 3.12); so every task is asked again until it has ended.
    """
    server = asyncio.ensure_future(serving)
    asked = asyncio.ensure_future(stop.wait())
    await asyncio.wait({server, asked}, return_when=asyncio.FIRST_COMPLETED)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(20):
        left = {task for task in tasks if task is not None and not task.done()}
        if not left:
            break
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.5)
    if server.done() and not server.cancelled():
        server.result()


def open_specimen(name: str, seed: int, imperfections: Mapping[str, float] | None = None) -> Specimen:
    """Make the simulated object of that name, or of that ``.npy`` label image, with these imperfections."""
    from ...images.files import read_label_image
    from ...phantom.objects import make_object, object_from_labels

    if name.endswith(".npy"):
        from ...phantom.imperfect import make_imperfect
        from ...phantom.imperfections import Imperfections

        sharp = object_from_labels(read_label_image(Path(name)), Path(name).stem, seed)
        return make_imperfect(sharp, Imperfections.from_json(imperfections))
    return make_object(name, seed, imperfections)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the IOC as a process; used by `process.SimulatedMicroscope`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--object", required=True, help="simulated object, or an .npy label image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--imperfections", type=json.loads, help="options of phantom.Imperfections, JSON")
    parser.add_argument("--prefix", default="SEM:")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--time-scale", type=float, default=0.0)
    parser.add_argument("--log", type=Path, help="file for a line of JSON for each acquisition")
    parser.add_argument(
        "--open-beam", type=int, default=0, help="port of a stand-in for an Open Beam Interface"
    )
    parser.add_argument("--until-eof", action="store_true", help="exit when standard input closes")
    options = parser.parse_args(arguments)

    def ready(port: int) -> None:
        print(f"ready {port}", flush=True)  # noqa: T201

    async def run() -> None:
        specimen = open_specimen(options.object, options.seed, options.imperfections)
        stop = asyncio.Event()
        if options.until_eof:

            def heard() -> None:
                if not os.read(sys.stdin.fileno(), 4096):
                    stop.set()

            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), heard)
        serving = serve(
            specimen,
            options.prefix,
            port=options.port,
            time_scale=options.time_scale,
            log=options.log,
            open_beam=options.open_beam,
            ready=ready,
        )
        await run_until(stop, serving)

    try:
        asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except (SladsError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
