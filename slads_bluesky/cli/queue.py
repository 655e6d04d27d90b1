"""``slads-bluesky queue …``: a queue server's queue from the shell; a map is checked before it is queued."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..terminal import make_console
from .record import Folder

if TYPE_CHECKING:
    from ..queueing.operator import Operator

__all__ = ["register"]

Address = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="QSERVER_ZMQ_CONTROL_ADDRESS",
        metavar="tcp://HOST:PORT",
        help="Control socket of the queue server's manager.",
    ),
]
HERE = "tcp://127.0.0.1:60615"
ARGUMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(
        help="Queue maps at a queue server, checked against the instrument first, and steer what runs.",
        no_args_is_help=True,
    )
    group.command()(add)
    group.command()(check)
    group.command("list")(show)
    group.command()(phase)
    for action, text in _HELP.items():
        group.command(action, help=text)(_doing(action))
    app.add_typer(group, name="queue")


def add(
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="Name of the sample.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="More arguments of map_sample, see `slads-bluesky plans`."),
    ] = None,
    address: Address = HERE,
    catalog: Folder = None,
) -> None:
    """Check a map on the instrument (field, grid, units, dose), and queue it if it fits.

    Example: slads-bluesky queue add "Pb-Sn 7" fraction=0.1 rows=32
    """
    operator, close = _operator(address, catalog)
    try:
        wanted = _typed(operator, {"sample": sample, **_pairs(arguments)})
        item, forecast = operator.add(wanted, getpass.getuser())
        from ..queueing.operator import forecast_line

        make_console().print(f"queued {sample} as {item.get('item_uid', '')[:8]}; {forecast_line(forecast)}")
    finally:
        close()


def check(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Arguments of map_sample, see `slads-bluesky plans`."),
    ] = None,
    address: Address = HERE,
    catalog: Folder = None,
) -> None:
    """Check a map on the instrument without queueing it.

    Example: slads-bluesky queue check rows=128 columns=128
    """
    operator, close = _operator(address, catalog)
    try:
        from ..queueing.operator import forecast_line

        make_console().print(forecast_line(operator.check(_typed(operator, _pairs(arguments)))))
    finally:
        close()


def show(address: Address = HERE) -> None:
    """List what runs and what waits.

    Example: slads-bluesky queue list
    """
    from ..queueing.manager import Manager

    console = make_console()
    manager = Manager(address)
    try:
        status, queue = manager.status(), manager.queue()
        state = "open" if status.get("worker_environment_exists") else "closed"
        console.print(f"manager {status.get('manager_state')}, environment {state}")
        for mark, item in [
            ("running", queue.get("running_item")),
            *(("waits", i) for i in queue.get("items", [])),
        ]:
            if item:
                about = " ".join(map(str, item.get("args") or []))
                more = ", ".join(f"{key}={value}" for key, value in (item.get("kwargs") or {}).items())
                console.print(f"{mark:<8}{item.get('name')} {about} {more}".rstrip(), soft_wrap=True)
    finally:
        manager.close()


def phase(
    action: Annotated[
        str | None,
        typer.Argument(metavar="ACTION", help="name, merge, split, forbid or allow; none: list them."),
    ] = None,
    label: Annotated[int, typer.Argument(metavar="LABEL", help="Number of the phase.")] = 0,
    more: Annotated[
        str, typer.Argument(metavar="NAME|LABEL", help="Its name, or the phase that it is merged into.")
    ] = "",
    address: Address = HERE,
    catalog: Folder = None,
) -> None:
    """Name, merge, split or forbid a phase that the running map has found; without an action, list the phases.

    Example: slads-bluesky queue phase name 2 quartz
    """
    operator, close = _operator(address, catalog)
    try:
        console = make_console()
        if action is None:
            found = operator.phases()
            for row in found["phases"]:
                name, more_of_it = f" {row['name']}" if row["name"] else "", ", forbidden" * row["forbidden"]
                console.print(
                    f"{row['label']:3d}{name}: {row['n_spectra']} spectra{more_of_it}", markup=False
                )
            console.print(
                f"phases not found yet hold under {found['undiscovered_upper']:.2%} of the area (95 %)"
            )
            return
        if action == "merge" and not more.isdigit():
            raise ConfigError(f"merge takes the number of another phase, not '{more}'")
        other = int(more) if action == "merge" else 0
        said = operator.phase(
            action, label, getpass.getuser(), other=other, name=more if action == "name" else ""
        )
        console.print(said, markup=False)
    finally:
        close()


_HELP = {
    "open": "Open the environment: the session of the queue's worker.\n\nExample: slads-bluesky queue open",
    "start": "Start the queue.\n\nExample: slads-bluesky queue start",
    "pause": "Pause the map that runs, with the beam blanked.\n\nExample: slads-bluesky queue pause",
    "resume": "Resume a paused map.\n\nExample: slads-bluesky queue resume",
    "stop": "End the map; what was measured is kept.\n\nExample: slads-bluesky queue stop",
    "abort": "End the map and mark its run as aborted.\n\nExample: slads-bluesky queue abort",
}


def _doing(action: str) -> Callable[..., None]:
    def command(address: Address = HERE, catalog: Folder = None) -> None:
        operator, close = _operator(address, catalog)
        try:
            make_console().print(operator.do(action, getpass.getuser()))
        finally:
            close()

    command.__name__ = action
    return command


def _operator(address: str, catalog: Path | None) -> tuple[Operator, Callable[[], None]]:
    from ..queueing.manager import Manager
    from ..queueing.operator import Operator
    from ..record.location import record_path

    manager = Manager(address, getpass.getuser())
    return Operator(manager, record_path(catalog)), manager.close


def _pairs(arguments: list[str] | None) -> dict[str, str]:
    found = {}
    for text in arguments or []:
        pair = ARGUMENT.fullmatch(text)
        if pair is None:
            raise ConfigError(f"arguments are NAME=VALUE, such as fraction=0.1, not '{text}'")
        found[pair[1]] = pair[2]
    return found


def _typed(operator: Operator, texts: dict[str, str]) -> dict[str, Any]:
    from ..queueing.operator import typed_arguments

    parameters = (operator.manager.plans().get("map_sample") or {}).get("parameters", [])
    if not parameters:
        raise ConfigError(
            f"the queue server at {operator.manager.address} offers no map_sample: open its environment first"
        )
    return typed_arguments(texts, parameters)
