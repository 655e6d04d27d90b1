"""Arguments of plans as a person types them: checked against their annotations, one line for each that does not fit.

Python checks none, so that ``RE(map_sample(42))`` would fail somewhere inside with a traceback.
"""

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

from bluesky.utils import Msg
from pydantic import ConfigDict, TypeAdapter, ValidationError

from slads_bluesky.errors import ConfigError

__all__ = ["checked", "must_be"]

Plan = Generator[Msg, Any, Any]


def checked(plan: Callable[..., Plan]) -> Callable[..., Plan]:
    """Decorate a plan with plain arguments: ConfigError naming the plan, the argument and what was given.

    A whole number is taken for a float; a text is never taken for a number, nor a number for a text.
    """
    signature = inspect.signature(plan)
    adapters = {
        name: TypeAdapter(parameter.annotation, config=ConfigDict(strict=True, arbitrary_types_allowed=True))
        for name, parameter in signature.parameters.items()
    }

    @functools.wraps(plan)
    def wrapper(*args: Any, **kwargs: Any) -> Plan:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ConfigError(
                f"{plan.__name__}: {error}; it takes {', '.join(signature.parameters)}"
            ) from None
        for name, value in bound.arguments.items():
            try:
                adapters[name].validate_python(_plain(value), strict=True)
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Input should be ")
                raise ConfigError(f"{plan.__name__}: {name} must be {reason}, not {value!r}") from None
        return (yield from plan(*bound.args, **bound.kwargs))

    return wrapper


def _plain(value: Any) -> Any:
    """Lists of pairs as the tuples that they are annotated as; numpy's scalars as Python's."""
    if isinstance(value, (list, tuple)):
        return [
            tuple(_plain(v) for v in item) if isinstance(item, (list, tuple)) else _plain(item)
            for item in value
        ]
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def must_be(plan: str, argument: str, value: Any, kind: type) -> None:
    """Raise ConfigError if a value does not have what a protocol asks for, naming what is missing."""
    if isinstance(value, kind):
        return
    wanted = sorted(name for name in dir(kind) if not name.startswith("_"))
    missing = [name for name in wanted if not hasattr(value, name)]
    raise ConfigError(
        f"{plan}: {argument} must be of the kind {kind.__name__}, and {value!r} has no {', '.join(missing[:3])}"
    )
