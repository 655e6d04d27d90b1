"""The table *promised / how tested / seen* of `bench trust`, as rows, as a page of the site, and as figures."""

from __future__ import annotations

from typing import Any

from ..figures import Figure, at_least, equal
from .faults import FAULTS
from .services import SERVICES

__all__ = ["trust_figures", "trust_markdown", "trust_rows"]

PAGE = """\
# What is promised when something goes wrong

Written by `slads-bluesky bench trust --markdown FILE`: faults made at moments of a map over Channel Access, in real
time, against a simulated microscope in a process of its own. `stage`, `baseline` and `close` are messages of the run,
`settle`, `acquire`, `read` and `decide` those of one of its points. *Held* means: the beam was blanked in time, the
stop document counts what the journal holds, no point is `ok` that the microscope did not measure there with these
presets, and the map, resumed where the run was cut off, is that of the undisturbed run.
[Keep the beam off the specimen](../how-to/beam-safety.md) explains the safeguards.

| fault | promised | how tested: at | seen |
|---|---|---|---|
{rows}

| figure | measured | goal |
|---|--:|--:|
{figures}
"""


def trust_rows(found: dict[str, Any]) -> list[list[str]]:
    """Return lines *fault, promised, how tested, seen* from the results of `measure_trust`."""
    promised = {fault.name: fault.promised for fault in FAULTS} | {
        name: promise for name, (promise, _) in SERVICES.items()
    }
    rows = []
    for name in dict.fromkeys(scene["fault"] for scene in found["scenes"]):
        scenes = [scene for scene in found["scenes"] if scene["fault"] == name]
        tested = ", ".join(scene["moment"] for scene in scenes if scene["moment"]) or "once"
        dark = [scene["dark_after_s"] for scene in scenes if scene["dark_after_s"] is not None]
        seen = f"{sum(scene['holds'] for scene in scenes)} of {len(scenes)} held"
        if dark:
            seen += f"; blanked after {max(dark):.2f} s at most"
        for scene in scenes:
            if scene["wrong"]:
                where = f"{scene['moment']}: " if scene["moment"] else ""
                seen += f"\n{where}{scene['wrong'][0]}"
        rows.append([name, promised[name], tested, seen])
    if found["kills"]:
        kills = found["kills"]
        rows.append(
            [
                f"kill -9 at {kills['kills']} random moments",
                "no completed point lost, the same map when resumed",
                "over Channel Access, half of them with the catalog's writer",
                f"{kills['completed_points_lost']} lost, {kills['same_maps']} of {kills['kills']} the same map",
            ]
        )
    return rows


def trust_markdown(found: dict[str, Any]) -> str:
    """Return the page of the site, from the results of `measure_trust`."""
    rows = [[cell.replace("|", "/").replace("\n", "<br>") for cell in row] for row in trust_rows(found)]
    figures = [(figure.name, figure.text, figure.goal) for figure in trust_figures(found)]
    as_lines = ["\n".join(f"| {' | '.join(row)} |" for row in table) for table in (rows, figures)]
    return PAGE.format(rows=as_lines[0], figures=as_lines[1])


def trust_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue on trust, from the results of `measure_trust`."""
    figures = []
    scenes = found["scenes"]
    timed = [scene for scene in scenes if scene["dark_after_s"] is not None]
    if timed:
        late = [scene for scene in timed if any(text.startswith("beam lit for") for text in scene["wrong"])]
        figures.append(at_least("beam blanked in time", len(timed) - len(late), len(timed)))
    for words, name in (
        ("the stop document", "stop documents false"),
        ("differ from", "maps that are not the undisturbed one"),
        ("is 'ok'", "points recorded as ok that are not"),
    ):
        wrong = sum(any(words in text for text in scene["wrong"]) for scene in scenes)
        figures.append(equal(name, wrong, 0))
    figures.append(
        at_least("scenes in which all promises held", sum(s["holds"] for s in scenes), len(scenes))
    )
    if found["kills"]:
        kills = found["kills"]
        figures.append(equal("kills: completed points lost", kills["completed_points_lost"], 0))
        figures.append(equal("kills: resumed to the same map", kills["same_maps"], kills["kills"]))
    return figures
