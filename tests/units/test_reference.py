"""The generated reference of the site: found out here, in seconds, what would fail the site's build in CI."""

import importlib.util
import sys
from pathlib import Path

import pytest

from slads_bluesky.instrument import InstrumentSettings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generated", DOCS / "_ext" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("generated", None)


def test_api_pages_name_only_what_can_be_imported(generated):
    pages = generated._api_pages()
    assert "slads_bluesky.adaptive_map" in pages["api/slads_bluesky.rst"]
    assert len(pages) == len(generated.API) + 1


def test_command_page_has_a_section_for_each_command(generated):
    text = generated._cli_page()
    for command in ("slads-bluesky demo", "slads-bluesky train classifier", "slads-bluesky bench kills"):
        assert f"## {command}\n" in text


def test_instrument_page_has_every_field_with_its_meaning(generated, monkeypatch):
    missing = []
    monkeypatch.setattr(generated, "_warn", lambda text, *values: missing.append(text % values))
    text = generated._instrument_page()
    assert missing == []
    for section in InstrumentSettings.model_fields:
        assert f"## {section}\n" in text or f"| `{section}` |" in text


def test_pv_page_has_every_pv(generated):
    from slads_bluesky.devices.sim.pvs import all_pvs

    text = generated._pvs_page()
    for pv in all_pvs("SEM:"):
        assert f"| `{pv.name}` |" in text
    assert "| `SEM:Scan:Start` |" in text
    assert "| `SEM:EDS:Map:Buffer0:Spectra` |" in text
