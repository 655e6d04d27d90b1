"""PVs by names of their own: a device class whose signals are elsewhere than prefix and suffix say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ophyd import Component, Device, FormattedComponent

from ..errors import ConfigError

__all__ = ["pv_signals", "with_pv_names"]


def pv_signals(kind: type[Device]) -> list[str]:
    """Names of the signals of a device class that have a PV each, such as ``blanker.setpoint``.

    Examples
    --------
    >>> from slads_bluesky.devices import SEMBeam
    >>> [name for name in pv_signals(SEMBeam) if name.startswith("blanker")]
    ['blanker.setpoint', 'blanker.readback']
    """
    found = []
    for name, component in getattr(kind, "_sig_attrs", {}).items():
        if isinstance(component.cls, type) and issubclass(component.cls, Device):
            found += [f"{name}.{inner}" for inner in pv_signals(component.cls)]
        elif component.suffix is not None:
            found.append(name)
    return found


def with_pv_names(kind: type[Any], names: Mapping[str, str | Mapping[str, str]]) -> type[Any]:
    """Return a class like `kind` whose named signals have PVs of their own; all others keep prefix and suffix.

    Parameters
    ----------
    kind : type
        An ophyd Device.
    names : mapping
        By signal, dots between a part and its signal: the whole PV name, for reading and writing, or
        ``{"read": …, "write": …}``.

    Raises
    ------
    ConfigError
        If the class has no such signal, or `write` is given of one that is only read.

    Examples
    --------
    >>> from slads_bluesky.devices import Microscope
    >>> ours = with_pv_names(Microscope, {"high_voltage": "LAB:Gun:kV"})
    >>> ours("LAB:", name="sem").high_voltage.pvname
    'LAB:Gun:kV'
    """
    if not names:
        return kind
    if not (isinstance(kind, type) and issubclass(kind, Device)):
        raise ConfigError(f"{kind.__name__} has no PVs to be named one by one")
    known = pv_signals(kind)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"{kind.__name__} has no signal '{unknown[0]}'; it has {', '.join(known)}")
    changed: dict[str, Any] = {}
    inner: dict[str, dict[str, str | Mapping[str, str]]] = {}
    for name, pv in names.items():
        part, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(part, {})[rest] = pv
        else:
            changed[name] = _renamed(name, kind._sig_attrs[name], pv)
    for part, of in inner.items():
        component = kind._sig_attrs[part]
        changed[part] = _like(component, with_pv_names(component.cls, of), component.suffix, component.kwargs)
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__doc__": kind.__doc__, **changed})


def _renamed(name: str, component: Component, pv: str | Mapping[str, str]) -> Component:
    given = {"read": pv, "write": pv} if isinstance(pv, str) else dict(pv)
    writes = "write_pv" in component.kwargs
    if not isinstance(pv, str) and "write" in given and not writes:
        raise ConfigError(f"'{name}' has one PV, or is only read: give its name, without read and write")
    if writes and set(given) != {"read", "write"}:
        raise ConfigError(f"'{name}' is read and written: give both, or one name for both")
    kwargs = dict(component.kwargs)
    if writes:
        kwargs["write_pv"] = given["write"]
    return _like(component, component.cls, given["read"], kwargs, whole=True)


def _like(
    component: Component,
    cls: type[Any],
    suffix: str | None,
    kwargs: Mapping[str, Any],
    *,
    whole: bool = False,
) -> Component:
    """Return a component like another, of a class and at a suffix, or at a `whole` name."""
    more: dict[str, Any] = {"add_prefix": ()} if whole else {"add_prefix": component.add_prefix}
    made = FormattedComponent if isinstance(component, FormattedComponent) and not whole else Component
    return made(
        cls, suffix, lazy=component.lazy, trigger_value=component.trigger_value, kind=component.kind,
        doc=component.doc, **more, **kwargs,
    )  # fmt: skip
