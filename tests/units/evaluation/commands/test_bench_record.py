"""The benchmark of the record measures what it says, and writes it as JSON."""

import json

import pytest

from slads_bluesky.cli import main


@pytest.mark.slow
def test_bench_record_of_200_points_reads_back_what_was_recorded(model_cache, tmp_path, monkeypatch):
    import slads_bluesky.simulation.models

    monkeypatch.setattr(slads_bluesky.simulation.models, "cache_directory", lambda: model_cache)
    figures = tmp_path / "figures.json"
    arguments = ["--points", "200", "--object", "pbsn-48", "--folder", str(tmp_path), "--json", str(figures)]
    with pytest.raises(SystemExit) as end:
        main(["bench", "record", *arguments])
    assert end.value.code == 0
    found = json.loads(figures.read_text())
    assert found["catalog_shape"] == [200, 2040]
    assert found["read_back_equal"] is True
    assert found["verify_passed"] is True
    assert 0 < found["journal_ms"]["median"] <= found["journal_ms"]["p99"]
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
