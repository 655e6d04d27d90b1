"""A result counts only for the program and the weights that made it."""

from dataclasses import replace

import pytest

from slads_bluesky.evaluation.paper import fingerprint as module
from slads_bluesky.evaluation.paper.fingerprint import fingerprint
from slads_bluesky.evaluation.paper.trial import METHODS
from slads_bluesky.sampling.learned import model as learned_model


@pytest.fixture
def other_weights(tmp_path, monkeypatch):
    """The weights that come with the program, with one byte changed."""
    data = bytearray(learned_model.SHIPPED.read_bytes())
    data[-1] ^= 1
    path = tmp_path / "learned.safetensors"
    path.write_bytes(data)

    def change():
        monkeypatch.setattr(learned_model, "SHIPPED", path)

    return change


def test_fingerprint_with_other_weights_changes_only_for_the_learned_method(other_weights):
    before = {name: fingerprint(method) for name, method in METHODS.items()}
    other_weights()
    after = {name: fingerprint(method) for name, method in METHODS.items()}
    assert before["ours"] != after["ours"]
    assert before["paper"] == after["paper"]
    assert METHODS["ours"].sampler == "learned"
    assert METHODS["ours"].error is not None


def test_fingerprint_with_other_settings_or_code_changes(monkeypatch):
    ours = METHODS["ours"]
    assert fingerprint(ours) == fingerprint(ours)
    assert fingerprint(ours) != fingerprint(replace(ours, error=1e-2))
    before = fingerprint()
    monkeypatch.setattr(module, "code_hash", lambda *modules: "other")
    assert fingerprint() != before
