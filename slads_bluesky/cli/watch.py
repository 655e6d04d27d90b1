"""``slads-bluesky watch``: the web page of a record's maps, as they grow and afterwards."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from ..terminal import make_console
from .record import Folder

__all__ = ["register", "watch"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(watch)


def watch(
    catalog: Folder = None,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Control socket of a queue server's manager, to steer it from the page.",
        ),
    ] = None,
    zmq: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Take the documents from a 0MQ proxy's outgoing side into the record, too.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback open it to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8010,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Another address under which browsers reach the page."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the token of the page; made with a new one if there is none, by default watch-token "
            "beside the record's journal.",
        ),
    ] = None,
) -> None:
    """Serve a web page that shows the maps of a record as they grow, until interrupted.

    Example: slads-bluesky watch --queue tcp://127.0.0.1:60615
    """
    # one thread for the network, and no haste: the run has the machine first
    for variable, value in (("OMP_NUM_THREADS", "1"), ("NUMBA_NUM_THREADS", "1")):
        os.environ.setdefault(variable, value)
    os.nice(5)
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise ConfigError("the page needs the extra web: pip install 'slads-bluesky[web]'") from None
    from ..record.catalog.serve import key_in
    from ..record.location import record_path
    from ..watch.desk import Desk
    from ..watch.server import serve_page

    console = make_console()
    record = record_path(catalog)
    file = token_file if token_file is not None else record / "watch-token"
    token = key_in(file)
    state = None
    if queue is not None:
        from ..queueing.manager import Manager
        from ..queueing.operator import Operator
        from ..watch.queue_state import QueueState

        state = QueueState(Operator(Manager(queue, getpass.getuser()), record))
    receiver = None
    if zmq is not None:
        from ..watch.receiver import Receiver

        receiver = Receiver(zmq, record)

    def ready(address: str) -> None:
        console.print(f"watching {record} at {address}, until Ctrl-C", soft_wrap=True)
        console.print(f"open {address}?token={token}", soft_wrap=True)
        console.print(f"the token is in {file}, which nobody but you can read", soft_wrap=True)

    try:
        serve_page(
            Desk(record, state), token=token, host=host, port=port, origins=origin or (), on_ready=ready
        )
    finally:
        if receiver is not None:
            receiver.close()
