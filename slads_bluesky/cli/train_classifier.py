"""``slads-bluesky train classifier``: a classifier from compositions, measured spectra, or some of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..terminal import make_console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``classifier`` to `app`."""
    app.command("classifier")(train_classifier)


def train_classifier(
    phases: Annotated[Path, typer.Option(help="YAML file that says which phases there are.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write.")],
    kind: Annotated[
        Literal["likelihood", "paper"],
        typer.Option(help="The default classifier, or the paper's two networks."),
    ] = "likelihood",
    spectra: Annotated[
        int, typer.Option(min=4, max=10000, help="Spectra to draw per computed phase (paper only).")
    ] = 24,
    counts: Annotated[
        float, typer.Option(min=100, max=1e8, help="Counts of each drawn spectrum (paper only).")
    ] = 1.2e5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train a classifier; with compositions alone, no measured spectrum is needed."""
    import time

    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress, TaskID

    from ..files import check_writable, write_json
    from ..spectra.io.phase_file import load_phases
    from ..spectra.likelihood.classifier import PhaseClassifier
    from ..spectra.likelihood.computed import DetectorCalibration
    from ..spectra.paper.classifier import PaperClassifier
    from ..spectra.physics.detector import Detector
    from ..spectra.physics.spectrum import expected_counts

    console = make_console()
    check_writable(output)
    check_writable(json_file)
    file, axis, measured, compositions = load_phases(phases)
    start = time.perf_counter()
    trained: PhaseClassifier | PaperClassifier
    if kind == "likelihood":
        trained = PhaseClassifier.from_both(
            measured,
            compositions,
            axis,
            order=list(file.phases),
            seed=seed,
            beam_energy_kev=file.beam_energy_kev,
            takeoff_deg=file.takeoff_deg,
            resolution_ev=file.resolution_ev,
            noise_lambda=file.noise_lambda,
            false_alarm_rate=file.false_alarm_rate,
            calibration=None
            if file.detector is None
            else DetectorCalibration.load(phases.parent / file.detector),
        )
    else:
        from ..spectra.paper.training import train_paper_classifier

        rng = np.random.default_rng([seed, 0xC1A55])
        detector = Detector(resolution_ev=file.resolution_ev)
        table: dict[str, NDArray[np.float64]] = {}
        for name, composition in compositions.items():
            expected = expected_counts(
                composition,
                axis,
                beam_energy_kev=file.beam_energy_kev,
                takeoff_deg=file.takeoff_deg,
                detector=detector,
                total_counts=counts,
            )
            table[name] = rng.poisson(expected, (spectra, axis.n_channels)).astype(np.float64)
        table = {name: measured[name] if name in measured else table[name] for name in file.phases}
        with Progress(console=console, transient=True) as bar:
            tasks: dict[str, TaskID] = {}

            def report(what: str, part: float) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=1.0)
                bar.update(tasks[what], completed=part)

            trained = train_paper_classifier(
                table,
                axis,
                false_alarm_rate=file.false_alarm_rate,
                noise_lambda=file.noise_lambda,
                seed=seed,
                progress=report,
            )
    wall = time.perf_counter() - start
    trained.save(output)
    console.print(f"{len(trained.phases)} phases: {', '.join(trained.phases)}; trained in {wall:.1f} s")
    console.print(f"{output}  sha256 {trained.sha256[:16]}…", soft_wrap=True)
    write_json(
        json_file,
        {
            "kind": kind,
            "phases": list(trained.phases),
            "measured": {name: len(rows) for name, rows in measured.items()},
            "computed": sorted(compositions),
            "axis": axis.to_json(),
            "sha256": trained.sha256,
            "train_s": wall,
        },
    )
