"""Maps of specimens whose phases nobody gave: how many are found, and what not knowing them costs.

A trial draws spectra of simulated objects, devices left out (`unknown_specimens`). The same sampler, from the same
start and with the phases known, calls each spectrum by the greatest likelihood.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...agent_settings import AgentSettings
from ...discovering_agent import DiscoveringAgent, search_settings
from ...grid import ScanGrid
from ...progress import Progress, no_progress
from ...sampling.factory import make_sampler
from ...sampling.learned.model import shipped_model
from ...spectra.discovery import ElementPrior, PhaseDiscovery
from ..figures import Figure, at_least, at_most, equal, measured
from ..store import TrialStore
from .unknown_real import map_dacite, map_minerals
from .unknown_specimens import Specimen, adjusted_rand_index, make_specimen, matched_phases

__all__ = ["measure_unknown", "take_trial", "unknown_figures"]

MOST = 12
MINERAL_COUNTS = (300.0, 3000.0)
LEAST_DISTORTION_PX = 1.0
"""Distortions under one pixel of the map count as one pixel in a ratio."""


def take_trial(specimen: Specimen, seed: int, *, known: bool) -> dict[str, Any]:
    """Map a specimen without knowing its phases; with `known`, from the same start with them as well.

    Returns
    -------
    dict
        JSON: ``phases``, ``found``, ``matched``, ``invented``; distortions ``td`` and ``td_known``; ``dose`` over
        that of the known map; ``rand``, the adjusted Rand index of the measured pixels; ``complete_at``, the part of
        the pixels that was measured when all phases had been found, NaN where they never were.
    """
    rows, columns = specimen.truth.shape
    phantom = specimen.phantom
    search = search_settings(phantom.axis, most=MOST, beam_energy_kev=phantom.recipe.beam_kev)
    settings = AgentSettings(
        ScanGrid((rows, columns)), MOST, fraction=specimen.fraction, seed=seed, more={"discovery": search}
    )
    agent = DiscoveringAgent.from_settings(settings, shipped_model())
    rng = np.random.default_rng([seed, 21])
    pixels: list[int] = []
    counts, n_phases, complete = 0, len(np.unique(specimen.truth)), float("nan")
    majority = specimen.majority.ravel()
    began = time.process_time()
    while not agent.should_stop():
        at = agent.suggest(1)[0]
        spectrum = specimen.expose(at.pixel, len(pixels) * specimen.dwell_s, rng)
        pixels.append(at.pixel)
        counts += int(spectrum.sum())
        agent.ingest({"data": {"scan_pixel": at.pixel, "scan_erd": at.erd, "eds_spectrum": spectrum}})
        if agent.news_is_due and np.isnan(complete):
            agent.news()
            labels = np.maximum(agent.sampler.measured.ravel()[pixels], 0)
            if matched_phases(majority[pixels], labels)[0] == n_phases:
                complete = len(pixels) / majority.size
    took = time.process_time() - began
    called = np.maximum(agent.sampler.measured.ravel()[pixels], 0)
    matched, invented = matched_phases(majority[pixels], called)
    trial: dict[str, Any] = {
        "specimen": specimen.name, "seed": seed, "phases": n_phases, "found": len(agent.discovery.phases),
        "matched": matched, "invented": invented, "td": _distortion(specimen, agent.sampler.reconstruct()),
        "rand": adjusted_rand_index(majority[pixels], called), "complete_at": complete, "cpu_s": took,
        "td_known": None, "dose": None,
    }  # fmt: skip
    if known:
        trial["td_known"], counts_known = _known(specimen, seed)
        trial["dose"] = counts / counts_known
    return trial


def _known(specimen: Specimen, seed: int) -> tuple[float, int]:
    """Distortion of the map whose phases were known, and its counts."""
    rows, columns = specimen.truth.shape
    shapes = specimen.shapes
    sampler = make_sampler("learned", (rows, columns), labels=len(shapes), model=shipped_model(), seed=seed)
    rng = np.random.default_rng([seed, 21])
    log_shapes = np.log(shapes + 1e-12)
    counts = 0
    for i in range(round(specimen.fraction * specimen.truth.size)):
        pixel = sampler.suggest(1)[0].pixel
        spectrum = specimen.expose(pixel, i * specimen.dwell_s, rng)
        counts += int(spectrum.sum())
        sampler.ingest(pixel, int((log_shapes @ spectrum).argmax()) + 1)
    return float((sampler.reconstruct() != specimen.majority).mean()), counts


def _distortion(specimen: Specimen, found: Any) -> float:
    """Distortion under the best exchange of labels."""
    from ...simulation.unknown import best_exchange

    return float((best_exchange(specimen.majority, found)[found] != specimen.majority).mean())


def speed(seed: int = 0) -> dict[str, float]:
    """Median time of an ingest with 8 phases, and of calling 50,000 spectra again, s."""
    specimen = make_specimen("rock-64", seed)
    rng = np.random.default_rng(seed)
    phantom = specimen.phantom
    elements = ElementPrior.of(phantom.axis, phantom.recipe.beam_kev, 8)
    found, taken = PhaseDiscovery(elements=elements), []
    for pixel in rng.permutation(4096)[:600].tolist():
        spectrum = specimen.expose(pixel, 0.0, rng)
        began = time.perf_counter()
        found.ingest(pixel, spectrum)
        taken.append(time.perf_counter() - began)
    bins = np.tile(np.array(found._bins), (84, 1))[:50_000]
    began = time.perf_counter()
    found._called(bins)
    return {"ingest_s": float(np.median(taken)), "calls_s": time.perf_counter() - began}


def measure_unknown(
    objects: Sequence[str],
    runs: int,
    seeds: int,
    *,
    data: Path | None = None,
    keep: Path | None = None,
    minutes: float | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Run all trials; see `unknown_figures`.

    Parameters
    ----------
    objects : sequence of str
        Names of `make_specimen`.
    runs : int
        Of pbsn and powder, each; of any other object `seeds`.
    seeds : int
        Specimens of each object; the first run of each has its rival that knows the phases.
    data : Path, optional
        Folder of real spectra.
    keep : Path, optional
        Folder of trials; those that it holds, of this very search, are not run again.
    minutes : float, optional
        No trial is begun after this time.
    """
    began = time.monotonic()
    store = None if keep is None else TrialStore(keep, _code())
    jobs = [
        (name, run)
        for name in objects
        for run in range(seeds if name.startswith("rock-") else max(runs, seeds))
    ]
    jobs.sort(key=lambda job: job[1])
    trials, missing = [], 0
    for i, (name, run) in enumerate(jobs):
        kept = None if store is None else store.load(f"{name}-{run}")
        if kept is None and minutes is not None and time.monotonic() - began > 60.0 * minutes:
            missing += 1
            continue
        progress(f"{name}, run {run}", i / len(jobs))
        if kept is None:
            kept = take_trial(make_specimen(name, run % seeds), run, known=run < seeds)
            if store is not None:
                store.save(f"{name}-{run}", kept)
        trials.append({key: value for key, value in kept.items() if key != "program_version"})
    found: dict[str, Any] = {
        "trials": trials,
        "missing": missing,
        "seeds": seeds,
        "speed": speed(),
        "real": [],
    }
    if data is not None:
        found["real"] = [map_minerals(data, counts, 0) for counts in MINERAL_COUNTS]
        dacite = map_dacite(data, 0, progress)
        found["real"] += [] if dacite is None else [dacite]
    return found


def _code() -> str:
    """Hash of the search, its agent, the specimens and this file: trials of others are not used."""
    from ... import discovering_agent, phantom
    from ...spectra import discovery

    here = Path(__file__)
    digest = hashlib.sha256(here.read_bytes())
    folders = [Path(str(module.__file__)).parent for module in (discovery, phantom)]
    files = [path for folder in folders for path in folder.glob("*.py")]
    for path in sorted(
        [*files, Path(str(discovering_agent.__file__)), here.with_name("unknown_specimens.py")]
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def unknown_figures(found: dict[str, Any]) -> list[Figure]:
    """Rows of the issue's figures."""
    trials = found["trials"]
    figures: list[Figure] = []
    plain = [t for t in trials if not t["specimen"].startswith("rock-")]
    if plain:
        names = " and ".join(dict.fromkeys(t["specimen"] for t in plain))
        right = float(np.mean([t["found"] == t["phases"] for t in plain]))
        figures.append(at_least(f"{names}: right number of phases, part of {len(plain)} runs", right, 0.95))
    for name in dict.fromkeys(t["specimen"] for t in plain):
        figures += _cost(name, [t for t in plain if t["specimen"] == name and t["td_known"] is not None])
    for name in dict.fromkeys(t["specimen"] for t in trials if t["specimen"].startswith("rock-")):
        mine = [t for t in trials if t["specimen"] == name]
        every = float(np.mean([t["matched"] == t["phases"] for t in mine]))
        figures.append(
            at_least(f"{name}: all 8 found by 15 % of the pixels, part of {len(mine)} runs", every, 0.9)
        )
        figures.append(measured(f"{name}: phases found, least", min(t["matched"] for t in mine)))
        worst = max(t["invented"] for t in mine)
        figures.append(
            at_most(f"{name}: phases invented, most", float(worst), 0)
            if name.endswith("-imperfect")
            else measured(f"{name}: phases invented, most", worst)
        )
    for row in found["real"]:
        figures.append(
            at_least(
                f"{row['specimen']}: Rand index less that of EM with the number known",
                row["ours"] - row["em"],
                0.0,
            )
        )
        figures.append(measured(f"{row['specimen']}: Rand index", row["ours"]))
    took = found["speed"]
    figures.append(at_most("ingest of a spectrum with 8 phases, median", took["ingest_s"] * 1e3, 2, "ms"))
    figures.append(at_most("calling 50,000 spectra again", took["calls_s"], 3, "s"))
    figures.append(equal("trials not run yet", found["missing"], 0))
    return figures


def _cost(name: str, trials: list[dict[str, Any]]) -> list[Figure]:
    """What not knowing the phases costs one object."""
    if not trials:
        return []
    size = int(name.partition("-")[2]) ** 2
    least = LEAST_DISTORTION_PX / size
    ratios = [max(t["td"], least) / max(t["td_known"], least) for t in trials]
    about = f"over that of the run that knew the phases, {len(trials)} seeds"
    return [
        at_most(f"{name}: distortion at 10 % {about}, median", float(np.median(ratios)), 1.3),
        measured(f"{name}: distortion at 10 % {about}, worst", float(max(ratios))),
        at_most(f"{name}: dose {about}, median", float(np.median([t["dose"] for t in trials])), 1.3),
    ]
