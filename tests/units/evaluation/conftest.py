"""A small measured map: three phases in stripes and a block, with a line each."""

import os
from pathlib import Path

import numpy as np
import pytest
from sampling_fixtures import make_blobs, model, model_four  # noqa: F401 (fixtures)

SHAPE, CHANNELS = (24, 30), 400


def make_map(seed=0, counts=250.0):
    """Counts (24, 30, 400), and the phase of each pixel from 0."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    which = (columns >= 14).astype(int)
    which[(rows > 12) & (columns > 18)] = 2
    energies = 0.02 * np.arange(CHANNELS)
    shapes = np.array(
        [0.05 + 10 * np.exp(-0.5 * ((energies - line) / 0.055) ** 2) for line in (1.25, 1.74, 3.69)]
    )
    shapes *= counts / shapes.sum(axis=1, keepdims=True)
    return rng.poisson(shapes[which]).astype(np.uint8), which.astype(np.uint8)


@pytest.fixture
def map_file(tmp_path):
    """The map as a file, in a folder of its own."""
    counts, labels = make_map()
    path = tmp_path / "maps" / "stripes.npz"
    path.parent.mkdir()
    np.savez_compressed(path, counts=counts, labels=labels, energy_scale=0.02, energy_offset=0.0)
    return path


@pytest.fixture(scope="session")
def dacite():
    """The real map, if it is here."""
    default = Path(__file__).parents[3].parent / "shared" / "data"
    path = Path(os.environ.get("SLADS_TEST_DATA", default)) / "p45_dacite.npz"
    if not path.is_file():
        pytest.skip(f"no {path}; set SLADS_TEST_DATA")
    return path
