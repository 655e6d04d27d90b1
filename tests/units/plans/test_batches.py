"""How many points a list has."""

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.plans.batches import auto_batch, batch_size


def test_batch_rules():
    assert batch_size(7)(100, 1000) == 7
    assert batch_size(0.02)(100, 1000) == 20
    assert batch_size("auto") is auto_batch
    assert auto_batch(10**6, 10**6) == 10_000
    for wrong in (0, 1.5, "many", True, -3):
        with pytest.raises(ConfigError, match="a batch is"):
            batch_size(wrong)
