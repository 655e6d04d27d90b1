"""Model files: what was written comes back, and every way in which a file can be wrong is named."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from slads_bluesky.errors import ConfigError, ModelFileError
from slads_bluesky.modelfile import (
    check_version,
    model_sha256,
    read_file,
    read_kind,
    read_model,
    write_file,
    write_model,
)

ARRAYS = {"a": np.arange(6, dtype=np.float16).reshape(2, 3).T, "b": np.zeros((0, 2))}


def test_a_model_comes_back(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(path, "kind", 2, ARRAYS, {"n": 1, "names": ["x", "µ"]})
    arrays, settings = read_model(path, "kind", 2)
    assert settings == {"n": 1, "names": ["x", "µ"]}
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert read_kind(path) == "kind"
    assert model_sha256("kind", arrays, settings) == model_sha256("kind", ARRAYS, settings)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_any_header_comes_back(tmp_path):
    write_file(tmp_path / "model", ARRAYS, {"format": "other", "version": "1"})
    arrays, header = read_file(tmp_path / "model")
    assert header == {"format": "other", "version": "1"}
    assert np.array_equal(arrays["a"], ARRAYS["a"])


def test_what_is_wrong_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ModelFileError, match=r"model\.safetensors: there is no such"):
        read_file(path)
    write_model(path, "kind", 2, ARRAYS, {"n": 1})
    with pytest.raises(ModelFileError, match="holds a model of kind 'kind', not 'other'"):
        read_model(path, "other", 2)
    with pytest.raises(ModelFileError, match=r"format 2 is newer than this program \(1\)"):
        read_model(path, "kind", 1)
    whole = path.read_bytes()
    changed = whole.replace(b'\\"n\\": 1', b'\\"n\\": 2')
    assert changed != whole
    path.write_bytes(changed)
    with pytest.raises(ModelFileError, match="was changed since it was written"):
        read_model(path, "kind", 2)
    path.write_bytes(whole[:-3])
    with pytest.raises(ModelFileError, match="truncated"):
        read_kind(path)
    save_file({"a": np.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="not a model of this program"):
        read_kind(path)
    for stated in ("", "new", None, -1):
        with pytest.raises(ModelFileError, match="not a number"):
            check_version(path, stated, 1)


def test_a_folder_that_is_not_there_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match="cannot write"):
        write_file(tmp_path / "none" / "model", ARRAYS, {})
    assert not list(tmp_path.iterdir())
