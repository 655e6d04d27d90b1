"""The paper's two networks: built as described, run as torch runs them, trained the same way twice."""

import numpy as np
import pytest
import torch

from slads_bluesky.errors import ConfigError
from slads_bluesky.spectra import EnergyAxis, train_paper_classifier
from slads_bluesky.spectra.paper.detection import DetectionNetwork, choose_threshold, preset_line
from slads_bluesky.spectra.paper.network import flat_size
from slads_bluesky.spectra.paper.training import make_torch_network, to_numpy


def test_the_flat_layer_has_the_papers_2048_values():
    assert flat_size(2040) == 2048
    network = make_torch_network(2040, 4)
    sizes = [layer.in_features for layer in network if isinstance(layer, torch.nn.Linear)]
    assert sizes == [2048, 100, 32, 8]


@pytest.mark.parametrize("n_channels", [2040, 1024, 780, 301])
def test_the_fast_forward_pass_is_torchs(n_channels):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = make_torch_network(n_channels, 3)
    fast = to_numpy(network)
    counts = np.random.default_rng(0).poisson(5.0, (6, n_channels))
    with torch.inference_mode():
        expected = network(torch.from_numpy(fast.prepare(counts)[:, None])).numpy()
    np.testing.assert_allclose(fast.logits(counts), expected, atol=2e-5)
    np.testing.assert_allclose(fast.probabilities(counts).sum(axis=1), 1.0, rtol=1e-9)


def test_the_variance_metric_is_that_of_equations_8_to_10(paper):
    counts = np.random.default_rng(1).poisson(3.0, 2040)
    detection = paper.detection
    assert len(detection.weights) == 6
    assert all(w.shape[1] == 100 for w in detection.weights)
    x = torch.from_numpy(DetectionNetwork.prepare(counts, detection.scale))
    for i, weight in enumerate(detection.weights):
        x = x @ torch.from_numpy(weight)
        x = torch.relu(x) if i < 5 else x
    g = np.abs(preset_line() - x.numpy())
    expected = ((g - g.mean()) ** 2).mean()
    assert float(detection.variance(counts)) == pytest.approx(float(expected), rel=1e-3)


def test_the_threshold_keeps_the_stated_rate():
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(300):  # σ² of one degree of freedom, twelve validation spectra, many copies of each
        level = rng.normal(size=12) ** 2
        threshold = choose_threshold([np.repeat(level[:, None], 5, axis=1)], 1e-2)
        alarms.append((rng.normal(size=2000) ** 2 > threshold).mean())
    assert 0.002 < np.mean(alarms) < 0.02
    lower = choose_threshold([np.ones((12, 5))], 1e-1)
    assert lower < choose_threshold([np.ones((12, 5))], 1e-3)
    with pytest.raises(ConfigError, match="rate"):
        choose_threshold([np.ones((12, 5))], 0.0)


def test_training_is_deterministic_and_leaves_torch_as_it_was():
    axis = EnergyAxis(0.0, 0.05, 300)
    rng = np.random.default_rng(0)
    shape = np.exp(-0.5 * ((axis.energies() - 4.0) / 0.2) ** 2)
    spectra = {"a": rng.poisson(500 * shape + 5, (8, 300)), "b": rng.poisson(500 * shape[::-1] + 5, (8, 300))}
    threads = torch.get_num_threads()
    state = torch.random.get_rng_state()
    stages = []
    first = train_paper_classifier(
        spectra, axis, seed=5, progress=lambda what, part: stages.append((what, part))
    )
    second = train_paper_classifier(spectra, axis, seed=5)
    assert first.sha256 == second.sha256
    assert train_paper_classifier(spectra, axis, seed=6).sha256 != first.sha256
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert stages[-1][1] == 1.0
    assert {what for what, _ in stages} == {"detection network", "classification network"}


def test_paper_fresh_spectra_are_separated_with_few_alarms(paper, powder_shapes):
    rng = np.random.default_rng(8)
    for label, shape in enumerate(powder_shapes.values(), start=1):
        fresh = rng.poisson(1.2e5 * shape, (250, 2040)) + rng.poisson(2.0, (250, 2040))
        labels = paper.classify_batch(fresh)[0]
        assert (labels == label).mean() >= 0.99


def test_bad_training_parameters_are_refused(axis):
    spectra = {"a": np.ones((4, 2040))}
    with pytest.raises(ConfigError, match="noise"):
        train_paper_classifier(spectra, axis, noise_lambda=-1.0)
