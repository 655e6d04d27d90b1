"""How many points a list has."""

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.plans.batches import PaceBatch, auto_batch, batch_size


def test_batch_rules():
    assert batch_size(7)(100, 1000) == 7
    assert batch_size(0.02)(100, 1000) == 20
    assert batch_size("auto") is auto_batch
    assert auto_batch(10**6, 10**6) == 10_000
    for wrong in (0, 1.5, "many", True, -3):
        with pytest.raises(ConfigError, match="a batch is"):
            batch_size(wrong)


def test_pace_follows_the_decisions_of_late_and_stays_within_its_bounds():
    rule = batch_size("pace")
    assert isinstance(rule, PaceBatch)
    assert rule(400, 16384) == auto_batch(400, 16384)
    rule.took(1.0, 0.0)  # no list was visited yet
    assert rule(400, 16384) == auto_batch(400, 16384)
    for _ in range(5):
        rule.took(0.1, 1e-3)
    assert rule(400, 16384) == 130
    rule.took(10.0, 1e-3)  # one that took long is not the rule
    assert rule(400, 16384) == 130
    for _ in range(5):
        rule.took(10.0, 1e-3)
    assert rule(400, 16384) == rule.most(16384) == 327
