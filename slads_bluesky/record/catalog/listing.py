"""The list of runs in Tiled's web page: scan_id, sample, time and ending, where Tiled itself shows bare uids.

Tiled's page loads a script for containers of a given spec, if its settings name one (``spec_views``). `router` gives
the script, `page_settings` the settings. A facility's server takes both from its configuration: see the how-to.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from fastapi import APIRouter
from fastapi.responses import Response

from slads_bluesky.files import atomic_write

__all__ = ["page_settings", "router"]

SCRIPT = "/slads-bluesky/runs.js"
SPEC = "CatalogOfBlueskyRuns"

router = APIRouter()


@router.get(SCRIPT, include_in_schema=False)
async def runs_script() -> Response:
    """Give the script that lists the runs; it holds no data, and asks the server with the reader's own key."""
    text = files("slads_bluesky.record.catalog").joinpath("static/runs.js").read_bytes()
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def page_settings(folder: str | Path) -> Path | None:
    """Write settings of Tiled's web page that name the list; ``TILED_UI_SETTINGS`` is to name the file.

    Parameters
    ----------
    folder : path
        Where to write.

    Returns
    -------
    Path or None
        None where Tiled was installed without its web page.
    """
    import tiled
    from tiled.utils import SHARE_TILED_PATH

    own = Path(SHARE_TILED_PATH or "", "static", "default_ui_settings.yml")
    if not SHARE_TILED_PATH or not own.is_file():
        return None
    path = Path(folder) / f"tiled-page-{tiled.__version__}.yml"
    settings: dict[str, Any] = yaml.safe_load(own.read_text("utf-8"))
    # tiled mounts routers of others below /custom
    settings["spec_views"] = [{"spec": SPEC, "url": f"/custom{SCRIPT}"}, *settings.get("spec_views", [])]
    text = yaml.safe_dump(settings, sort_keys=False)
    if not path.is_file() or path.read_text("utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_text(text, "utf-8")
    return path
