"""``slads-bluesky bench trust``: faults against an instrument of its own, and whether every promise holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...cli.options import Json

__all__ = ["bench_trust", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("trust")(bench_trust)


def bench_trust(
    quick: Annotated[bool, typer.Option("--quick", help="Seven scenes, without kills and services.")] = False,
    fault: Annotated[
        list[str] | None, typer.Option(help="Only faults with this in their name; may be repeated.")
    ] = None,
    moment: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this moment: stage, baseline, settle, acquire, read, decide, close; may be repeated."
        ),
    ] = None,
    kills: Annotated[int, typer.Option(min=0, help="Kills at random moments; 0 for none.")] = 25,
    layer: Annotated[
        str, typer.Option(help="Control layer of the sessions: caproto or pyepics.")
    ] = "caproto",
    folder: Annotated[
        Path | None, typer.Option(help="Where to work; by default the system's temporary files.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="keep each result here; scenes that it holds are not played again"),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as a page of the site.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the object, the training and the kills.")] = 0,
    json_file: Json = None,
) -> None:
    """Make faults at moments of a map over Channel Access; judge beam, record and resumed map."""
    from ...errors import ConfigError
    from ...files import check_writable
    from ..trust.campaign import measure_trust
    from ..trust.table import trust_figures, trust_markdown, trust_rows
    from .output import bench_output

    if layer not in ("caproto", "pyepics"):
        raise ConfigError(f"unknown control layer '{layer}'; known: caproto, pyepics")
    check_writable(markdown)
    with bench_output(json_file, "Promises that held") as output:
        output.results = measure_trust(
            fault,
            moment,
            quick=quick,
            kills=0 if quick or fault or moment else kills,
            seed=seed,
            layer=layer,
            folder=folder,
            keep=keep,
            progress=output.progress,
            on_scene=lambda scene: output.print(_line(scene)),
        )
        output.table(
            "Faults over Channel Access",
            ("fault", "promised", "how tested: at", "seen"),
            trust_rows(output.results),
            left=("promised", "how tested: at", "seen"),
        )
        output.figures = trust_figures(output.results)
        if markdown is not None:
            markdown.write_text(trust_markdown(output.results), encoding="utf-8")


def _line(scene: dict[str, Any]) -> str:
    """One scene as a line: what was struck, and what did not hold."""
    where = f"{scene['fault']}, {scene['moment']}" if scene["moment"] else scene["fault"]
    return f"{where}: {'; '.join(scene['wrong']) if scene['wrong'] else 'held'} ({scene['ended']})"
