"""The agent and the models of a recorded run, made again from its start document."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..agent import SladsAgent
from ..agents import agent_of
from ..discovering_agent import UNNAMED, NoPhases
from ..documents import reading
from ..errors import ConfigError, ModelFileError, RecordError
from ..modelstore import cache_directory
from ..protocols import Classifier
from ..sampling.factory import load_model, needs_training, sampler_names

_log = logging.getLogger(__name__)

__all__ = [
    "find_classifier",
    "find_sampler_model",
    "load_any_sampler",
    "load_sampler_model",
    "rebuild_agent",
    "sampler_name",
]


def rebuild_agent(start: Mapping[str, Any], model: Any = None) -> SladsAgent:
    """Make the agent of a run as it stood before the first point.

    Parameters
    ----------
    start : mapping
        Start document.
    model : optional
        What its sampler decides by, if it needs a model. One with another hash than the run's is taken too: it
        is the caller who says what follows from that.

    Raises
    ------
    RecordError
        If the run was not driven by an agent of ours, or its description lacks a field.
    """
    configuration = start.get("agent")
    run = str(start.get("uid"))[:8]
    if not isinstance(configuration, Mapping) or configuration.get("agent") != SladsAgent.__name__:
        raise RecordError(f"run {run} by plan '{start.get('plan_name')}' had no agent of ours")
    hashes = dict(configuration.get("model_hashes", {}))
    if model is not None and "sampler" in hashes:
        hashes["sampler"] = model.sha256
    try:
        with reading(f"run {run}: the description of its agent"):
            return agent_of({**configuration, "model_hashes": hashes}, model)
    except ConfigError as error:
        raise RecordError(f"run {run}: {error}") from error


def load_sampler_model(start: Mapping[str, Any], path: Path) -> Any:
    """Read a model for the sampler of a run; ModelFileError naming the file if it is not of its kind."""
    return load_model(sampler_name(start), path)


def load_any_sampler(path: Path) -> tuple[str, Any]:
    """Read a sampler's model without knowing whose it is: its name and the model; ModelFileError if nobody's."""
    first: ModelFileError | None = None
    for name in sampler_names():
        if needs_training(name) or name in ("learned", "joint"):
            try:
                return name, load_model(name, path)
            except ModelFileError as error:
                first = first or error
    raise ModelFileError(f"{path}: holds no model of a sampler ({first})")


def sampler_name(start: Mapping[str, Any]) -> str:
    """Name of a run's sampler; RecordError if it does not say."""
    name = start.get("agent", {}).get("sampler", {}).get("name")
    if name is None:
        raise RecordError(f"run {str(start.get('uid'))[:8]} does not say which sampler it had")
    return str(name)


def find_sampler_model(start: Mapping[str, Any], *directories: Path) -> Any:
    """Find the model that a run's sampler decided by, by its hash.

    Looked for in `directories` (such as the record's own, see `slads_bluesky.modelstore.keep_models`), in the cache
    and among the shipped ones. None for a sampler that has no model. RecordError if none of them is it.
    """
    name = sampler_name(start)
    if "sampler" not in start.get("model_hashes", {}):
        return None

    def shipped() -> Any:
        if name == "joint":
            from ..sampling.joint.model import shipped_joint_model

            return shipped_joint_model()
        from ..sampling import shipped_model

        return shipped_model()

    return _find(
        start,
        "sampler",
        lambda path: load_model(name, path),
        directories,
        shipped if name in ("learned", "joint") else None,
    )


def find_classifier(start: Mapping[str, Any], *directories: Path) -> Classifier:
    """Find the classifier of a run, by its hash, as `find_sampler_model` does; RecordError if there is none."""
    from ..spectra import load_classifier

    if start.get("model_hashes", {}).get("classifier") == UNNAMED:
        return NoPhases(int(start["agent"]["discovery"]["n_channels"]))
    found: Classifier = _find(start, "classifier", load_classifier, directories)
    return found


def _find(
    start: Mapping[str, Any],
    what: str,
    load: Callable[[Path], Any],
    directories: Sequence[Path],
    shipped: Callable[[], Any] | None = None,
) -> Any:
    wanted = start.get("model_hashes", {}).get(what)
    run = str(start.get("uid"))[:8]
    if not wanted:
        raise RecordError(f"run {run} does not say which {what} it had")
    folders = [*directories, cache_directory()]
    for folder in folders:
        # the record's own are named by their hashes, the cached ones are not
        for path in sorted(folder.glob("*.safetensors"), key=lambda path: not wanted.startswith(path.stem)):
            try:
                model = load(path) if path.is_file() else None
            except ModelFileError:  # of another kind, most likely
                continue
            except Exception as error:  # one bad file among the models must not hide the others
                _log.warning("model %s is passed over: %s", path, error)
                continue
            if getattr(model, "sha256", None) == wanted:
                return model
    if shipped is not None:
        try:
            model = shipped()
        except ModelFileError:
            model = None
        if model is not None and model.sha256 == wanted:
            return model
    raise RecordError(
        f"run {run} had the {what} {wanted[:12]}…, which is not among the models in "
        f"{', '.join(map(str, folders))}; "
        f"name its file with --{what}"
    )
