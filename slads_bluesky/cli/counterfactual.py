"""``replay --classifier FILE | --sampler FILE``: what another classifier or sampler would have made of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecordError
from ..files import write_json
from ..simulated import simulated_object

if TYPE_CHECKING:
    from ..analysis.run_data import RunData
    from ..record.runs import RecordedRun

__all__ = ["compare", "known_truth"]


def compare(
    console: Any,
    chain: list[RecordedRun],
    data: RunData,
    sampler: Path | None,
    classifier: Path | None,
    folders: list[Path],
    figure: Path | None,
    json_file: Path | None,
) -> None:
    """Print what would have been beside what was; draw it; write it as JSON."""
    truth = known_truth(data)
    figures: dict[str, Any] = {"uid": chain[-1].uid, "truth": truth is not None}
    curves: dict[str, NDArray[np.float64]] = {}
    numbers = np.zeros(0, np.int64)
    if classifier is not None:
        figures["classifier"] = _classifier(console, data, classifier, truth)
    if sampler is not None:
        numbers, curves, figures["sampler"] = _sampler(console, data, sampler, folders, truth)
    if figure is not None:
        from ..export.comparison import draw_comparison

        draw_comparison(figure, data, numbers, curves, figures.get("classifier"))
        console.print(f"figure: {figure}", markup=False)
    write_json(json_file, figures)


def known_truth(data: RunData) -> NDArray[np.uint8] | None:
    """Phase map of the object, where it is known: a simulated one, or a full raster."""
    start = data.start
    specimen = simulated_object(start)
    if specimen is not None:
        from ..phantom import make_object

        return make_object(*specimen).truth
    if data.n_measured == data.grid.n_pixels:
        return np.asarray(np.maximum(data.measured, 0), np.uint8)
    return None


def _classifier(console: Any, data: RunData, path: Path, truth: NDArray[np.uint8] | None) -> dict[str, Any]:
    from rich.table import Table

    from ..spectra import load_classifier

    other = load_classifier(path)
    labels, _, verdicts = other.classify_batch(data.spectra_of(other.n_channels))
    votes = np.where(verdicts == "ok", labels, 0).astype(np.int64)
    names = ["no phase", *data.phases]
    table = Table(title=f"recorded (rows) and by {path.name} (columns)", title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    n = len(names)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (data.votes, np.minimum(votes, n - 1)), 1)
    for i, name in enumerate(names):
        table.add_row(name, *(str(value) for value in counts[i]))
    console.print(table)
    out: dict[str, Any] = {
        "sha256": other.sha256,
        "same": float((votes == data.votes).mean()),
        "labels": names,
        "counts": counts.tolist(),
    }
    console.print(f"the same label for {out['same']:.2%} of {data.n_measured} spectra")
    if truth is not None:
        at = truth.ravel()[data.pixels]
        for key, called in (("error_recorded", data.votes), ("error_other", votes)):
            out[key] = float(((called != at) & (called > 0)).mean())
        console.print(
            f"wrong phase: {out['error_recorded']:.4f} recorded, {out['error_other']:.4f} by {path.name}"
        )
    return out


def _sampler(
    console: Any, data: RunData, path: Path, folders: list[Path], truth: NDArray[np.uint8] | None
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]], dict[str, Any]]:
    from rich.progress import Progress
    from rich.table import Table

    from ..record.resume import find_sampler_model, load_any_sampler, rebuild_agent
    from ..sampling.factory import make_sampler

    if truth is None:
        raise RecordError(
            f"run {data.uid[:8]}: what another sampler would have measured elsewhere is known only for a simulated "
            "object or a full raster"
        )
    name, model = load_any_sampler(path)
    seed, n = int(data.start["agent"]["seed"]), data.n_measured
    other = make_sampler(
        name, data.grid.shape, labels=len(data.phases), model=model, seed=seed, roi=data.grid.roi
    )
    recorded = rebuild_agent(data.start, find_sampler_model(data.start, *folders)).sampler
    numbers = np.unique(np.geomspace(max(n // 50, 1), n, 24).astype(np.int64))
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("sampling", total=2 * n)
        ours = _curve(
            recorded, zip(data.pixels, data.votes, strict=True), numbers, truth, lambda: bar.advance(task)
        )
        theirs = _curve(other, _chosen(other, truth), numbers, truth, lambda: bar.advance(task))
    curves = {"recorded": ours, path.name: theirs}
    table = Table(title="total distortion (Eq. 14)", title_justify="left")
    for column in ("fraction", "recorded", path.name):
        table.add_column(column, justify="right")
    for i in range(0, len(numbers), max(len(numbers) // 8, 1)):
        table.add_row(f"{numbers[i] / truth.size:.3%}", f"{ours[i]:.4f}", f"{theirs[i]:.4f}")
    table.add_row(f"{n / truth.size:.3%}", f"{ours[-1]:.4f}", f"{theirs[-1]:.4f}")
    console.print(table)
    return (
        numbers,
        curves,
        {
            "name": name,
            "sha256": getattr(model, "sha256", None),
            "n": numbers.tolist(),
            "td_recorded": ours.tolist(),
            "td_other": theirs.tolist(),
        },
    )


def _chosen(sampler: Any, truth: NDArray[np.uint8]) -> Any:
    while suggestions := sampler.suggest(1):
        pixel = suggestions[0].pixel
        yield pixel, truth.ravel()[pixel]


def _curve(
    sampler: Any, labelled: Any, numbers: NDArray[np.int64], truth: NDArray[np.uint8], advance: Any
) -> NDArray[np.float64]:
    """Total distortion of a sampler's own reconstruction after `numbers` of pixels."""
    out: list[float] = []
    wanted = iter(numbers)
    following = next(wanted)
    for i, (pixel, label) in enumerate(labelled, start=1):
        sampler.ingest(int(pixel), int(label))
        advance()
        if i == following:
            out.append(
                float((sampler.reconstruct() != truth).mean()) if (sampler.measured > 0).any() else 1.0
            )
            following = next(wanted, -1)
            if following < 0:
                break
    return np.array(out)
