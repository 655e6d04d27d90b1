"""YAML files of a user's own, read within bounds: their nodes, for the lines, and their plain data.

YAML lets a short file stand for a very large one (aliases of aliases), name a key twice, and hold numbers and dates
that cannot be built. Whatever a file holds, reading it is quick, and what is wrong with it is one `ConfigError`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError

__all__ = ["MAX_BYTES", "MAX_NODES", "read_yaml"]

MAX_BYTES = 256 * 1024
"""Size of the largest file that is read."""
MAX_NODES = 50_000
"""Values that a file may hold, aliases expanded."""


class _Loader(yaml.SafeLoader):
    close = yaml.SafeLoader.dispose


def read_yaml(path: str | Path) -> tuple[yaml.Node | None, Any]:
    """Read a YAML file.

    Parameters
    ----------
    path : path
        A regular file of at most `MAX_BYTES`, in UTF-8.

    Returns
    -------
    node : yaml.Node or None
        Root of the tree of nodes, which know their lines; None for an empty file. Aliases are expanded to at most
        `MAX_NODES` nodes, none inside itself.
    data : plain data
        What the file holds; {} for an empty file.

    Raises
    ------
    ConfigError
        Naming the file, and the line where there is one, if it cannot be read, is too large, is not YAML or names a
        key twice.
    """
    file = Path(path)
    text = _text(file)
    try:
        with contextlib.closing(_Loader(text)) as loader:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            _check(file, node)
            return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigError(f"{file}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError(f"{file}: nested too deeply") from None
    except Exception as error:  # numbers, dates and tags that YAML allows and Python cannot build
        raise ConfigError(f"{file}: holds a value that cannot be built ({error})") from None


def _text(file: Path) -> str:
    try:
        if file.exists() and not file.is_file():  # reading a pipe or a device might never end
            raise ConfigError(f"{file}: cannot be read (not a regular file)")
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{file}: larger than {MAX_BYTES // 1024} KiB, which no configuration is")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # no UTF-8; a path with a null character
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file}: cannot be read ({error})") from error


def _check(file: Path, root: yaml.Node) -> None:
    """Count the nodes with all aliases expanded, and compare the keys of each mapping."""
    left = MAX_NODES
    inside: set[int] = set()  # nodes that hold the present one
    todo: list[tuple[yaml.Node, bool]] = [(root, True)]
    while todo:
        node, enter = todo.pop()
        if not enter:
            inside.discard(id(node))
            continue
        left -= 1
        where = f"{file}, line {node.start_mark.line + 1}"
        if left < 0:
            raise ConfigError(f"{where}: its aliases stand for more than {MAX_NODES} values")
        if id(node) in inside:
            raise ConfigError(f"{where}: an alias inside of what it stands for")
        if isinstance(node, yaml.MappingNode):
            _check_keys(file, node)
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = list(node.value)
        else:
            continue
        inside.add(id(node))
        todo.append((node, False))
        todo.extend((part, True) for part in inner)


def _check_keys(file: Path, node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{file}, line {key.start_mark.line + 1}: a key is a word, not {key.id}")
        line = key.start_mark.line + 1
        if key.value in lines:
            raise ConfigError(
                f"{file}, line {line}: {key.value!r} is there already, on line {lines[key.value]}"
            )
        lines[key.value] = line
