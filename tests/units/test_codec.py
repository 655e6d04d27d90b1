"""Documents to bytes and back, and messages that were made to harm."""

import contextlib
import tracemalloc

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slads_bluesky.codec import pack, unpack
from slads_bluesky.errors import DataError


@pytest.fixture(params=["msgpack as it is", "msgpack patched by others"], autouse=True)
def patched(request, monkeypatch):
    """Whoever imports suitcase-msgpack lets msgpack-numpy exchange msgpack's names, for the whole process."""
    own = {name: getattr(msgpack_numpy, f"_{name}") for name in ("Packer", "Unpacker", "unpackb")}
    theirs = {name: getattr(msgpack_numpy, name) for name in ("Packer", "Unpacker", "unpackb", "packb")}
    for name, value in (theirs if "patched" in request.param else own).items():
        monkeypatch.setattr(msgpack, name, value)


def crafted_message(obj):
    """A message of exactly these entries, which msgpack-numpy's own packer does not change."""
    return msgpack_numpy._Packer(use_bin_type=True).pack(obj)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(
        st.sampled_from(["<i4", ">u2", "|b1", "<f8", "<c16", "<U5", "|S3"]), hnp.array_shapes(min_side=0)
    )
)
def test_codec_of_a_plain_array_gives_it_back(array):
    back = unpack(pack({"a": array}))["a"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


def test_codec_of_scalars_and_records_gives_them_back():
    record = np.array([(1.0, 2), (3.0, 4)], [("x", "<f8"), ("n", "<i4")])
    back = unpack(pack([np.float32(1.5), np.bool_(True), 1 + 2j, record]))
    assert back[:3] == [1.5, True, 1 + 2j]
    assert (back[0].dtype, back[3].dtype) == (np.float32, record.dtype)
    assert np.array_equal(back[3], record)


@pytest.mark.parametrize(
    "obj",
    [np.array([1, "a"], object), object(), {1, 2}, np.zeros(2, [("x", "<f8", (2,))]), 1 << 70],
    ids=["objects", "object", "set", "record of arrays", "too large"],
)
def test_codec_of_what_is_no_plain_data_refuses_to_write(obj):
    with pytest.raises(DataError):
        pack({"a": obj})


@pytest.mark.parametrize(
    "dtype", ["|O", "O", "|S0", "<U0", "V8", "i4,i4", "(3,)i4", "<f8x", "|i999999999", ""]
)
@pytest.mark.parametrize("is_array", [True, False])
def test_codec_of_a_crafted_dtype_refuses_to_read(dtype, is_array):
    crafted = {b"nd": is_array, b"type": dtype, b"kind": b"", b"shape": [1], b"data": bytes(8)}
    with pytest.raises(DataError, match=r"dtype|bytes"):
        unpack(crafted_message({"a": crafted}))


@pytest.mark.parametrize(
    "crafted",
    [
        {b"nd": True, b"type": "<f8", b"shape": [1 << 50], b"data": bytes(8)},
        {b"nd": True, b"type": "<f8", b"shape": [-1], b"data": bytes(8)},
        {b"nd": True, b"type": "<f8", b"shape": [True], b"data": bytes(8)},
        {b"nd": True, b"type": "<f8", b"shape": [0, 1 << 62], b"data": bytes(8)},
        {b"nd": True, b"type": "<f8", b"shape": "8", b"data": bytes(8)},
        {b"nd": True, b"type": "<f8", b"shape": [1], b"data": "text"},
        {b"nd": True, b"type": [["x", "|O"]], b"kind": b"V", b"shape": [1], b"data": bytes(8)},
        {b"nd": True, b"type": [["x", "<f8", [99]]], b"kind": b"V", b"shape": [1], b"data": bytes(8)},
        {b"nd": True, b"type": [["x", "<i4"], ["x", "<i4"]], b"kind": b"V", b"shape": [1], b"data": bytes(8)},
        {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"cos\nsystem\n(S'true'\ntR."},
        {b"nd": True},
        {b"complex": True, b"data": "1" * 10**6},
        {b"complex": True, b"data": 7},
    ],
)  # fmt: skip
def test_codec_of_a_crafted_array_refuses_to_read(crafted):
    with pytest.raises(DataError):
        unpack(crafted_message({"a": crafted}))


@pytest.mark.parametrize(
    "message",
    [
        b"\xdd\x7f\xff\xff\xff",
        b"\xdf\x7f\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\x00\x0f\xff\xff" * 300,
        b"\x91" * 5000,
    ],
    ids=["list", "map", "bytes", "nested lists", "deep"],
)
def test_codec_of_stated_sizes_reserves_no_memory_for_what_is_not_there(message):
    tracemalloc.start()
    with pytest.raises(DataError):
        unpack(message)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_codec_of_any_bytes_gives_data_or_a_data_error(message):
    with contextlib.suppress(DataError):
        unpack(message)


@pytest.mark.parametrize("shape", [[1 << 40, 0], [0, 1 << 40], [1 << 21, 0, 3]])
def test_array_without_elements_and_with_endless_rows_is_refused(shape):
    """It would take no bytes, and whoever goes through its rows for ever."""
    message = crafted_message({b"nd": True, b"type": b"<i4", b"kind": b"", b"shape": shape, b"data": b""})
    with pytest.raises(DataError, match="of which 0 bytes are there"):
        unpack(message)


def test_array_without_elements_keeps_its_shape():
    for shape in ((0, 2040), (5, 0), (0,)):
        assert unpack(pack(np.zeros(shape, "<i4"))).shape == shape
