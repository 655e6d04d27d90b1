"""Phases found in real spectra, beside a multinomial EM of a full raster that is told their number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agent_settings import AgentSettings
from ...discovering_agent import DiscoveringAgent, search_settings
from ...errors import DataError
from ...grid import ScanGrid
from ...progress import Progress, no_progress
from ...sampling.learned.model import shipped_model
from ...spectra.discovery import PhaseDiscovery
from ...spectra.io.emsa import read_emsa
from ...spectra.io.maps import read_map
from .unknown_specimens import adjusted_rand_index

__all__ = ["map_dacite", "map_minerals"]

DACITE = "p45_dacite.npz"
DACITE_KEV = 15.0
FRACTION = 0.15
MOST = 24
BIN = 8


def map_minerals(folder: Path, counts: float, seed: int, n: int = 600) -> dict[str, Any]:
    """Group thinned real spectra of EDAX minerals; Rand index of ours, and of EM given their number.

    Raises
    ------
    DataError
        If there are none in the folder.
    """
    files = sorted((folder / "edax_minerals").glob("*.msa"))
    if not files:
        raise DataError(f"{folder}: no edax_minerals/*.msa")
    whole = [np.asarray(read_emsa(path).counts, np.float64).ravel() for path in files]
    length = min(len(w) for w in whole)
    shapes = np.array([w[:length] / w[:length].sum() for w in whole])
    rng = np.random.default_rng([seed, 16])
    truth = rng.integers(0, len(files), n)
    spectra = rng.poisson(counts * shapes[truth])
    found = PhaseDiscovery(most=MOST)
    for i, spectrum in enumerate(spectra):
        found.ingest(i, spectrum)
    ours = np.array([found.call(i).label for i in range(n)])
    rival = multinomial_em(np.add.reduceat(spectra, np.arange(0, length, BIN), axis=1), len(files), rng)
    return {
        "specimen": f"EDAX minerals at {counts:g} counts", "phases": len(files), "found": len(found.phases),
        "ours": adjusted_rand_index(truth, ours), "em": adjusted_rand_index(truth, rival),
    }  # fmt: skip


def map_dacite(folder: Path, seed: int, progress: Progress = no_progress) -> dict[str, Any] | None:
    """Map the dacite from a part of its pixels; None without the file.

    The reference is the segmentation that came with the file, itself by EM on the same counts: the rival is near to
    it by its making.
    """
    path = folder / DACITE
    if not path.is_file():
        return None
    source = read_map(path)
    if source.labels is None:
        raise DataError(f"{path}: holds no segmentation")
    rows, columns = source.shape
    search = search_settings(source.axis, most=MOST, beam_energy_kev=DACITE_KEV)
    settings = AgentSettings(
        ScanGrid((rows, columns)), MOST, fraction=FRACTION, seed=seed, more={"discovery": search}
    )
    agent = DiscoveringAgent.from_settings(settings, shipped_model())
    while not agent.should_stop():
        at = agent.suggest(1)[0]
        agent.ingest(
            {"data": {"scan_pixel": at.pixel, "scan_erd": at.erd, "eds_spectrum": source.spectra[at.pixel]}}
        )
        progress("dacite", agent.n_measured / (FRACTION * rows * columns))
    truth = source.labels.ravel()
    binned = np.add.reduceat(
        source.spectra.astype(np.int64), np.arange(0, source.axis.n_channels, BIN), axis=1
    )
    rival = multinomial_em(binned, int(truth.max()), np.random.default_rng([seed, 45]))
    return {
        "specimen": f"dacite, {FRACTION:.0%} of the pixels", "phases": int(truth.max()),
        "found": len(agent.discovery.phases),
        "ours": adjusted_rand_index(truth, agent.sampler.reconstruct().ravel()),
        "em": adjusted_rand_index(truth, rival),
    }  # fmt: skip


def multinomial_em(
    counts: NDArray[np.int64], k: int, rng: np.random.Generator, starts: int = 5
) -> NDArray[np.int64]:
    """Labels (n,) by multinomial EM of a given number of phases, the best of some starts."""
    best, labels = -np.inf, np.zeros(len(counts), np.int64)
    for _ in range(starts):
        shapes = counts[rng.choice(len(counts), k, replace=False)] + 0.5
        for _ in range(60):
            log = counts @ np.log(shapes / shapes.sum(1, keepdims=True)).T
            weights = np.exp(log - log.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            shapes = weights.T @ counts + 0.1
        value = float(log.max(1).sum())
        if value > best:
            best, labels = value, log.argmax(1)
    return labels
