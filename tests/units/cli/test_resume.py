"""``slads-bluesky resume``: what it cannot resume is said, and where it can be."""

import event_model
import pytest

from slads_bluesky.cli import main
from slads_bluesky.grid import ScanGrid
from slads_bluesky.record import Journal, journal_directory


def test_a_map_of_a_microscope_is_resumed_in_its_session(tmp_path, capsys):
    grid = ScanGrid(shape=(16, 16)).to_json()
    bundle = event_model.compose_run(metadata={"plan_name": "adaptive_map", "grid": grid})
    with Journal(journal_directory(tmp_path)) as journal:
        journal("start", bundle.start_doc)
        journal("stop", bundle.compose_stop(exit_status="abort"))
    with pytest.raises(SystemExit) as stop:
        main(["resume", "-1", "--catalog", str(tmp_path)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f'RE(resume_map("{bundle.start_doc["uid"][:8]}"))' in said
