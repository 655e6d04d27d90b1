"""A sparse adaptive map against a fast full raster of equal instrument time: what a user has today.

The raster visits every pixel for the dwell that fits, without settle times; its spectra of few counts are weighed by
the same templates and denoised. Each pixel alone, Gaussian averages, the Potts field and the evidence network of
`sampling.joint` are tried and the best one, by the truth, is taken: the comparison favours the raster. The sparse map
pays each settle time and takes passes as the flyer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...progress import Progress, no_progress
from ..figures import Figure, measured

__all__ = ["measure_against_raster", "raster_figures"]

MINUTES = (1.0, 2.0, 5.0)
BUSY_S, SETTLE_S = 36e-6, 50e-6
SMOOTHINGS = (1.0, 2.0, 4.0)
"""Standard deviations of the Gaussian by which log-likelihoods are averaged, pixels."""
LARGE = 512
"""Side from which on the network looks at a map once, not at four turned copies of it."""


def measure_against_raster(
    object_name: str,
    *,
    minutes: Sequence[float] = MINUTES,
    error: float = 1e-3,
    seed: int = 0,
    most: float = 0.5,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Map an object both ways with the same instrument time.

    Parameters
    ----------
    object_name : str
    minutes : sequence of float
        Instrument times, min.
    error : float
        Of the sparse map's stop rule.
    seed : int
    most : float
        Part of the pixels at which the sparse map ends, whatever time is left.
    progress : callable

    Returns
    -------
    dict
        ``rows``: for each time the distortion of both, the sparse map's fraction, the raster's dwell and its best
        denoising.
    """
    from ...phantom import make_object
    from ...simulation.models import prepare_models

    progress(f"preparing {object_name}", 0.0)
    phantom = make_object(object_name, seed)
    models = prepare_models(object_name, sampler="learned", classifier="likelihood", seed=seed)
    times = [60.0 * m for m in minutes]
    sparse = _sparse(phantom, models, times, error, seed, most, progress)
    rows = []
    for k, (time_s, mapped) in enumerate(zip(times, sparse, strict=True)):
        progress(f"{object_name}: raster of {minutes[k]:g} min", 0.7 + 0.3 * k / len(times))
        td, how, dwell = _raster(phantom, models, time_s, seed)
        rows.append(
            {"minutes": minutes[k], **mapped, "raster_td": td, "raster_best": how, "raster_dwell_us": dwell}
        )
    return {"object": object_name, "rows": rows}


def _sparse(
    phantom: Any, models: Any, times: list[float], error: float, seed: int, most: float, progress: Progress
) -> list[dict[str, Any]]:
    """Distortion of the sparse map at each instrument time, s; of the whole map's state then."""
    from ...devices.mapping import FIRST_PART
    from ...plans.batches import auto_batch
    from ...sampling import LearnedSampler
    from ...spectra import SequentialTest

    truth = phantom.truth
    sampler = LearnedSampler(truth.shape, labels=len(phantom.phases), seed=seed)
    rule: Any = SequentialTest(models.classifier, error, 10.0)
    spent, n, visits = 0.0, 0, 0
    decided: list[float] = []
    under_way: list[list[int]] = []
    out: list[dict[str, Any]] = []
    while len(out) < len(times):
        pending = [pixel for points in under_way for pixel in points]
        if n < most * truth.size:
            asked = auto_batch(n, truth.size)
            found = sampler.suggest(asked) if not pending else sampler.suggest_besides(asked, pending)
            under_way.append([s.pixel for s in found])
            if n == 0 and len(under_way) == 1:
                continue
        if not under_way:
            spent = max(spent, times[len(out)])
        else:
            first = FIRST_PART * float(np.median(decided[-201:])) if len(decided) >= 20 else 1e-3
            for pixel in under_way.pop(0):
                label, real, passes = _decide(phantom, rule, pixel, first)
                spent += real + passes * SETTLE_S
                visits += passes
                decided.append(real)
                sampler.ingest(pixel, label)
                n += 1
        progress(f"{phantom.name}: sparse map", 0.7 * min(1.0, spent / times[-1]))
        while len(out) < len(times) and spent >= times[len(out)]:
            td = float((sampler.reconstruct() != truth).mean())
            out.append({"sparse_td": td, "sparse_fraction": n / truth.size, "passes": visits / max(n, 1)})
    return out


def _decide(phantom: Any, rule: Any, pixel: int, first_s: float) -> tuple[int, float, int]:
    """Label, real time (s) and passes of one pixel, as the flyer takes them."""
    from ...devices.mapping import NEXT_PART, SHORTEST_S

    rule.reset()
    counts, live, real, passes = np.zeros(phantom.axis.n_channels, np.int32), 0.0, 0.0, 0
    following = max(first_s, SHORTEST_S)
    while True:
        more, lived = phantom.brief(pixel, passes, following, BUSY_S)
        counts += more
        live, real, passes = live + lived, real + following, passes + 1
        decision = rule.update(counts, live)
        if decision is not None:
            return (int(decision.label) if decision.verdict == "ok" else 0), real, passes
        following = max(NEXT_PART * real, SHORTEST_S)


def _raster(phantom: Any, models: Any, time_s: float, seed: int) -> tuple[float, str, float]:
    """Distortion of the best denoised raster, how it was denoised, and its dwell in µs."""
    truth = phantom.truth
    dwell = time_s / truth.size
    evidence = _raster_evidence(phantom, models.classifier, dwell, round(seed + time_s))
    tried = [(float((labels != truth).mean()), name) for name, labels in _denoised(evidence)]
    best, how = min(tried)
    return best, how, dwell * 1e6


def _raster_evidence(phantom: Any, classifier: Any, dwell_s: float, seed: int) -> NDArray[np.float64]:
    """(rows, columns, L) log-likelihoods of the phases at every pixel, from the pulses of one dwell."""
    from ...sampling.joint.evidence import robust
    from ...simulation.evidence import EvidenceSource

    rates = (phantom.templates + phantom.recipe.noise_rate).sum(axis=-1) / phantom.full_dwell_s
    labels, choice = phantom.labels.ravel().astype(np.int64), phantom.choice.ravel()
    rate = np.where(labels > 0, rates[np.maximum(labels, 1) - 1, choice], phantom.recipe.ill_rate)
    counts = rate * dwell_s / (1.0 + rate * BUSY_S)
    said, _ = EvidenceSource(phantom, classifier, seed).visit(np.arange(labels.size), counts)
    return robust(said).reshape(*phantom.shape, -1)


def _denoised(evidence: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Label maps by each way of denoising."""
    from scipy import ndimage

    from ...sampling.joint.infer import infer_map
    from ...sampling.joint.mapper import EvidenceMapper
    from ...sampling.joint.model import shipped_joint_model
    from ...sampling.joint.reference import denoise

    yield "each pixel alone", (evidence.argmax(axis=2) + 1).astype(np.uint8)
    for sigma in SMOOTHINGS:
        smooth = ndimage.gaussian_filter(evidence, (sigma, sigma, 0.0))
        yield f"Gaussian, σ = {sigma:g}", (smooth.argmax(axis=2) + 1).astype(np.uint8)
    yield "Potts field", denoise(evidence).labels
    turns = 1 if max(evidence.shape) >= LARGE else 4
    yield "evidence network", infer_map(evidence, EvidenceMapper(shipped_joint_model()), turns=turns).labels


def raster_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the distortion of both ways at each time; whoever wins."""
    out = []
    for row in found["rows"]:
        what = f"{found['object']}, {row['minutes']:g} min"
        out.append(measured(f"{what}: distortion, sparse adaptive map", row["sparse_td"]))
        out.append(measured(f"{what}: distortion, fast raster at its best denoising", row["raster_td"]))
        out.append(measured(f"{what}: the better of both", _winner(row["sparse_td"], row["raster_td"])))
    return out


def _winner(sparse: float, raster: float) -> str:
    return "equal" if sparse == raster else "sparse" if sparse < raster else "raster"
