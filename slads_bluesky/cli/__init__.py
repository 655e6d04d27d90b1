"""The command line, ``slads-bluesky …``: thin; every command is a few calls into the packages.

Each module beside this one adds its commands to `app` in a function ``register(app)``; what a command needs is
imported when it runs, so that ``--help`` stays quick. The commands of `slads_bluesky.evaluation` (``paper`` and
``bench``) are added by name, so that nothing of the runtime imports that package.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any

import typer

from ..errors import SladsError
from ..memory import collect_rarely
from ..terminal import make_console, show_any_text
from .examples import add_examples

__all__ = ["app", "main"]

app = typer.Typer(
    name="slads-bluesky",
    help="Phase maps by SEM-EDS from a few per cent of the pixels.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    """Phase maps by SEM-EDS from a few per cent of the pixels."""
    if version:
        from .. import __version__

        make_console().print(__version__)
        raise typer.Exit


for _module in (
    "demo",
    "simulate",
    "ioc",
    "record",
    "resume",
    "segment",
    "carry",
    "relabel",
    "phases",
    "classify",
    "quantify",
    "denoise",
    "calibrate_detector",
    "view",
    "watch",
    "queue",
    "profile",
    "estimate",
    "doctor",
    "plans",
    "train",
):
    importlib.import_module(f".{_module}", __name__).register(app)
for _module in ("paper", "bench"):
    importlib.import_module(f"slads_bluesky.evaluation.commands.{_module}").register(app)
add_examples(app)


_CommandLineError: Any = typer.BadParameter.__mro__[2]
"""``ClickException`` of the click that typer uses, its own or the one that is installed."""


def _shown(error: Any) -> int:
    """Show what is wrong with a command line in one line, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "slads-bluesky"
        console = make_console(stderr=True)
        said = error.format_message().rstrip(".")
        console.print(f"{path}: {said}; see `{path} --help`", soft_wrap=True, highlight=False, markup=False)
    return int(error.exit_code)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; user errors become one line on stderr and exit code 2."""
    # threads of torch that spin while they wait would take the cores of the IOC and of the catalog's writer
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    collect_rarely()
    show_any_text()
    try:
        code = app(arguments, standalone_mode=False, prog_name="slads-bluesky")
    except SladsError as error:
        make_console(stderr=True).print(f"slads-bluesky: {error}")
        sys.exit(2)
    except _CommandLineError as error:
        sys.exit(_shown(error))
    except (typer.Abort, KeyboardInterrupt):
        make_console(stderr=True).print("slads-bluesky: interrupted")
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
