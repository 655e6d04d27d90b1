"""``replay --classifier FILE | --sampler FILE``: what another classifier or sampler would have made of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_json

if TYPE_CHECKING:
    from rich.console import Console

    from ..analysis.compare import LabelComparison, SamplerComparison
    from ..analysis.run_data import RunData

__all__ = ["compare"]


def compare(
    console: Console,
    data: RunData,
    sampler: Path | None,
    classifier: Path | None,
    folders: list[Path],
    figure: Path | None,
    json_file: Path | None,
) -> None:
    """Print the comparison, draw it, write it as JSON."""
    from ..analysis.compare import compare_labels, compare_samplers, draw_comparison, known_truth
    from ..progress import tracker
    from ..spectra import load_classifier

    truth = known_truth(data)
    figures: dict[str, Any] = {"uid": data.uid, "truth": truth is not None}
    labels: LabelComparison | None = None
    samplers: SamplerComparison | None = None
    if classifier is not None:
        labels = compare_labels(data, load_classifier(classifier), truth)
        _print_labels(console, labels, data.n_measured, classifier.name)
        figures["classifier"] = labels.to_json()
    if sampler is not None:
        name, model, recorded, other = _samplers(data, sampler, folders)
        with tracker("comparing") as progress:
            samplers = compare_samplers(data, recorded, other, truth, progress)
        _print_samplers(console, samplers, data.grid.n_pixels, sampler.name)
        figures["sampler"] = {
            "name": name,
            "sha256": getattr(model, "sha256", None),
            "n": samplers.numbers.tolist(),
            "td_recorded": samplers.td_recorded.tolist(),
            "td_other": samplers.td_other.tolist(),
        }
    if figure is not None:
        draw_comparison(figure, data, labels, samplers, sampler.name if sampler else "")
        console.print(f"figure: {figure}")
    write_json(json_file, figures)


def _samplers(data: RunData, path: Path, folders: list[Path]) -> tuple[str, Any, Any, Any]:
    """Name and model of the other sampler, and both samplers before their first pixel."""
    from ..record.resume import find_sampler_model, load_any_sampler, rebuild_agent
    from ..sampling.factory import make_sampler

    name, model = load_any_sampler(path)
    recorded: Any = rebuild_agent(data.start, find_sampler_model(data.start, *folders)).sampler
    seed = int(data.start["agent"]["seed"])
    other: Any = make_sampler(
        name, data.grid.shape, labels=len(data.phases), model=model, seed=seed, roi=data.grid.roi
    )
    if data.image is not None:
        for sampler in (recorded, other):
            sampler.take_image(data.image)
    return name, model, recorded, other


def _print_labels(console: Console, found: LabelComparison, n: int, name: str) -> None:
    from rich.table import Table

    table = Table(title=f"recorded (rows) and by {name} (columns)", title_justify="left")
    table.add_column("")
    for label in found.labels:
        table.add_column(label, justify="right")
    for label, row in zip(found.labels, found.counts, strict=True):
        table.add_row(label, *(str(value) for value in row))
    console.print(table)
    console.print(f"the same label for {found.same:.2%} of {n} spectra")
    if found.error_recorded is not None:
        console.print(f"wrong phase: {found.error_recorded:.4f} recorded, {found.error_other:.4f} by {name}")


def _print_samplers(console: Console, found: SamplerComparison, n_pixels: int, name: str) -> None:
    from rich.table import Table

    table = Table(title="total distortion (Eq. 14)", title_justify="left")
    for column in ("fraction", "recorded", name):
        table.add_column(column, justify="right")
    shown = [*range(0, len(found.numbers), max(len(found.numbers) // 8, 1)), len(found.numbers) - 1]
    for i in dict.fromkeys(shown):
        table.add_row(
            f"{found.numbers[i] / n_pixels:.3%}", f"{found.td_recorded[i]:.4f}", f"{found.td_other[i]:.4f}"
        )
    console.print(table)
