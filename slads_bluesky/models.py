"""The models that a map of a simulated object needs: trained on other objects of its kind, or from a cache."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .errors import ConfigError, ModelFileError
from .protocols import Classifier

__all__ = ["Models", "cache_directory", "keep_models", "prepare_models"]

_log = logging.getLogger(__name__)

TRAINING_IMAGES = 2
"""Label images that SLADS is trained on, as many as the paper shows (its Figs. 3 and 4)."""

SPECTRA_PER_PHASE = 24
"""The paper's number: half to train, half to validate (3.1.3)."""

Told = Callable[[str], None]


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


def cache_directory() -> Path:
    """Where trained models are kept, by the conventions of the platform."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("slads-bluesky", appauthor=False)) / "models"


def prepare_models(
    object_name: str, *, seed: int = 0, cache: Path | None = None, told: Told | None = None
) -> Models:
    """Train, or load from the cache, a sampler and a classifier for objects of a kind and size.

    Nothing that is trained on is part of the object that is measured: label images and spectra come from
    streams of random numbers of their own.

    Parameters
    ----------
    object_name : str
        Such as ``pbsn-128``.
    seed : int
        Seed of the training; another seed trains on other images and spectra.
    cache : Path, optional
        Directory to keep models in; by default `cache_directory`.
    told : callable, optional
        Told in a few words what is done now.

    Returns
    -------
    Models

    Raises
    ------
    ConfigError
        If there is no such object, or the cache cannot be written.
    """
    from .phantom.recipes import RECIPES

    kind, _, size = object_name.partition("-")
    if kind not in RECIPES or not size.isdigit():
        raise ConfigError(f"unknown object '{object_name}'")
    directory = cache if cache is not None else cache_directory()
    tell = told or (lambda _: None)

    def train_sampler() -> Any:
        from .phantom import make_labels
        from .sampling import train_slads

        tell("training SLADS")
        images = [
            make_labels(kind, int(size), seed * TRAINING_IMAGES + i, "train")  # type: ignore[arg-type]
            for i in range(TRAINING_IMAGES)
        ]
        return train_slads(images, seed=seed)

    def train_classifier() -> Any:
        from .phantom import training_spectra
        from .spectra.training import train_paper_classifier

        tell("training the detection and classification networks")
        spectra = training_spectra(object_name, seed, SPECTRA_PER_PHASE)
        return train_paper_classifier(spectra, RECIPES[kind].axis, seed=seed)

    def load_sampler(path: Path) -> Any:
        from .sampling import SladsModel

        return SladsModel.load(path)

    def load_classifier(path: Path) -> Any:
        from .spectra.paper import PaperClassifier

        return PaperClassifier.load(path)

    facts: dict[str, Any] = {"version": version("slads-bluesky"), "kind": kind, "seed": seed}
    sampler = _cached(directory, "slads", {**facts, "size": int(size)}, train_sampler, load_sampler)
    classifier = _cached(directory, "paper-classifier", facts, train_classifier, load_classifier)
    return Models("slads", sampler, classifier)


def _cached(
    directory: Path, name: str, facts: dict[str, Any], make: Callable[[], M], load: Callable[[Path], M]
) -> M:
    """Load what `facts` describe; make and keep it where it is missing or damaged."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    path = directory / f"{name}-{facts['kind']}-{digest}.safetensors"
    if path.exists():
        try:
            return load(path)
        except ModelFileError as error:
            _log.warning("%s: trained anew", error)
    made = make()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        made.save(path)
    except OSError as error:
        raise ConfigError(f"{directory}: models cannot be kept there ({error.strerror})") from error
    return load(path)


def keep_models(directory: Path, models: Models) -> None:
    """Lay the models of a run beside its record, named by their hashes, so that a replay finds them.

    Parameters
    ----------
    directory : Path
        For instance ``models/`` in the directory of the record; made if it is not there.
    models : Models
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for model in (models.sampler, models.classifier):
            path = directory / f"{model.sha256}.safetensors"
            if not path.exists():
                model.save(path)  # type: ignore[union-attr]
    except OSError as error:
        raise ConfigError(f"{directory}: models cannot be kept there ({error.strerror})") from error
