"""Maps of specimens whose phases nobody gave: how many are found, and what not knowing them costs.

A specimen here is a label image with a spectral shape for each label; an exposure draws Poisson counts of a mean
total. The same sampler, with the phases known, calls each spectrum by the greatest likelihood.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from ...agent_settings import AgentSettings
from ...discovering_agent import DiscoveringAgent
from ...errors import DataError
from ...grid import ScanGrid
from ...phantom import make_labels, make_object
from ...progress import Progress, no_progress
from ...sampling.factory import make_sampler
from ...sampling.learned.model import shipped_model
from ...spectra.discovery.phases import PhaseDiscovery
from ..figures import Figure, at_least, at_most, measured
from ..spectra.detectors import chernoff_distance

__all__ = ["Trial", "measure_unknown", "rand_index", "unknown_figures"]

MOST = 12
NEAR_COUNTS = 500.0
"""Counts by the Chernoff distance between the two phases of the eight that are alike."""
RARE = (0.008, 0.006)
"""Parts of the area of the two rare phases of the eight."""


@dataclass(frozen=True)
class Specimen:
    """A label image and the spectral shape of each label."""

    name: str
    truth: NDArray[np.uint8]
    shapes: NDArray[np.float64]
    """(L, channels), each of sum 1."""

    def expose(self, pixel: int, counts: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a spectrum of a mean total."""
        return np.asarray(rng.poisson(counts * self.shapes[int(self.truth.flat[pixel]) - 1]), np.int64)


@dataclass(frozen=True)
class Trial:
    """One map, with and without knowing the phases."""

    specimen: str
    seed: int
    counts: float
    phases: int
    found: int
    td: float
    td_known: float
    rand: float
    """Adjusted Rand index of the measured pixels."""


def rand_index(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Adjusted Rand index of two labellings (n,): 1 for the same groups, 0 by chance (Hubert and Arabie 1985)."""
    _, i = np.unique(a, return_inverse=True)
    _, j = np.unique(b, return_inverse=True)
    table = np.zeros((i.max() + 1, j.max() + 1))
    np.add.at(table, (i, j), 1.0)
    pairs, rows, columns = (float((v * (v - 1) / 2).sum()) for v in (table, table.sum(1), table.sum(0)))
    n = float(len(i))
    by_chance = rows * columns / (n * (n - 1) / 2)
    return (pairs - by_chance) / max((rows + columns) / 2 - by_chance, 1e-12)


def take_trial(specimen: Specimen, seed: int, *, fraction: float, counts: float) -> Trial:
    """Map a specimen twice, from the same start: phases unknown, and known."""
    shape, channels = specimen.truth.shape, specimen.shapes.shape[1]
    settings = AgentSettings(
        ScanGrid((shape[0], shape[1])), MOST, fraction=fraction, seed=seed,
        more={"discovery": {"n_channels": channels, "most": MOST}},
    )  # fmt: skip
    agent = DiscoveringAgent.from_settings(settings, shipped_model())
    rng = np.random.default_rng([seed, 21])
    pixels: list[int] = []
    while not agent.should_stop():
        pixel = agent.suggest(1)[0].pixel
        pixels.append(pixel)
        spectrum = specimen.expose(pixel, counts, rng)
        agent.ingest({"data": {"scan_pixel": pixel, "eds_spectrum": spectrum, "eds_verdict": "low_counts"}})
    found = agent.discovery
    labels = np.array([found.call(pixel).label for pixel in pixels])
    return Trial(
        specimen.name,
        seed,
        counts,
        len(np.unique(specimen.truth)),
        len(found.phases),
        _distortion(specimen.truth, agent.sampler.reconstruct()),
        _known(specimen, seed, fraction, counts),
        rand_index(specimen.truth.ravel()[pixels], labels),
    )


def _known(specimen: Specimen, seed: int, fraction: float, counts: float) -> float:
    """Distortion of the map whose phases were known."""
    shape = specimen.truth.shape
    sampler = make_sampler(
        "learned", (shape[0], shape[1]), labels=len(specimen.shapes), model=shipped_model(), seed=seed
    )
    rng = np.random.default_rng([seed, 21])
    log_shapes = np.log(specimen.shapes + 1e-12)
    for _ in range(round(fraction * specimen.truth.size)):
        pixel = sampler.suggest(1)[0].pixel
        sampler.ingest(pixel, int((log_shapes @ specimen.expose(pixel, counts, rng)).argmax()) + 1)
    return float((sampler.reconstruct() != specimen.truth).mean())


def _distortion(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> float:
    """Distortion under the best exchange of labels."""
    from ...simulation.unknown import best_exchange

    return float((best_exchange(truth, found)[found] != truth).mean())


def of_object(name: str, seed: int) -> Specimen:
    """The specimen of a simulated object: its truth and mean spectra."""
    phantom = make_object(name, seed)
    shapes = phantom.templates.sum(axis=1).astype(np.float64)
    return Specimen(name, phantom.truth, shapes / shapes.sum(axis=1, keepdims=True))


def of_eight(size: int, seed: int) -> Specimen:
    """Eight phases: powder grains over a matrix, two rare ones, and two whose spectra are alike.

    The spectra are sums of peaks over a background, at energies drawn from the seed; the last two shapes differ so
    much that `NEAR_COUNTS` counts separate them (Chernoff).
    """
    rng = np.random.default_rng([seed, 8])
    channels = np.arange(1024)
    background = np.exp(-channels / 300.0) * (1 - np.exp(-channels / 40.0))
    background /= background.sum()
    shapes = []
    for _ in range(7):
        lines = rng.uniform(60, 800, 4)
        heights = rng.dirichlet(np.ones(4))
        peaks = sum(
            h * np.exp(-0.5 * ((channels - e) / 6.0) ** 2) for h, e in zip(heights, lines, strict=True)
        )
        shapes.append(0.4 * background + 0.6 * peaks / peaks.sum())
    other = shapes[int(rng.integers(0, 6))]

    def apart(part: float) -> float:
        return chernoff_distance(shapes[6], (1 - part) * shapes[6] + part * other) - 1.0 / NEAR_COUNTS

    part = brentq(apart, 1e-4, 0.9)
    shapes.append((1 - part) * shapes[6] + part * other)
    base = np.asarray(make_labels("powder", size, seed, "test"))
    truth = _eight_labels(base, size, rng)
    return Specimen(f"eight-{size}", truth, np.array(shapes))


def _eight_labels(base: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Give whole grains of a powder one of eight labels, two of them to `RARE` of the area."""
    from scipy.ndimage import label as connected

    truth = np.ones(base.shape, np.uint8)
    grains: list[NDArray[np.int64]] = []
    for value in np.unique(base)[1:]:
        numbered, n = connected(base == value)
        grains += [np.flatnonzero(numbered == i) for i in range(1, n + 1)]
    order = rng.permutation(len(grains))
    wanted = {3: RARE[0], 4: RARE[1]}
    area = dict.fromkeys(range(2, 9), 0)
    for g in order.tolist():
        short = [k for k, part in wanted.items() if area[k] < 0.8 * part * truth.size and len(grains[g]) > 4]
        short = [k for k in short if area[k] + len(grains[g]) < 1.2 * wanted[k] * truth.size]
        k = short[0] if short else min((2, 5, 6, 7, 8), key=lambda k: area[k])
        truth.flat[grains[g]] = k
        area[k] += len(grains[g])
    return truth


def minerals(folder: Path, counts: float, seed: int, n: int = 600) -> tuple[float, float, int]:
    """Thinned real spectra of EDAX minerals: Rand index ours, of EM given their number, and phases found."""
    from ...spectra.io.emsa import read_emsa

    files = sorted((folder / "edax_minerals").glob("*.msa"))
    if not files:
        raise DataError(f"{folder}: no edax_minerals/*.msa")
    whole = [np.asarray(read_emsa(path).counts, np.float64).ravel() for path in files]
    length = min(len(w) for w in whole)
    shapes = np.array([w[:length] / w[:length].sum() for w in whole])
    rng = np.random.default_rng([seed, 16])
    truth = rng.integers(0, len(files), n)
    spectra = rng.poisson(counts * shapes[truth])
    found = PhaseDiscovery(most=24)
    for i, spectrum in enumerate(spectra):
        found.ingest(i, spectrum)
    ours = np.array([found.call(i).label for i in range(n)])
    rival = _em(np.add.reduceat(spectra, np.arange(0, length, 8), axis=1), len(files), rng)
    return rand_index(truth, ours), rand_index(truth, rival), len(found.phases)


def _em(counts: NDArray[np.int64], k: int, rng: np.random.Generator, starts: int = 5) -> NDArray[np.int64]:
    """Labels by multinomial EM of a given number of phases, the best of some starts."""
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


def speed(seed: int = 0) -> dict[str, float]:
    """Median time of an ingest with 8 phases, and of calling 50,000 spectra again, s."""
    specimen = of_eight(64, seed)
    rng = np.random.default_rng(seed)
    found, taken = PhaseDiscovery(), []
    for pixel in rng.permutation(4096)[:600].tolist():
        spectrum = specimen.expose(pixel, 300.0, rng)
        began = time.perf_counter()
        found.ingest(pixel, spectrum)
        taken.append(time.perf_counter() - began)
    bins = np.tile(np.array(found._bins), (84, 1))[:50_000]
    began = time.perf_counter()
    found._called(bins)
    return {"ingest_s": float(np.median(taken)), "calls_s": time.perf_counter() - began}


def measure_unknown(
    objects: tuple[str, ...], seeds: int, *, data: Path | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """Run all trials; see `unknown_figures`."""
    jobs: list[tuple[str, int]] = [(name, seed) for name in objects for seed in range(seeds)]
    trials = []
    for i, (name, seed) in enumerate(jobs):
        progress(f"{name}, seed {seed}", i / len(jobs))
        if name.startswith("eight-"):
            specimen, fraction, counts = of_eight(int(name.partition("-")[2]), seed), 0.15, 400.0
        else:
            specimen, fraction, counts = of_object(name, seed), 0.10, 60.0
        trials.append(take_trial(specimen, seed, fraction=fraction, counts=counts))
    found: dict[str, Any] = {"trials": [vars(t) for t in trials], "speed": speed()}
    if data is not None:
        found["minerals"] = [dict(zip(("ours", "em", "found"), minerals(data, c, 0), strict=True), counts=c)
                             for c in (300.0, 3000.0)]  # fmt: skip
    return found


def unknown_figures(found: dict[str, Any]) -> list[Figure]:
    """Rows of the issue's figures."""
    figures = []
    for name in dict.fromkeys(t["specimen"] for t in found["trials"]):
        trials = [t for t in found["trials"] if t["specimen"] == name]
        right = float(np.mean([t["found"] == t["phases"] for t in trials]))
        goal = 0.9 if name.startswith("eight-") else 0.95
        figures.append(
            at_least(f"{name}: runs with the right number of phases, of {len(trials)}", right, goal)
        )
        if not name.startswith("eight-"):
            ratio = float(np.median([t["td"] / max(t["td_known"], 1.0 / 16384) for t in trials]))
            figures.append(
                at_most(f"{name}: distortion at 10 % over that with known phases, median", ratio, 1.3)
            )
        else:
            invented = max(t["found"] - t["phases"] for t in trials)
            figures.append(at_most(f"{name}: phases invented, most", float(max(invented, 0)), 0))
    figures.append(
        at_most("ingest of a spectrum with 8 phases, median", found["speed"]["ingest_s"] * 1e3, 2, "ms")
    )
    figures.append(at_most("calling 50,000 spectra again", found["speed"]["calls_s"], 3, "s"))
    for row in found.get("minerals", []):
        name = f"EDAX minerals at {row['counts']:g} counts: Rand index over that of EM with the number known"
        figures.append(at_least(name, row["ours"] - row["em"], 0.0))
        figures.append(measured(f"EDAX minerals at {row['counts']:g} counts: Rand index", row["ours"]))
    return figures
