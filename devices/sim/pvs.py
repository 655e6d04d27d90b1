"""The list of PVs of the simulated microscope, taken from what the IOC itself is made of."""

from __future__ import annotations

from dataclasses import dataclass

from .pvgroup import MCA, SEMGroup

__all__ = ["PVInfo", "list_pvs"]


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
    """All PVs under `prefix`, those of the beam first.

    Returns
    -------
    list of PVInfo
        The spectrum ``EDS:mca1`` stands before its fields.
    """
    out = []
    for entry in SEMGroup("", None).pvdb.values():
        spec = entry.pvspec
        more = spec.cls_kwargs
        states = more.get("enum_strings")
        kinds = {float: "number", int: "integer", str: "string"}
        kind = " | ".join(states) if states else kinds[type(spec.value)]
        low, high = more.get("lower_ctrl_limit"), more.get("upper_ctrl_limit")
        limits = f"{low:g} … {high:g}" if low is not None else ""
        if spec.name == f"{MCA}.RTYP":
            doc = "The spectrum, .NUSE channels"
            out.append(PVInfo(prefix + MCA, "array", "counts", "", True, doc))
        if spec.name in ("Beam:X", "Beam:Y"):
            limits = "the field"
        out.append(
            PVInfo(prefix + spec.name, kind, more.get("units", ""), limits, bool(spec.read_only), spec.doc)
        )
    return out
