"""``slads-bluesky bench …``: the figures of this project, measured here and now."""

from __future__ import annotations

import typer

from ...cli.groups import add_group

__all__ = ["register"]

MODULES: tuple[str, ...] = (
    "bench_sampling",
    "bench_mixed",
    "bench_joint",
    "bench_image",
    "bench_point",
    "bench_spectra",
    "bench_record",
    "bench_kills",
    "bench_session",
    "bench_trust",
    "bench_fuzz",
    "bench_endurance",
    "bench_house",
    "bench_fly",
    "bench_elements",
    "bench_mutants",
    "bench_coverage",
    "bench_watch",
    "bench_unknown",
)
"""Modules of this package, each adding one sub-command in its ``register(app)``."""


def register(app: typer.Typer) -> None:
    """Add the group ``bench`` to `app`."""
    add_group(app, "bench", "Measure the figures that this project claims.", __package__, MODULES)
