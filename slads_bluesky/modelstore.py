"""Where trained models are kept: a cache in the user's folder, and beside the record of the runs that used them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import ConfigError

__all__ = ["cache_directory", "keep_models", "model_directory"]


def cache_directory() -> Path:
    """Where trained models are cached, by the conventions of the platform."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("slads-bluesky", appauthor=False)) / "models"


def model_directory(record: Path) -> Path:
    """Where a record keeps the models of its runs."""
    return record / "models"


def keep_models(directory: Path, *models: Any) -> list[Path]:
    """Save the models of a run beside its record, named by their hashes, so that a replay finds them.

    Parameters
    ----------
    directory : Path
        For instance ``models/`` in the directory of the record; made if it is not there.
    *models : model of a sampler, or classifier
        None for a sampler that has no model.

    Returns
    -------
    list of Path
        Where they are, those that are None left out.

    Raises
    ------
    ConfigError
        If they cannot be written.
    """
    paths = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for model in models:
            if model is None:
                continue
            paths.append(directory / f"{model.sha256}.safetensors")
            if not paths[-1].exists():
                model.save(paths[-1])
    except OSError as error:
        raise ConfigError(f"{directory}: models cannot be kept there ({error.strerror})") from error
    return paths
