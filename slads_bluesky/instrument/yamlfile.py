"""A YAML file that knows on which line each of its fields stands, so that an error can name it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import ConfigError
from ..yamlsource import read_yaml

__all__ = ["YamlFile", "validated"]

Place = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class YamlFile:
    """A file of plain data, read.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigError
        See `slads_bluesky.yamlsource.read_yaml`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[Place, int] = {(): 1}
        node, self.data = read_yaml(path)
        if node is not None:
            self._walk(node, ())

    def _walk(self, node: yaml.Node, place: Place) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*place, str(key.value))
                self._lines[inner] = key.start_mark.line + 1
                self._walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self._lines[*place, i] = value.start_mark.line + 1
                self._walk(value, (*place, i))

    def known(self, place: Iterable[str | int]) -> Place:
        """Longest beginning of a place that is in the file."""
        whole = tuple(place)
        return next(whole[:n] for n in range(len(whole), -1, -1) if whole[:n] in self._lines)

    def line(self, place: Iterable[str | int]) -> int:
        """Line of a field, from 1; of what it would stand in, if it is not there."""
        return self._lines[self.known(place)]

    def at(self, *place: str | int) -> str:
        """Say where a field stands: ``instrument.yml, line 7, grid.step_um``."""
        return f"{self.path.name}, line {self.line(place)}, {_dotted(place)}"


def validated(file: YamlFile, model: type[M]) -> M:
    """Validate the data of a file.

    Raises
    ------
    ConfigError
        Naming every wrong field with its line, what was found and what is allowed.
    """
    try:
        return model.model_validate(file.data)
    except ValidationError as error:
        wrong: dict[Place, tuple[str, list[str]]] = {}
        for one in error.errors():
            place, found, allowed = _fault(file, model, one)
            allowed_values = wrong.setdefault(place, (found, []))[1]
            if allowed not in allowed_values:
                allowed_values.append(allowed)
    lines = [
        f"  line {file.line(place)}: {_dotted(place) or 'the file'}: found {found}; allowed: {' or '.join(allowed)}"
        for place, (found, allowed) in sorted(wrong.items(), key=lambda item: file.line(item[0]))
    ]
    n = len(lines)
    raise ConfigError(
        "\n".join([f"{file.path}: {n} field{'s are' if n > 1 else ' is'} wrong", *lines])
    ) from None


def _fault(file: YamlFile, model: type[BaseModel], error: Mapping[str, Any]) -> tuple[Place, str, str]:
    place = tuple(error["loc"])
    if error["type"] == "missing":
        return place, "nothing", "it must be given"
    if error["type"] == "extra_forbidden":
        fields = _fields(model, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), fields, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return place, "a field that is not known", f"{', '.join(fields)}{hint}"
    allowed = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return file.known(place), _shown(error["input"]), allowed


def _fields(model: type[BaseModel], place: Place) -> list[str]:
    """Names that a section may hold, as they stand in the file."""
    for step in place:
        field = next(
            (f for name, f in model.model_fields.items() if (f.alias or name) == step),
            None,
        )
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            model = inner[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _shown(value: Any) -> str:
    keys = ", ".join(_plain(str(key)) for key in value) if isinstance(value, Mapping) else ""
    text = f"{{{keys}}}" if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _dotted(place: Iterable[str | int]) -> str:
    return ".".join(_plain(str(step)) for step in place)


def _plain(text: str) -> str:
    return text if text.isprintable() and len(text) <= 60 else repr(text[:60])
