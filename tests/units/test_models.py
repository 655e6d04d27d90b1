"""The cache of trained models: found again, trained again where damaged, never a half-written file."""

import shutil

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.modelstore import keep_models
from slads_bluesky.simulation.models import prepare_models


@pytest.fixture
def models(pbsn_models):
    return pbsn_models


@pytest.fixture
def cache(pbsn_models, shared_cache, tmp_path):
    return shutil.copytree(shared_cache / "slads-bluesky" / "models", tmp_path / "models")


def _prepared(cache, **changes):
    steps = []
    found = prepare_models("pbsn-64", cache=cache, progress=lambda stage, _: steps.append(stage), **changes)
    return found, steps


def test_what_is_cached_is_not_trained_again(cache, models):
    again, steps = _prepared(cache)
    assert steps == []
    assert again.sampler.sha256 == models.sampler.sha256
    assert again.classifier.sha256 == models.classifier.sha256


def test_a_damaged_model_is_trained_again(cache, models):
    for file in cache.glob("slads-*"):  # other tests keep models of other objects there too
        file.write_bytes(file.read_bytes()[:100])
    again, steps = _prepared(cache)
    assert steps
    assert all(step.startswith("training SLADS") for step in steps)
    assert again.sampler.sha256 == models.sampler.sha256


def test_models_are_kept_beside_a_record_by_their_hashes(tmp_path, models):
    kept = keep_models(tmp_path / "kept", models.sampler, models.classifier)
    assert set(kept) == set((tmp_path / "kept").iterdir())
    assert [path.stem for path in kept] == [models.sampler.sha256, models.classifier.sha256]
    assert keep_models(tmp_path / "kept", None, models.classifier) == kept[1:]
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="models cannot be kept there"):
        keep_models(tmp_path / "file" / "kept", models.classifier)


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"object_name": "gold-64"}, "gold-64"),
        ({"object_name": "pbsn-64", "sampler": "magic"}, "magic"),
        ({"object_name": "pbsn-64", "classifier": "magic"}, "magic"),
    ],
)
def test_what_is_not_known_is_named(cache, arguments, culprit):
    with pytest.raises(ConfigError, match=culprit):
        prepare_models(cache=cache, **arguments)


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        prepare_models("pbsn-64", cache=tmp_path / "file" / "models")
