"""From runs of ``collect_spectra`` to the files that ``slads-bluesky train classifier`` takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ..errors import RecordError
from ..files import atomic_write
from ..plans.collect import PHASE_KEY
from ..record.runs import RecordedRun
from ..spectra.axis import EnergyAxis
from ..spectra.io.emsa import write_emsa
from ..streams import final_events

__all__ = ["Collected", "collected_spectra", "flagged_spectra", "write_phases"]


@dataclass(frozen=True)
class Collected:
    """Spectra that were taken to train on."""

    spectra: dict[str, NDArray[np.int64]]
    """Phase to (M, channels) counts, in the order in which the phases were first taken."""
    live_time_s: dict[str, NDArray[np.float64]]
    """Phase to (M,)."""
    axis: EnergyAxis
    beam_kev: float
    """NaN if the microscope does not give it."""
    started: datetime
    """Of the first run."""


def collected_spectra(runs: Sequence[RecordedRun]) -> Collected:
    """Gather the spectra of runs of ``collect_spectra``, all that there are of each phase.

    Parameters
    ----------
    runs : sequence of RecordedRun
        Runs of other plans are ignored.

    Raises
    ------
    RecordError
        If there is none, or two have another energy axis or another beam energy.
    """
    spectra: dict[str, list[NDArray[np.int64]]] = {}
    live: dict[str, list[float]] = {}
    settings: dict[tuple[float, float, float], str] = {}
    unknown = float("nan")  # one object: a NaN is equal to none but, in a key, to itself
    times = []
    for run in runs:
        if run.start.get("plan_name") != "collect_spectra":
            continue
        eds = str(run.start["detectors"][0])
        offset = width = kev = unknown
        documents = list(run.documents())
        devices: list[str] = []
        for name, doc in documents:
            if name == "descriptor":
                devices += doc.get("object_keys", {})
                configured = doc.get("configuration", {}).get(eds, {}).get("data", {})
                offset = configured.get(f"{eds}_energy_offset", offset)
                width = configured.get(f"{eds}_energy_width", width)
        for stream, doc in final_events(documents, ("baseline", "primary")):
            if stream == "baseline":
                voltages = [doc["data"].get(f"{device}_high_voltage") for device in devices]
                kev = next((float(value) for value in voltages if value is not None), kev)
            else:
                phase = str(doc["data"][PHASE_KEY])
                spectra.setdefault(phase, []).append(np.asarray(doc["data"][f"{eds}_spectrum"], np.int64))
                live.setdefault(phase, []).append(float(doc["data"][f"{eds}_live_time"]))
        times.append(float(run.start["time"]))
        settings.setdefault((float(offset), float(width), kev), run.uid[:8])
    if not spectra:
        raise RecordError("no run of collect_spectra is among these")
    if len(settings) > 1:
        each = "; ".join(
            f"run {uid}: {offset:g} keV + i × {width:g} keV at {kev:g} kV"
            for (offset, width, kev), uid in settings.items()
        )
        raise RecordError(f"spectra of different settings make no classifier: {each}")
    (offset, width, kev), _ = settings.popitem()
    n_channels = {len(row) for rows in spectra.values() for row in rows}
    if len(n_channels) > 1:
        raise RecordError(f"spectra of {sorted(n_channels)} channels make no classifier")
    return Collected(
        {phase: np.array(rows) for phase, rows in spectra.items()},
        {phase: np.array(values) for phase, values in live.items()},
        EnergyAxis(offset, width, n_channels.pop()),
        kev,
        datetime.fromtimestamp(min(times), UTC),
    )


def flagged_spectra(spectra: Mapping[str, NDArray[np.int64]]) -> list[str]:
    """Spectra that look more like another phase than like the others of their own: taken at another place.

    The multinomial log-likelihood of each spectrum under the mean shape of each phase, its own without itself, each
    channel with half a count added.

    Parameters
    ----------
    spectra : phase to (M, channels) counts

    Returns
    -------
    list of str
        A sentence each; empty if there are none.
    """
    sums = {phase: rows.sum(axis=0, dtype=np.float64) for phase, rows in spectra.items()}
    flagged = []
    for phase, rows in spectra.items():
        for i, row in enumerate(rows):
            if len(rows) < 2:
                continue
            scores = {}
            for other, total in sums.items():
                shape = total + 0.5 - (row if other == phase else 0)
                scores[other] = float(row @ np.log(shape / shape.sum()))
            best = max(scores, key=scores.__getitem__)
            if best != phase:
                flagged.append(f"spectrum {i} of {phase} looks like {best}")
    return flagged


def write_phases(collected: Collected, directory: Path) -> Path:
    """Write one EMSA/MAS file a spectrum, and the ``phases.yml`` that names them.

    Parameters
    ----------
    collected : Collected
    directory : Path
        Made if it is not there.

    Returns
    -------
    Path
        Of ``phases.yml``, for ``slads-bluesky train classifier --phases``.

    Raises
    ------
    RecordError
        If it cannot be written, or there is a ``phases.yml`` already.
    """
    path = directory / "phases.yml"
    if path.exists():
        raise RecordError(f"{path} is there already")
    phases: dict[str, Any] = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for number, (phase, rows) in enumerate(collected.spectra.items()):
            stem = f"{number:02d}-{re.sub(r'[^A-Za-z0-9.+-]', '_', phase)}"
            names = [f"{stem}-{i:03d}.msa" for i in range(len(rows))]
            for name, row, live_s in zip(names, rows, collected.live_time_s[phase], strict=True):
                write_emsa(
                    directory / name,
                    row,
                    collected.axis,
                    title=phase,
                    when=collected.started,
                    live_time_s=float(live_s),
                    beam_energy_kev=collected.beam_kev,
                )
            phases[phase] = {"files": names}
        content: dict[str, Any] = {"phases": phases, "axis": collected.axis.to_json()}
        if np.isfinite(collected.beam_kev):
            content["beam_energy_kev"] = collected.beam_kev
        with atomic_write(path) as partial:
            partial.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{directory}: cannot be written ({error.strerror})") from error
    return path
