"""``slads-bluesky profile``: the record by name, for Tiled's client and databroker."""

from __future__ import annotations

from typing import Annotated

import typer

from ..terminal import make_console
from .record import Where

__all__ = ["profile", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(profile)


def profile(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name under which the record is found.")],
    catalog: Where = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a profile of that name.")] = False,
) -> None:
    """Write a Tiled profile, by which Tiled's client and databroker find the record under a name.

    Example: slads-bluesky profile sem
    """
    from ..record.catalog.profile import write_profile
    from ..record.location import record_path

    where = catalog if catalog is not None and "://" in catalog else record_path(catalog)
    file = write_profile(name, where, replace=replace)
    console = make_console()
    console.print(f"profile {name} in {file}", soft_wrap=True)
    console.print(
        f"from Python: tiled.client.from_profile('{name}'), databroker.catalog['{name}']", soft_wrap=True
    )
