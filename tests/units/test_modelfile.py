"""Model files: what was written comes back, and every way in which a file can be wrong is named."""

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
from slads_bluesky.sampling import SladsModel
from slads_bluesky.sampling.learned.model import SHIPPED, LearnedModel
from slads_bluesky.spectra import load_classifier

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


def _raw(path, header, body=b""):
    """A safetensors file of that header, which no library would write."""
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def _tensor(dtype, body):
    return {"a": {"dtype": dtype, "shape": [len(body) // 2], "data_offsets": [0, len(body)]}}


def _of_ours(version, settings):
    ours = f'{{"kind": "k", "version": {version}, "settings": {settings}, "sha256": ""}}'
    return {"__metadata__": {"slads_bluesky": ours}}


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("header", "body", "culprit"),
    [
        (_tensor("BF16", bytes(8)), bytes(8), "numpy"),
        (_tensor("F16", b"\x00\x7e" * 2), b"\x00\x7e" * 2, "array 'a' holds NaN"),
        (_tensor("F16", b"\x00\x7c" * 2), b"\x00\x7c" * 2, "array 'a' holds NaN or infinity"),
        ({"__metadata__": {"slads_bluesky": DEEP}}, b"", "not a model of this program"),
        (DEEP.encode(), b"", "not a safetensors file"),
        (_of_ours("1e999", "{}"), b"", "not a model of this program"),
        (_of_ours("1", '{"x": NaN}'), b"", "settings that no model"),
        (_of_ours("1", '{"x": "\\ud800"}'), b"", "was changed since"),
        ({"__metadata__": {"slads_bluesky": "[]"}}, b"", "not a model of this program"),
        ({"__metadata__": {"slads_bluesky": "9" * 5000}}, b"", "not a model of this program"),
    ],
)  # fmt: skip
def test_hostile_header_is_one_error_that_names_the_file(tmp_path, header, body, culprit):
    path = _raw(tmp_path / "model.safetensors", header, body)
    with pytest.raises(ModelFileError, match=culprit) as raised:
        read_model(path, "k", 1)
    assert str(path) in str(raised.value)
    for load in (LearnedModel.load, SladsModel.load, load_classifier):
        with pytest.raises(ModelFileError, match=r"model\.safetensors"):
            load(path)


def test_arrays_that_may_hold_nan_are_named_by_the_reader(tmp_path):
    write_file(tmp_path / "model", {"rate": np.array([np.nan])}, {})
    assert np.isnan(read_file(tmp_path / "model", nan_arrays=("rate",))[0]["rate"]).all()
    with pytest.raises(ModelFileError, match="'rate' holds NaN"):
        read_file(tmp_path / "model")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=4)), min_size=1, max_size=4))
@pytest.mark.parametrize(
    "load", [LearnedModel.load, SladsModel.load, load_classifier], ids=["learned", "slads", "classifier"]
)
def test_changed_bytes_of_a_header_never_give_another_error(tmp_path, load, changes):
    content = bytearray(SHIPPED.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    for at, new in changes:
        content[8 + at % length : 8 + at % length + len(new)] = new
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(ModelFileError):
        load(path)
