"""The models that a map of a simulated object needs: trained on other objects of its kind, or from a cache."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..codehash import code_hash
from ..errors import ConfigError, ModelFileError
from ..files import locked
from ..modelstore import cache_directory
from ..progress import Progress, no_progress
from ..protocols import Classifier

__all__ = ["Models", "prepare_models"]

_log = logging.getLogger(__name__)

TRAINING_IMAGES = 2
"""Label images that SLADS is trained on, as many as the paper shows (its Figs. 3 and 4)."""

SPECTRA_PER_PHASE = 24
"""The paper's number: half to train, half to validate (3.1.3)."""

SAMPLERS = ("slads", "learned", "joint")
CLASSIFIERS = ("paper", "likelihood")


class _Model(Protocol):
    def save(self, path: Path) -> Any: ...


M = TypeVar("M", bound=_Model)


@dataclass(frozen=True)
class Models:
    """What a map needs besides a microscope."""

    sampler_name: str
    """As `slads_bluesky.sampling.factory.make_sampler` knows it."""
    sampler: Any
    """The sampler's trained model."""
    classifier: Classifier


def prepare_models(
    object_name: str,
    *,
    sampler: str = "slads",
    classifier: str = "paper",
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Models:
    """Train, or load from the cache, a sampler and a classifier for objects of a kind and size.

    Nothing that is trained on is part of the object that is measured: label images and spectra come from
    streams of random numbers of their own.

    Parameters
    ----------
    object_name : str
        Such as ``pbsn-128``.
    sampler : {"slads", "learned", "joint"}
        SLADS is trained here; the others come with the program.
    classifier : {"paper", "likelihood"}
        The paper's two networks, or the likelihood under each phase's template.
    seed : int
        Seed of the training; another seed trains on other images and spectra.
    cache : Path, optional
        Directory to keep models in; by default `cache_directory`.
    progress : callable, optional
        Called as ``progress(stage, fraction)``; nothing is called where all comes from the cache.

    Returns
    -------
    Models

    Raises
    ------
    ConfigError
        If there is no such object, sampler or classifier, or the cache cannot be written.
    """
    from ..phantom.recipes import RECIPES

    kind, _, size = object_name.partition("-")
    if kind not in RECIPES or not size.isdigit():
        raise ConfigError(f"unknown object '{object_name}'")
    if sampler not in SAMPLERS:
        raise ConfigError(f"unknown sampler '{sampler}'; known: {', '.join(SAMPLERS)}")
    if classifier not in CLASSIFIERS:
        raise ConfigError(f"unknown classifier '{classifier}'; known: {', '.join(CLASSIFIERS)}")
    directory = cache if cache is not None else cache_directory()
    facts: dict[str, Any] = {"kind": kind, "seed": seed, "code": code_hash("slads_bluesky.simulation.models")}
    if sampler == "slads":
        of_size = {**facts, "size": int(size)}
        model = _cached(
            directory, "slads", of_size, lambda: _train_slads(kind, int(size), seed, progress), _load_slads
        )
    elif sampler == "joint":
        from ..sampling.joint.model import shipped_joint_model

        model = shipped_joint_model()
    else:
        from ..sampling.learned.model import shipped_model

        model = shipped_model()
    trained = _cached(
        directory,
        f"{classifier}-classifier",
        facts,
        lambda: _train_classifier(classifier, kind, seed, progress),
        _load_classifier,
    )
    return Models(sampler, model, trained)


def _train_slads(kind: str, size: int, seed: int, progress: Progress) -> Any:
    from ..phantom import make_labels
    from ..sampling import train_slads

    seeds = range(seed * TRAINING_IMAGES, (seed + 1) * TRAINING_IMAGES)
    images = [make_labels(kind, size, s, "train") for s in seeds]  # type: ignore[arg-type]
    return train_slads(
        images, seed=seed, progress=lambda stage, done: progress(f"training SLADS: {stage}", done)
    )


def _load_slads(path: Path) -> Any:
    from ..sampling import SladsModel

    return SladsModel.load(path)


def _train_classifier(name: str, kind: str, seed: int, progress: Progress) -> Any:
    from ..phantom import training_spectra
    from ..phantom.recipes import RECIPES

    spectra, axis = training_spectra(kind, seed, SPECTRA_PER_PHASE), RECIPES[kind].axis
    if name == "paper":
        from ..spectra.paper.training import train_paper_classifier

        return train_paper_classifier(
            spectra, axis, seed=seed, progress=lambda stage, done: progress(f"training the {stage}", done)
        )
    from ..spectra import PhaseClassifier

    progress("training the classifier", 0.0)
    yields = tuple(float(counts.sum(axis=1).mean()) for counts in spectra.values())
    noise = RECIPES[kind].noise_rate
    return PhaseClassifier.from_spectra(spectra, axis, seed=seed, noise_lambda=noise, yields=yields)


def _load_classifier(path: Path) -> Any:
    from ..spectra import load_classifier

    return load_classifier(path)


def _cached(
    directory: Path, name: str, facts: dict[str, Any], make: Callable[[], M], load: Callable[[Path], M]
) -> M:
    """Load what `facts` describe; make and keep it where it is missing or damaged, one process at a time."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    path = directory / f"{name}-{facts['kind']}-{digest}.safetensors"
    try:
        if path.exists():
            return load(path)
    except ModelFileError as error:
        _log.warning("%s: it is trained again", error)
    try:
        with locked(path.with_name(f".{path.stem}.lock")):
            with suppress(ModelFileError):  # another process may have trained it while this one waited
                if path.exists():
                    return load(path)
            make().save(path)
    except OSError as error:
        raise ConfigError(f"{directory}: models cannot be kept there ({error.strerror})") from error
    return load(path)
