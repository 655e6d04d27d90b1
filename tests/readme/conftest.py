"""A reader with what they would have at hand: images, a Redis, an installed program."""

import shutil
import subprocess

import numpy as np
import pytest
import tifffile
from readme_reader import Reader, answers_at, wait
from readme_world import AFTER, BEFORE, MEANWHILE

from slads_bluesky.devices.sim.ports import free_port
from slads_bluesky.phantom import make_labels


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed here")
    pytest.importorskip("bluesky_queueserver")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with open(folder / "log", "w") as log, subprocess.Popen(command, cwd=folder, stdout=log) as process:
        wait(lambda: answers_at(port), (folder / "log").read_text)
        config = folder / "manager.yml"  # the machine's own Redis at the usual port is nobody's toy
        config.write_text(f"network: {{redis_addr: '127.0.0.1:{port}'}}\n")
        yield config
        process.terminate()


@pytest.fixture(scope="module")
def reader(tmp_path_factory, shared_cache):
    home = tmp_path_factory.mktemp("readme")
    for seed, name in enumerate(("map.npy", "other.npy", "field1.npy", "field2.npy")):
        np.save(home / name, make_labels("pbsn", 32, seed, "train"))
    for seed, name in enumerate(("bse1.tif", "bse2.tif")):
        labels, noise = make_labels("powder", 32, seed, "train") % 3, np.random.default_rng(seed)
        tifffile.imwrite(home / name, (60 + 60 * labels + noise.normal(0, 8, labels.shape)).astype(np.uint8))
    reading = Reader(
        home,
        shared_cache,
        before=BEFORE,
        meanwhile=MEANWHILE,
        after=AFTER,
    )
    yield reading
    reading.leave()
