"""kill -9 in the middle of a list: what was handed over is on record, and the map is resumed by lists."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from slads_bluesky.analysis.load import load_map
from slads_bluesky.record.resume import find_classifier, find_sampler_model, rebuild_agent
from slads_bluesky.record.runs import find_run, map_runs
from slads_bluesky.record.verify import verify

MAP = """
import sys
from slads_bluesky.modelstore import keep_models
from slads_bluesky.phantom import make_object
from slads_bluesky.record import Recorder
from slads_bluesky.simulation.models import prepare_models
from slads_bluesky.simulation.run import make_agent, run_map

directory, = sys.argv[1:]
with Recorder(directory) as recorder:
    phantom = make_object("pbsn-32")
    models = prepare_models("pbsn-32", sampler="learned", classifier="likelihood")
    keep_models(recorder.directory / "models", models.sampler, models.classifier)

    def on_record(name, doc):
        if name == "event_page":
            print("rows", *doc["data"]["scan_pixel"], flush=True)

    run_map(phantom, models, make_agent(phantom, models, fraction=0.2), soft=True, batch=40, time_scale=1.0,
            subscribers=[recorder, on_record], dwell_s=5e-3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [30, 90])
def test_map_killed_in_mid_list_loses_no_row_and_is_resumed(tmp_path, shared_cache, after):
    environment = {**os.environ, "XDG_CACHE_HOME": str(shared_cache)}
    printed = []
    with subprocess.Popen(
        [sys.executable, "-c", MAP, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout:
            printed += [int(pixel) for pixel in line.split()[1:]]
            if len(printed) >= after:
                os.kill(process.pid, signal.SIGKILL)
                break
    run = find_run("-1", tmp_path)
    assert run.exit_status == "unfinished"
    data = load_map(run)
    assert set(printed) <= set(data.pixels.tolist())
    folder = tmp_path / "models"
    sampler, classifier = find_sampler_model(run.start, folder), find_classifier(run.start, folder)
    assert verify(data, rebuild_agent(data.start, sampler), classifier).passed
    command = [sys.executable, "-m", "slads_bluesky", "resume", "-1", "--soft", "--catalog", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    whole = load_map([one.documents for one in map_runs(find_run("-1", tmp_path), tmp_path)])
    assert whole.n_measured == round(0.2 * 1024)
    assert {decision.run for decision in whole.lists} == {0, 1}
    assert verify(whole, rebuild_agent(whole.start, sampler), classifier).passed
