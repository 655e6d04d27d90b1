"""Training gives the same bits with any number of threads, and where code is compiled as where it is loaded."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from slads_bluesky.phantom import training_spectra
from slads_bluesky.phantom.recipes import RECIPES
from slads_bluesky.sampling.slads.pixel_error import fit_pixel_error
from slads_bluesky.spectra import PhaseClassifier
from slads_bluesky.spectra.paper import training as paper_training

AXIS = RECIPES["powder"].axis


def _pixel_error():
    """SLADS's only sums that are long enough for more than one thread: over all pixels of all calibration runs."""
    generator = np.random.default_rng(0)
    features = generator.uniform(1.0, 4.0, (200_000, 6))
    return fit_pixel_error(features, generator.random(200_000) < 0.1, np.ones(200_000)).tobytes()


def _two_phases():
    return dict(list(training_spectra("powder", 0, 24).items())[:2])


TRAININGS = {
    "pixel error": _pixel_error,
    "paper classifier": lambda: paper_training.train_paper_classifier(_two_phases(), AXIS, seed=0).sha256,
    "likelihood classifier": lambda: PhaseClassifier.from_spectra(_two_phases(), AXIS, seed=0).sha256,
}


@pytest.mark.parametrize("name", TRAININGS)
def test_training_with_other_numbers_of_threads_gives_the_same_bits(name, monkeypatch):
    for name_of, number in (("_DETECTION_PASSES", 2), ("_CLASSIFICATION_PASSES", 1), ("_STARTS", 1)):
        monkeypatch.setattr(paper_training, name_of, number)  # as many as make a difference
    before = torch.get_num_threads()
    found = set()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            with threadpool_limits(limits=threads, user_api="blas"):
                found.add(TRAININGS[name]())
        finally:
            torch.set_num_threads(before)
    assert len(found) == 1


FIT = """
import numpy as np
from slads_bluesky.spectra.likelihood.marginal import fit_phase
r = np.random.default_rng(0)
shape = r.random(376); shape /= shape.sum()
directions = 0.1 * r.normal(size=(5, 376)) * shape
theta, mu = np.zeros(5), np.empty(376)
for counts in r.poisson(3000 * shape, (8, 376)).astype(float):
    fit_phase(counts, counts.sum(), shape, directions, (directions / shape) @ directions.T, np.full(5, -9.0),
              np.full(5, 9.0), np.ones(5), 6, theta, mu)
    print(theta.tobytes().hex(), mu.tobytes().hex())
"""


def test_compiled_fit_in_the_process_that_compiles_it_gives_the_same_bits_as_later(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    first, later = (
        subprocess.run(
            [sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbi")), "nothing was compiled, or not kept"
    assert first.stdout == later.stdout
