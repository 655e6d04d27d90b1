"""The Phoebus screen is of the PVs that the IOC has, and the one in the repository is the one that is made."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from slads_bluesky.devices.sim.pvs import list_pvs
from slads_bluesky.devices.sim.screen import make_screen, write_screen


def test_screen_has_every_pv_once():
    display = ET.fromstring(make_screen().encode())
    shown = [node.text for node in display.iter() if node.tag in ("pv_name", "y_pv")]
    assert sorted(shown) == sorted(pv.name for pv in list_pvs("$(P)"))
    assert display.find("macros/P").text == "SEM:"


def test_screen_widgets_do_not_overlap():
    boxes = [
        tuple(int(widget.find(key).text) for key in ("x", "y", "width", "height"))
        for widget in ET.fromstring(make_screen().encode()).iter("widget")
    ]
    for i, (x, y, width, height) in enumerate(boxes):
        for ox, oy, owidth, oheight in boxes[i + 1 :]:
            assert x + width <= ox or ox + owidth <= x or y + height <= oy or oy + oheight <= y


def test_screen_read_only_pvs_are_only_shown():
    display = ET.fromstring(make_screen().encode())
    kinds = {widget.findtext("pv_name"): widget.get("type") for widget in display.iter("widget")}
    for pv in list_pvs("$(P)"):
        if pv.kind != "array":
            expected = "textupdate" if pv.read_only else "combo" if "|" in pv.kind else "textentry"
            assert kinds[pv.name] == expected


def test_screen_in_the_repository_is_up_to_date(tmp_path):
    """If not: python -m slads_bluesky.devices.sim.screen profile/screens/sem.bob."""
    kept = Path(__file__).parents[3] / "profile" / "screens" / "sem.bob"
    write_screen(tmp_path / "sem.bob")
    assert kept.read_text(encoding="utf-8") == (tmp_path / "sem.bob").read_text(encoding="utf-8")
