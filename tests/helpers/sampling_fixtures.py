"""Objects and models for the sampler's tests: small, seeded, and not those of the benchmarks."""

import numpy as np
import oracle as oracle_module
import pytest
from scipy.ndimage import gaussian_filter


def blobs(shape, width, n_labels=2, seed=0):
    """Label image of a thresholded smooth random field."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width, mode="wrap")
    levels = np.quantile(field, np.linspace(0, 1, n_labels + 1)[1:-1])
    return (np.digitize(field, levels) + 1).astype(np.uint8)


def measure(sampler, truth, n):
    """Measure up to `n` pixels one by one and return them."""
    flat, taken = truth.ravel(), []
    for _ in range(n):
        suggested = sampler.suggest()
        if not suggested:
            break
        pixel = suggested[0].pixel
        sampler.ingest(pixel, int(flat[pixel]))
        taken.append(pixel)
    return taken


def run_beside(oracle, sampler, truth, model, inside, free, steps, relabel=None):
    """Let the oracle decide beside a sampler; return how many decisions by ERD were the same."""
    labels = sampler.labels
    samples, free = {}, free.copy()
    columns = truth.shape[1]
    compared = 0
    for step in range(steps):
        suggested = sampler.suggest()
        if not suggested:
            assert not free.any()
            break
        pixel, value = suggested[0].pixel, suggested[0].erd
        if not np.isnan(value):
            wanted = oracle.decide(
                truth.shape, samples, model.theta, labels, model.k, model.radius, inside, free
            )
            assert (pixel, np.float32(value)) == wanted
            compared += 1
        label = int(truth.ravel()[pixel])
        sampler.ingest(pixel, label)
        where = divmod(pixel, columns)
        free[where] = False
        if label:
            samples[where] = label
        if relabel is not None and step in relabel:
            pick, new = relabel[step]
            where = list(np.argwhere(sampler.measured >= 0))[pick]
            where = (int(where[0]), int(where[1]))
            sampler.ingest(where[0] * columns + where[1], new)
            samples.pop(where, None)
            if new:
                samples[where] = new
        if samples:
            recon = oracle.reconstruct(truth.shape, samples, labels, model.k, inside)
            own = sampler.reconstruct()
            assert all(own[at] == label for at, label in recon.items())
    return compared


@pytest.fixture(scope="session")
def oracle():
    return oracle_module


@pytest.fixture(scope="session")
def make_blobs():
    return blobs


def trained_once(folder, name, train):
    """A model that one process of the session trains, and the others load."""
    from slads_bluesky.codehash import code_hash
    from slads_bluesky.sampling import SladsModel
    from slads_bluesky.simulation.models import _cached

    facts = {"kind": "tests", "code": code_hash("slads_bluesky.sampling.slads.training")}
    return _cached(folder / "test-models", name, facts, train, SladsModel.load)


@pytest.fixture(scope="session")
def model(session_folder):
    """A SLADS trained on two small two-phase images."""
    from slads_bluesky.sampling import train_slads

    images = [blobs((48, 56), 3.0, seed=s) for s in (100, 101)]
    return trained_once(session_folder, "two", lambda: train_slads(images, seed=0, generated=16))


@pytest.fixture(scope="session")
def model_four(session_folder):
    """A SLADS trained on four phases."""
    from slads_bluesky.sampling import train_slads

    images, options = [blobs((48, 48), 3.0, 4, seed=100)], {"cs": (8.0,), "calibrated": False}
    return trained_once(session_folder, "four", lambda: train_slads(images, seed=0, **options))


@pytest.fixture(scope="session")
def random_net(model):
    """A network of random weights, which predicts nothing."""
    from slads_bluesky.sampling.learned.model import LearnedModel
    from slads_bluesky.sampling.learned.weights import expected_shapes

    rng = np.random.default_rng(5)
    widths = (4, 6, 6, 8)
    weights = {
        name: rng.normal(0, 0.5 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 1), shape).astype(
            np.float16
        )
        for name, shape in expected_shapes(widths).items()
    }
    return LearnedModel(widths, weights, model.theta)
