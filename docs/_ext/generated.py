"""Sphinx extension: writes the pages of the reference, from the program itself, before Sphinx reads any page.

API, command line, process variables, fields of ``instrument.yml`` and data keys of Events. Nothing of them is kept by
hand but the meaning of each data key (``reference/data-keys.yml``); a key without one is a warning, in CI an error.
"""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FRONT = "slads_bluesky"
API: tuple[tuple[str, str, Sequence[str]], ...] = (
    ("The public names", FRONT, ()),
    ("Plans: the start document", "slads_bluesky.plans.start", ()),
    (
        "Plans: point lists",
        "slads_bluesky.plans.fly",
        ("adaptive_lists",),
    ),
    ("Plans: how many points a list has", "slads_bluesky.plans.batches", ()),
    ("Plans: what a flyer must do", "slads_bluesky.plans.flyerlike", ()),
    ("Plans: raster and list", "slads_bluesky.plans.raster", ()),
    ("Plans: spectra of phases", "slads_bluesky.plans.collect", ()),
    ("Plans: what a map may give", "slads_bluesky.plans.budget", ()),
    ("Plans: when a map waits", "slads_bluesky.plans.suspend", ()),
    ("Plans: steps of a point", "slads_bluesky.plans.stubs", ()),
    ("Devices", "slads_bluesky.devices", ()),
    ("Devices: point lists", "slads_bluesky.devices.flyer", ()),
    ("Devices: scan generator and mapping mode", "slads_bluesky.devices.listscan", ()),
    ("Devices: Open Beam Interface", "slads_bluesky.devices.openbeam", ()),
    ("Soft devices", "slads_bluesky.devices.sim.soft", ()),
    ("Sampling", "slads_bluesky.sampling", ()),
    ("Spectra", "slads_bluesky.spectra", ()),
    ("Phases found in spectra", "slads_bluesky.spectra.discovery", ()),
    ("An agent that finds the phases", "slads_bluesky.discovering_agent", ()),
    ("What found phases may be", "slads_bluesky.analysis.quantification.naming", ()),
    ("A classifier of found phases", "slads_bluesky.analysis.found_phases", ()),
    ("What operators do with found phases", "slads_bluesky.instrument.unknown", ("PhaseDesk",)),
    ("An agent for element maps", "slads_bluesky.element_agent", ()),
    ("Smooth variation inside a phase", "slads_bluesky.randomfield", ()),
    ("Label images", "slads_bluesky.images", ()),
    ("Simulated specimens", "slads_bluesky.phantom", ()),
    ("A session", "slads_bluesky.instrument", ()),
    ("The record", "slads_bluesky.record", ()),
    ("Recorded runs", "slads_bluesky.record.runs", ()),
    ("A map as arrays", "slads_bluesky.analysis.run_data", ()),
    ("Gathering a map", "slads_bluesky.analysis.load", ()),
    ("Quantification", "slads_bluesky.analysis.quantification.quantify", ()),
    ("Quantification: conditions", "slads_bluesky.analysis.quantification.geometry", ()),
    ("Quantification: standards", "slads_bluesky.analysis.quantification.standards", ()),
    ("Quantification: results", "slads_bluesky.analysis.quantification.result", ()),
    ("Candidate phases", "slads_bluesky.analysis.quantification.candidates", ()),
    ("Filled spectra", "slads_bluesky.analysis.elements.filled", ()),
    ("Element maps", "slads_bluesky.analysis.elements.maps", ()),
    ("Export", "slads_bluesky.export.formats", ()),
    ("bluesky-adaptive: SLADS as an optimizer", "slads_bluesky.optimizer", ()),
    ("bluesky-adaptive: an optimizer as agent", "slads_bluesky.optimizer_agent", ()),
    ("Publishers", "slads_bluesky.callbacks.publish", ()),
    ("Protocols", "slads_bluesky.protocols", ()),
    ("Errors", "slads_bluesky.errors", ()),
)
"""Title, module, and which of its names (empty: all of ``__all__``). A name stands on the first page that has it."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", _write_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_all(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference" / "generated"
    (folder / "api").mkdir(parents=True, exist_ok=True)
    pages = {
        **_api_pages(),
        "cli.md": _cli_page(),
        "pvs.md": _pvs_page(),
        "instrument-yml.md": _instrument_page(),
        "data-keys.md": _data_keys_page(Path(app.srcdir)),
    }
    for name, text in pages.items():
        path = folder / name
        if (
            not path.exists() or path.read_text(encoding="utf-8") != text
        ):  # unchanged pages are not read again
            path.write_text(text, encoding="utf-8")
    for path in folder.rglob("*.*"):
        if str(path.relative_to(folder)) not in pages:
            path.unlink()


# ---- the API


def _api_pages() -> dict[str, str]:
    pages, index, seen = {}, [], set()
    for title, module_name, names in API:
        module = importlib.import_module(module_name)
        chosen = []
        for name in names or module.__all__:
            value = getattr(module, name)
            key = f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else name
            if key not in seen and name != "__version__":
                seen.add(key)
                chosen.append((name, value))
        pages[f"api/{module_name}.rst"] = _api_page(title, module, chosen)
        index.append(module_name)
    entries = "\n".join(f"   api/{name}" for name in index)
    title = "Python API"
    pages["api.rst"] = (
        f"{title}\n{'=' * len(title)}\n\n"
        "From the docstrings. Shapes, dtypes and units are given with each array.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{entries}\n"
    )
    return pages


def _api_page(title: str, module: Any, chosen: Sequence[tuple[str, Any]]) -> str:
    name_of = module.__name__
    lines = [title, "=" * len(title), "", f"Import from ``{name_of}``.", ""]
    lines += [*inspect.cleandoc(module.__doc__ or "").splitlines(), "", f".. py:module:: {name_of}", ""]
    lines += [".. list-table::", "   :widths: auto", ""]
    for name, value in chosen:
        documented = inspect.isclass(value) or inspect.isroutine(value)
        about = (
            inspect.cleandoc(value.__doc__ or "").split("\n\n")[0].replace("\n", " ") if documented else ""
        )
        role = "class" if inspect.isclass(value) else "func" if documented else "data"
        lines += [f"   * - :py:{role}:`~{name_of}.{name}`", f"     - {about}"]
    lines.append("")
    for name, value in chosen:
        full = f"{module.__name__}.{name}"
        if inspect.isclass(value):
            lines += [f".. autoclass:: {full}", "   :members:", ""]
        elif callable(value):
            lines += [f".. autofunction:: {full}", ""]
        else:
            lines += [f".. autodata:: {full}", ""]
    return "\n".join(lines)


# ---- the command line


def _cli_page() -> str:
    from slads_bluesky.cli import app

    group = typer.main.get_command(app)
    lines = [
        "# Command line",
        "",
        "From the program's own help. An error of the user is one line on stderr and exit code 2. Every command that "
        "prints figures takes `--json FILE`.",
        "",
        *_table(("command", "what it does"), _summaries(group, "slads-bluesky")),
    ]
    lines += _command_sections(group, "slads-bluesky")
    return "\n".join(lines) + "\n"


def _summaries(group: Any, name: str) -> Iterable[tuple[str, str]]:
    for word, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _summaries(command, f"{name} {word}")
        else:
            full = f"{name} {word}"
            yield f"[`{full}`](#{full.replace(' ', '-')})", _cell(command.get_short_help_str(200))


def _command_sections(group: Any, name: str) -> list[str]:
    lines: list[str] = []
    for word, command in sorted(group.commands.items()):
        full = f"{name} {word}"
        if hasattr(command, "commands"):
            lines += _command_sections(command, full)
            continue
        context = command.make_context(full, [], resilient_parsing=True)
        usage = command.get_usage(context).removeprefix("Usage: ")
        lines += [f"## {full}", "", _prose(command.help), "", "```text", usage, "```", ""]
        records = [one.get_help_record(context) for one in command.params]
        rows = [(f"`{names}`", _cell(meaning)) for names, meaning in filter(None, records)]
        lines += _table(("argument or option", "meaning"), rows)
    return lines


# ---- process variables


def _pvs_page() -> str:
    from slads_bluesky.devices.sim.pvs import all_pvs

    rows = [
        (
            f"`{pv.name}`",
            _cell(pv.kind),
            _cell(pv.units),
            _cell(pv.limits),
            "r" if pv.read_only else "rw",
            _cell(pv.doc),
        )
        for pv in all_pvs("SEM:")
    ]
    lines = [
        "# Process variables",
        "",
        "All PVs of the simulated microscope with the prefix `SEM:`, from the IOC's own definition; "
        "`slads-bluesky ioc --list-pvs` prints the same list. A device class needs only the PVs that it names.",
        "",
        *_table(("PV", "type", "unit", "limits", "access", "what it is"), rows),
    ]
    return "\n".join(lines) + "\n"


# ---- instrument.yml


def _instrument_page() -> str:
    from slads_bluesky.instrument import InstrumentSettings

    schema = InstrumentSettings.model_json_schema()
    defaults = _plain_defaults(InstrumentSettings)
    lines = [
        "# instrument.yml",
        "",
        "Every field, from the model that checks the file. A wrong field is named with its line, what was found and "
        "what is allowed. Paths begin at the file. Positions and sizes are (y, x).",
        "",
    ]
    top = []
    sections = []
    for name, field in schema["properties"].items():
        target = _reference(field, schema)
        if target is not None and name in _section_names(InstrumentSettings):
            sections.append((name, target))
        else:
            top.append(_field_row(name, field, schema, name in schema.get("required", ()), defaults))
    lines += ["## The file itself", "", *_table(_FIELD_HEAD, top)]
    for name, target in sections:
        lines += _section(name, target, schema, defaults.get(name) or {})
    return "\n".join(lines) + "\n"


_FIELD_HEAD = ("field", "type", "default", "meaning")


def _section_names(model: Any) -> set[str]:
    from pydantic import BaseModel

    return {
        n
        for n, f in model.model_fields.items()
        if inspect.isclass(f.annotation) and issubclass(f.annotation, BaseModel)
    }


def _plain_defaults(model: Any) -> dict[str, Any]:
    out = {}
    for name, field in model.model_fields.items():
        if field.is_required():
            continue
        default = field.get_default(call_default_factory=True)
        out[field.alias or name] = (
            default.model_dump(mode="json", by_alias=True) if hasattr(default, "model_dump") else default
        )
    return out


def _section(
    name: str, target: dict[str, Any], schema: dict[str, Any], defaults: dict[str, Any]
) -> list[str]:
    lines = [f"## {name}", "", _prose(target.get("description")), ""]
    rows, inner = [], []
    for field_name, field in target["properties"].items():
        below = _reference(field, schema)
        if below is not None and "properties" in below:
            inner.append((field_name, below, (field.get("description") or "")))
            continue
        rows.append(_field_row(field_name, field, schema, field_name in target.get("required", ()), defaults))
    if rows:
        lines += _table(_FIELD_HEAD, rows)
    if inner:
        lines += _table(
            ("device", "default", "meaning"),
            [
                (f"`{n}`", f"`{json.dumps(defaults.get(n), ensure_ascii=False)}`", _one_line(d))
                for n, _, d in inner
            ],
        )
        below = inner[0][1]
        lines += [f"Each is a mapping of these fields. {_prose(below.get('description'))}", ""]
        lines += _table(
            _FIELD_HEAD,
            [
                _field_row(n, f, schema, n in below.get("required", ()), {})
                for n, f in below["properties"].items()
            ],
        )
    return lines


def _reference(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    for one in (field, *field.get("anyOf", ()), *field.get("allOf", ())):
        if "$ref" in one:
            found: dict[str, Any] = schema["$defs"][one["$ref"].rsplit("/", 1)[1]]
            return found
    return None


def _field_row(
    name: str, field: dict[str, Any], schema: dict[str, Any], required: bool, defaults: dict[str, Any]
) -> tuple[str, str, str, str]:
    description = field.get("description")
    if not description:
        _warn("instrument.yml: the field '%s' has no docstring in the settings", name)
    default = defaults.get(name, field.get("default"))
    shown = (
        "required"
        if required
        else "empty"
        if default is None
        else f"`{json.dumps(default, ensure_ascii=False)}`"
    )
    return (
        f"`{name}`",
        _cell(_type_of(field, schema)),
        shown,
        _one_line(description),
    )


def _type_of(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "anyOf" in field:
        parts = [_type_of(one, schema) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if "$ref" in field:
        return _type_of(_reference(field, schema) or {}, schema)
    kind = field.get("type", "any")
    words = {
        "boolean": "true or false",
        "number": "number",
        "integer": "whole number",
        "string": "text",
        "object": "mapping",
    }
    if kind == "array":
        inside = _type_of(field.get("items", {}), schema)
        if field.get("minItems") is not None and field.get("minItems") == field.get("maxItems"):
            return f"{field['minItems']} × {inside}"
        return f"list of {inside}"
    if field.get("format") == "path":
        return "path"
    low = field.get("minimum", field.get("ge")), field.get("exclusiveMinimum", field.get("gt"))
    high = field.get("maximum", field.get("le")), field.get("exclusiveMaximum", field.get("lt"))
    limits = [f"≥ {low[0]:g}" if low[0] is not None else "", f"> {low[1]:g}" if low[1] is not None else ""]
    limits += [
        f"≤ {high[0]:g}" if high[0] is not None else "",
        f"< {high[1]:g}" if high[1] is not None else "",
    ]
    return " ".join([words.get(kind, kind), *filter(None, limits)])


# ---- data keys


def _data_keys_page(docs: Path) -> str:
    found = subprocess.run(
        [sys.executable, str(docs / "_ext" / "data_keys.py")], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise RuntimeError(f"the run that lists the data keys failed:\n{found.stderr}")
    streams: dict[str, dict[str, Any]] = json.loads(found.stdout)
    about = yaml.safe_load((docs / "reference" / "data-keys.yml").read_text(encoding="utf-8"))
    lines = ["# Data keys of an Event", "", *_paragraphs(about["about"])]
    used = set()
    for stream, keys in streams.items():
        lines += [f"## Stream `{stream}`", "", *_paragraphs(about["streams"].get(stream, ""))]
        if stream not in about["streams"]:
            _warn("data-keys.yml: the stream '%s' is not described", stream)
        rows = []
        for key, entry in keys.items():
            pattern = next((p for p in about["keys"] if fnmatchcase(key, p)), None)
            if pattern is None:
                _warn("data-keys.yml: the data key '%s' of the stream '%s' is not described", key, stream)
            else:
                used.add(pattern)
            shape = " × ".join(map(str, entry["shape"])) or "scalar"
            rows.append((f"`{key}`", entry.get("dtype_numpy") or entry["dtype"], shape, _cell(entry.get("units", "")),
                         _cell(about["keys"].get(pattern, ""))))  # fmt: skip
        lines += _table(("key", "dtype", "shape", "unit", "what it holds"), rows)
    for pattern in about["keys"]:
        if pattern not in used:
            _warn("data-keys.yml: no stream has a data key '%s'", pattern)
    return "\n".join(lines) + "\n"


def _warn(text: str, *values: object) -> None:
    """With -W, an error of the build."""
    from sphinx.util import logging

    logging.getLogger(__name__).warning(text, *values)


# ---- Markdown


def _cell(text: str) -> str:
    out = " ".join(str(text).split())
    for sign in "|*<>[]":
        out = out.replace(sign, f"\\{sign}")
    return out


def _prose(text: str | None) -> str:
    """A docstring in which ``double`` and `single` backquotes mean code, as Markdown."""
    return inspect.cleandoc(text or "").replace("``", "`")


def _one_line(text: str | None) -> str:
    return " ".join(_prose(text).split()).replace("|", "\\|")


def _paragraphs(text: str) -> list[str]:
    return [*text.strip().splitlines(), ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
