"""The list of PVs of the simulated microscope, taken from what the IOC itself is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .framegroup import FrameGroup, image_property
from .listgroup import ListGroup, buffer_properties
from .pvgroup import MCA, SEMGroup

__all__ = ["PVInfo", "all_pvs", "list_pvs"]


@dataclass(frozen=True)
class PVInfo:
    """One PV, in words."""

    name: str
    kind: str
    """``number``, ``integer``, ``string``, ``array``, or the states of a choice."""
    units: str
    limits: str
    read_only: bool
    doc: str


def list_pvs(prefix: str = "SEM:") -> list[PVInfo]:
    """PVs of the microscope under `prefix`, those of the beam first; without those of point lists.

    Returns
    -------
    list of PVInfo
        The spectrum ``EDS:mca1`` stands before its fields.
    """
    out = []
    for entry in SEMGroup("", None).pvdb.values():
        if entry.pvspec.name == f"{MCA}.RTYP":
            doc = "The spectrum, .NUSE channels"
            out.append(PVInfo(prefix + MCA, "array", "counts", "", True, doc))
        info = _info(entry.pvspec, prefix)
        out.append(
            replace(info, limits="the field") if info.name in (f"{prefix}Beam:X", f"{prefix}Beam:Y") else info
        )
    return out


def all_pvs(prefix: str = "SEM:") -> list[PVInfo]:
    """All PVs under `prefix`: those of `list_pvs`, then those of point lists and of backscatter frames.

    Returns
    -------
    list of PVInfo
    """
    frames = [*FrameGroup._pvs_.values(), image_property(1)]
    properties = [*ListGroup._pvs_.values(), *buffer_properties(1).values(), *frames]
    return [*list_pvs(prefix), *(_info(entry.pvspec, prefix) for entry in properties)]


def _info(spec: Any, prefix: str) -> PVInfo:
    more = spec.cls_kwargs
    states = more.get("enum_strings")
    kinds = {float: "number", int: "integer", str: "string", np.ndarray: "array"}
    kind = " | ".join(states) if states else kinds[type(spec.value)]
    low, high = more.get("lower_ctrl_limit"), more.get("upper_ctrl_limit")
    limits = f"{low:g} … {high:g}" if low is not None else ""
    return PVInfo(prefix + spec.name, kind, more.get("units", ""), limits, bool(spec.read_only), spec.doc)
