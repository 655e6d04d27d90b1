"""Samplers by name: what the command line, the agent and the benchmarks choose from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, ModelFileError
from ..protocols import Endmembers, Sampler

__all__ = ["image_network_of", "load_model", "make_sampler", "needs_training", "sampler_names"]

STATIC = ("random", "low-discrepancy")


def sampler_names() -> tuple[str, ...]:
    """Return the samplers that can be made here; ``learned`` where its general model is installed."""
    here = Path(__file__).parent
    learned = (here / "learned" / "general.safetensors").is_file()
    joint = (here / "joint" / "evidence.safetensors").is_file()
    return ("slads", *STATIC, *(("learned",) if learned else ()), *(("joint",) if joint else ()))


def needs_training(name: str) -> bool:
    """Whether a sampler works only with a model that was trained on images of the specimen's kind."""
    check_name(name)
    return name == "slads"


def check_name(name: str) -> None:
    """Raise ConfigError if there is no sampler of that name."""
    if name not in sampler_names():
        raise ConfigError(f"unknown sampler '{name}'; known: {', '.join(sampler_names())}")


def load_model(name: str, path: str | Path) -> Any:
    """Read the model file of the sampler `name`; ModelFileError if it is of another kind."""
    check_name(name)
    if name == "slads":
        from .slads.model import SladsModel

        return SladsModel.load(path)
    if name == "learned":
        from .learned.model import LearnedModel

        model = LearnedModel.load(Path(path))
        if model.sees_images:
            raise ModelFileError(
                f"{path}: its network sees images, and decides only beside one that does not"
            )
        return model
    if name == "joint":
        from .joint.model import JointModel

        return JointModel.load(Path(path))
    raise ConfigError(f"the sampler '{name}' takes no model")


def image_network_of(name: str, interaction_px: float | None = None) -> str | None:
    """Return the hash of the model by which a new map's sampler uses an image; None for one that has none."""
    if name != "learned" or interaction_px:
        return None
    from .learned.model import shipped_image_model

    return shipped_image_model().sha256


def make_sampler(
    name: str,
    shape: tuple[int, int],
    *,
    labels: int | Sequence[int],
    model: Any = None,
    seed: int = 0,
    initial: float | None = None,
    roi: NDArray[np.bool_] | None = None,
    forbidden: NDArray[np.bool_] | None = None,
    stop_at: float | None = None,
    confidence: float | None = None,
    smallest_feature: int | None = None,
    interaction_px: float | None = None,
    endmembers: Endmembers = "evident",
    minimise: str | None = None,
    overhead_counts: float | None = None,
    overhead_s: float | None = None,
    image: NDArray[np.float32] | None = None,
    image_network: str | None = "shipped",
) -> Sampler:
    """Make a sampler.

    Parameters
    ----------
    name : str
        One of `sampler_names`.
    shape : (int, int)
        Rows and columns.
    labels : int or sequence of int
        The labels that may be measured: 1 … n for a number n.
    model : SladsModel, LearnedModel or JointModel, optional
        Needed by ``slads``; ``learned`` and ``joint`` have general ones of their own.
    seed : int
        Seed of the initial mask or of the static order.
    initial : float, optional
        Fraction of the initial mask; each sampler's own by default. Static samplers have none.
    smallest_feature : int, optional
        Pixels of the smallest patch that must not be missed; see `base.GridSampler`.
    interaction_px : float, optional
        Standard deviation of the interaction volume, pixels: samples have abundances (``learned`` and
        ``slads`` only).
    endmembers : {"evident", "always"}
        With `interaction_px`: which corrections of pure phases count; see `endmembers`.
    minimise, overhead_counts, overhead_s : str, float, float, optional
        Of ``joint``: dose, time or both, and what a visit costs besides its counts, in counts or in s; no other
        sampler takes them.
    image : (rows, columns) array, optional
        Grey-level frame of the field; see `base.GridSampler.take_image`.
    image_network : str, optional
        Hash of the model by which ``learned`` uses an image, or "shipped"; None for a map recorded before there was
        one.
    roi, forbidden : (rows, columns) bool arrays, optional
        Region that is mapped, and pixels that must not be measured.
    stop_at : float, optional
        Total distortion at which the sampler's own stop rule is to hold.
    confidence : float, optional
        With `stop_at`: the stop rule holds only once the distortion is not above that with this probability.

    Returns
    -------
    Sampler

    Raises
    ------
    ConfigError
        If there is no such sampler, it lacks a model, or it takes no abundances.
    """
    sampler = _make(
        name, shape, labels, model, seed, initial, roi, forbidden, stop_at, confidence, smallest_feature,
        interaction_px, endmembers, image_network,
        {"minimise": minimise, "overhead_counts": overhead_counts, "overhead_s": overhead_s},
    )  # fmt: skip
    if image is not None:
        sampler.take_image(image)
    made: Sampler = sampler
    return made


def _make(
    name: str,
    shape: tuple[int, int],
    labels: int | Sequence[int],
    model: Any,
    seed: int,
    initial: float | None,
    roi: NDArray[np.bool_] | None,
    forbidden: NDArray[np.bool_] | None,
    stop_at: float | None,
    confidence: float | None,
    smallest_feature: int | None,
    interaction_px: float | None,
    endmembers: Endmembers,
    image_network: str | None,
    cost: dict[str, Any],
) -> Any:
    check_name(name)
    masks = {"labels": labels, "seed": seed, "roi": roi, "forbidden": forbidden}
    masks["smallest_feature"] = smallest_feature
    start = {} if initial is None else {"initial": initial}
    if interaction_px and name not in ("learned", "slads"):
        raise ConfigError(
            f"the sampler '{name}' takes no abundances; with an interaction volume use 'learned' or 'slads'"
        )
    cost = {key: value for key, value in cost.items() if value is not None}
    if name != "joint" and cost:
        raise ConfigError(f"{' and '.join(cost)}: of the sampler 'joint', not of '{name}'")
    if name in STATIC:
        from .static import StaticSampler

        return StaticSampler(shape, name, **masks)  # type: ignore[arg-type]
    if name == "learned" and interaction_px:
        from .learned.mixed import MixedSampler

        rules: dict[str, Any] = {"stop_at": stop_at, "confidence": confidence}
        mixing = {"interaction_px": interaction_px, "endmembers": endmembers}
        return MixedSampler(shape, model, **mixing, **rules, **masks, **start)  # type: ignore[arg-type]
    if name == "learned":
        from .learned.sampler import LearnedSampler

        rules = {"stop_at": stop_at, "confidence": confidence, "image_network": image_network}
        return LearnedSampler(shape, model, **rules, **masks, **start)  # type: ignore[arg-type]
    if name == "joint":
        from .joint.sampler import JointSampler

        return JointSampler(shape, model, stop_at=stop_at, confidence=confidence, **masks, **start, **cost)  # type: ignore[arg-type]
    if model is None:
        raise ConfigError("the sampler 'slads' needs a model: train one on images of the same phases")
    if interaction_px:
        from .slads.mixed import MixedSladsSampler

        rules = {"stop_at": stop_at, "confidence": confidence}
        mixing = {"interaction_px": interaction_px, "endmembers": endmembers}
        return MixedSladsSampler(shape, model, **mixing, **rules, **masks, **start)  # type: ignore[arg-type]
    from .slads.sampler import SladsSampler

    return SladsSampler(shape, model, stop_at=stop_at, confidence=confidence, **masks, **start)  # type: ignore[arg-type]
