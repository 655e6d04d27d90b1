"""The training of the evidence network: both stages run, give the same weights again, and refuse nothing to do."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.sampling.joint import training
from slads_bluesky.sampling.joint.mapper import EvidenceMapper
from slads_bluesky.sampling.learned.model import shipped_model


@pytest.fixture
def small(monkeypatch):
    for name, value in {"IMAGES": 1, "REFILL": 1, "BATCH": 1, "STEPS_OF_A_ROLLOUT": 2}.items():
        monkeypatch.setattr(training, name, value)


def test_training_of_both_stages_is_repeated_to_the_bit(small):
    model, again = (training.train_joint(steps=(1, 1), seed=3) for _ in range(2))
    assert model.sha256 == again.sha256
    assert model.metadata["steps"] == [1, 1]
    assert model.metadata["start"] == shipped_model().sha256
    started = shipped_model().weights
    assert any(not np.array_equal(model.weights[name], started[name]) for name in started)
    found = EvidenceMapper(model, "float32")(np.zeros((16, 16, 2)))
    assert np.isfinite(found.probability).all()


def test_training_continues_from_an_evidence_network(small):
    first = training.train_joint(steps=(1, 0), seed=3)
    second = training.train_joint(steps=(1, 0), seed=4, start=first, rate=1e-6)
    assert second.metadata["start"] == first.sha256
    assert second.metadata["before"]["seed"] == 3
    for name in first.weights:  # so small a step moves nothing
        np.testing.assert_allclose(second.weights[name], first.weights[name], atol=1e-3)
    with pytest.raises(ConfigError, match="rate"):
        training.train_joint(steps=(1, 0), rate=0.0)


def test_training_without_steps_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        training.train_joint(steps=(0, 0))
