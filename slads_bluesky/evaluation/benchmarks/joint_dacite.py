"""A measured raster of few counts, denoised, and judged by a second measurement of the same field with more counts.

The map is ``p45/P45_12bit_packed_8bit.bcf`` (about 122 counts a pixel), the judge ``p45_dacite.npz`` (about 615).
Templates are the map's own mean spectra over the segmentation in the npz, taken a few pixels each. The judge labels
each pixel by itself. What a spatial prior can reach at best is asked of an oracle: it knows the judge's labels of the
pixels around, and weighs them and the pixel's own counts by a regression that is fitted to the judge, pixel by pixel
left out by fifths. Where it is no better, the rest is counts of mixed pixels, and displacement of the two maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from ...analysis.denoising import evidence_of
from ...errors import DataError
from ...progress import Progress, no_progress
from ...sampling.joint.infer import infer_map
from ...sampling.joint.mapper import EvidenceMapper
from ...sampling.joint.model import shipped_joint_model
from ...sampling.joint.reference import combine, denoise
from ...spectra import PhaseClassifier
from ...spectra.io.maps import SpectrumMap, read_map
from ..figures import Figure, at_least, measured
from .dacite import JUDGE, SOURCE

__all__ = ["denoised_figures", "measure_denoised", "neighbour_oracle"]

TRAINING = 200
"""Pixels of each phase whose spectra are averaged."""
SURE = 0.99
FOLDS = 5


def measure_denoised(folder: Path, progress: Progress = no_progress, seed: int = 0) -> dict[str, float]:
    """Denoise the map in each way.

    Parameters
    ----------
    folder : Path
        Holds both files.
    progress : callable
    seed : int
        Of the training pixels and of the oracle's fifths.

    Returns
    -------
    dict
        Agreement with the judge of each way: ``alone``, ``reference``, ``network``, ``default``, ``oracle``; with
        ``_sure`` where the judge is sure of itself; ``expected_error`` by the default map itself.

    Raises
    ------
    DataError
        Naming the file that is missing, or what it lacks.
    """
    for name in (SOURCE, JUDGE):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file")
    source, judge = read_map(folder / SOURCE), read_map(folder / JUDGE)
    if judge.labels is None:
        raise DataError(f"{judge.path}: holds no segmentation")
    rng = np.random.default_rng([seed, 0xDAC])
    progress("dacite: weighing the spectra", 0.0)
    evidence = _evidence(source, judge.labels, rng)
    by_judge = _evidence(judge, judge.labels, rng)
    truth = combine(np.zeros_like(by_judge), by_judge)
    labels, sure = truth.argmax(axis=2) + 1, truth.max(axis=2) >= SURE
    progress("dacite: denoising", 0.5)
    mapper = EvidenceMapper(shipped_joint_model())
    best = infer_map(evidence, mapper)
    maps = {
        "alone": evidence.argmax(axis=2) + 1,
        "reference": denoise(evidence).labels,
        "network": mapper(evidence).labels,
        "default": best.labels,
        "oracle": neighbour_oracle(evidence, labels.astype(np.uint8), seed),
    }
    found = {"pixels": float(labels.size), "expected_error": float(best.error.expected)}
    for name, made in maps.items():
        found[name] = float((made == labels).mean())
        found[f"{name}_sure"] = float((made == labels)[sure].mean())
    return found


def _evidence(found: SpectrumMap, labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """Evidence of a map under mean spectra of its own, (rows, columns, L)."""
    flat, spectra = labels.ravel(), {}
    for label in range(1, int(flat.max()) + 1):
        at = np.flatnonzero(flat == label)
        spectra[f"phase {label}"] = found.spectra[rng.permutation(at)[:TRAINING]]
    return evidence_of(found, PhaseClassifier.from_spectra(spectra, found.axis, resolution_ev=130.0))


def neighbour_oracle(
    evidence: NDArray[np.float64], labels: NDArray[np.uint8], seed: int = 0
) -> NDArray[np.uint8]:
    """Label each pixel by its own evidence and the true labels of the pixels around it, as well as a regression can.

    Parameters
    ----------
    evidence : (rows, columns, L) float array
    labels : (rows, columns) uint8
        True labels, 1 … L. A pixel's own is used to fit the regression for other pixels only.
    seed : int

    Returns
    -------
    (rows, columns) uint8 array
    """
    shape, n = labels.shape, evidence.shape[2]
    y, x = np.mgrid[-2:3, -2:3]
    distance = y * y + x * x
    around = []
    for ring in (1, 2, 4, 5):
        kernel = (distance == ring) / float((distance == ring).sum())
        around += [
            ndimage.convolve((labels == k + 1).astype(float), kernel, mode="nearest") for k in range(n)
        ]
    features = np.stack(around, axis=2).reshape(labels.size, -1)
    features = np.concatenate([features, np.ones((labels.size, 1))], axis=1)
    own, truth = evidence.reshape(-1, n), labels.ravel().astype(np.intp) - 1
    fold = np.random.default_rng(seed).integers(0, FOLDS, labels.size)
    out = np.empty(labels.size, np.uint8)
    for k in range(FOLDS):
        rest = fold != k
        out[~rest] = _regression(features[rest], own[rest], truth[rest])(features[~rest], own[~rest])
    return out.reshape(shape)


def _regression(features: NDArray[np.float64], own: NDArray[np.float64], truth: NDArray[np.intp]) -> Any:
    """Multinomial logistic regression on features, with a power of each phase's own evidence."""
    n, m = own.shape[1], features.shape[1]

    def logits(p: NDArray[np.float64], f: NDArray[np.float64], e: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(f @ p[: m * n].reshape(m, n) + e * p[m * n :])

    def loss(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = logits(p, features, own)
        q = np.asarray(combine(z, np.zeros_like(z)), np.float64)
        rows = np.arange(len(truth))
        value = -np.log(np.maximum(q[rows, truth], 1e-12)).mean() + 1e-4 * float(p @ p)
        q[rows, truth] -= 1.0
        slope = np.concatenate([(features.T @ q).ravel(), (q * own).sum(axis=0)]) / len(truth)
        return float(value), slope + 2e-4 * p

    start = np.concatenate([np.zeros(m * n), np.full(n, 0.5)])
    fitted = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return lambda f, e: logits(fitted, f, e).argmax(axis=1) + 1


def denoised_figures(found: dict[str, float]) -> list[Figure]:
    """Agreement with the judge, the goal beside that of the default."""
    titles = {
        "alone": "each pixel alone", "reference": "Potts reference", "network": "network alone",
        "default": "denoised", "oracle": "an oracle that knows the judge's labels around each pixel",
    }  # fmt: skip
    figures = []
    for name, title in titles.items():
        what = f"dacite, agreement with the other measurement, {title}"
        figures.append(
            at_least(what, found[name], 0.98) if name == "default" else measured(what, found[name])
        )
        figures.append(measured(f"{what}, where the judge is sure", found[f"{name}_sure"]))
    return figures
