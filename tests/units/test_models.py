"""The cache of trained models: found again, trained again where damaged, never a half-written file."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.modelstore import keep_models
from slads_bluesky.phantom import make_labels
from slads_bluesky.sampling import SladsModel, train_slads
from slads_bluesky.simulation.models import _cached, prepare_models


@pytest.fixture
def models(pbsn_models):
    return pbsn_models


@pytest.fixture
def cache(pbsn_models, shared_cache, tmp_path):
    return shutil.copytree(shared_cache / "slads-bluesky" / "models", tmp_path / "models")


def _prepared(cache, **changes):
    steps = []
    settings = {"progress": lambda stage, _: steps.append(stage), **changes}
    found = prepare_models("pbsn-64", cache=cache, **settings)
    return found, steps


def test_what_is_cached_is_not_trained_again(cache, models):
    again, steps = _prepared(cache)
    assert steps == []
    assert again.sampler.sha256 == models.sampler.sha256
    assert again.classifier.sha256 == models.classifier.sha256


def test_a_damaged_model_is_trained_again_to_the_same_bits(tmp_path, caplog):
    trained = []

    def small():
        trained.append(
            train_slads([make_labels("pbsn", 32, 0, "train")], seed=0, radius=2, cs=(8.0,), generated=2)
        )
        return trained[-1]

    def found():
        return _cached(tmp_path, "slads", {"kind": "pbsn"}, small, SladsModel.load)

    first = found()
    (file,) = tmp_path.glob("slads-*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    assert found().sha256 == first.sha256
    assert len(trained) == 2
    assert "it is trained again" in caplog.text
    assert found().sha256 == first.sha256
    assert len(trained) == 2


def test_a_model_that_several_want_at_once_is_trained_once(tmp_path, models):
    facts, trained, together = {"kind": "pbsn", "seed": 0}, [], threading.Barrier(4)

    def train():
        trained.append(threading.get_ident())
        return models.sampler

    def want(_):
        together.wait()
        return _cached(tmp_path, "slads", facts, train, SladsModel.load).sha256

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(want, range(4))) == {models.sampler.sha256}
    assert len(trained) == 1


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


def test_a_cache_that_cannot_be_written_is_named_before_anything_is_trained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        _prepared(tmp_path / "file" / "models", progress=lambda stage, _: pytest.fail(f"trained: {stage}"))
