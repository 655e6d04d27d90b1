"""A Phoebus screen for the microscope's PVs, made from the IOC's own list of them so that it cannot drift from it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from .pvs import PVInfo, list_pvs

__all__ = ["make_screen", "write_screen"]

ROW, LABEL, FIELD, COLUMN = 26, 150, 130, 330
GROUPS = {"Beam:": "Electron beam", "EDS:": "EDS detector", "Sim:": "Faults on command"}
PLOT_HEIGHT = 260


def make_screen(pvs: Iterable[PVInfo] | None = None) -> str:
    """Make the screen.

    Parameters
    ----------
    pvs : iterable of PVInfo, optional
        By default all of the IOC's, under the macro ``$(P)``.

    Returns
    -------
    str
        A Phoebus display (.bob): a column for the beam, the detector and the faults, and a plot of the spectrum.
        Its macro P is the prefix, ``SEM:`` unless it is opened with another.
    """
    listed = list(pvs) if pvs is not None else list_pvs("$(P)")
    display = ET.Element("display", version="2.0.0")
    _put(display, name="Simulated SEM with EDS")
    ET.SubElement(ET.SubElement(display, "macros"), "P").text = "SEM:"
    depth = 0
    for column, (start, title) in enumerate(GROUPS.items()):
        left, top = 10 + column * COLUMN, 10
        _widget(display, "label", title, left, top, COLUMN - 20, text=title)
        for pv in listed:
            short = pv.name.removeprefix("$(P)")
            if not short.startswith(start) or pv.kind == "array":
                continue
            top += ROW
            _widget(
                display,
                "label",
                f"{short} label",
                left,
                top,
                LABEL,
                text=short.removeprefix(start),
                tooltip=pv.doc,
            )
            _widget(display, _kind(pv), short, left + LABEL, top, FIELD, pv_name=pv.name, tooltip=pv.doc)
        depth = max(depth, top + ROW)
    for pv in listed:
        if pv.kind == "array":
            _plot(display, pv, 10, depth + 10)
    _put(display, width=str(10 + len(GROUPS) * COLUMN), height=str(depth + PLOT_HEIGHT + 20))
    ET.indent(display)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(display, encoding="unicode") + "\n"


def write_screen(path: Path) -> None:
    """Write the screen to a file."""
    path.write_text(make_screen(), encoding="utf-8")


def _kind(pv: PVInfo) -> str:
    if pv.read_only:
        return "textupdate"
    return "combo" if "|" in pv.kind else "textentry"


def _put(parent: ET.Element, **properties: str) -> None:
    for key, value in properties.items():
        ET.SubElement(parent, key).text = value


def _widget(parent: ET.Element, kind: str, name: str, x: int, y: int, width: int, **properties: str) -> None:
    widget = ET.SubElement(parent, "widget", type=kind, version="2.0.0")
    _put(widget, name=name, x=str(x), y=str(y), width=str(width), height=str(ROW - 4), **properties)


def _plot(parent: ET.Element, pv: PVInfo, x: int, y: int) -> None:
    widget = ET.SubElement(parent, "widget", type="xyplot", version="3.0.0")
    _put(widget, name=pv.name.removeprefix("$(P)"), x=str(x), y=str(y), width=str(len(GROUPS) * COLUMN - 20),
         height=str(PLOT_HEIGHT), title=pv.doc)  # fmt: skip
    trace = ET.SubElement(ET.SubElement(widget, "traces"), "trace")
    _put(trace, name=pv.units, y_pv=pv.name)


if __name__ == "__main__":
    write_screen(Path(sys.argv[1]))
