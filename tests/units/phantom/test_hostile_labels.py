"""Label images from anywhere, as ``slads-bluesky ioc --object FILE.npy`` takes them: a specimen, or one error."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slads_bluesky.devices.sim.ioc import open_specimen
from slads_bluesky.errors import DataError

FRAGMENTS = st.sampled_from(
    [b"'O'", b"|O", b"'|S0'", b"<f8", b"<M8[s]", b"|b1", b"<c16", b"(10000000000, 3)", b"(-1, 3)", b"()", b"True",
     b"[('a','<i4')]", b"\x00", b"\xff", b"{", b"(" * 100, b"'", b"9" * 60, b"|V4"]
)  # fmt: skip


def _npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 140), FRAGMENTS | st.binary(max_size=3)), max_size=4),
    length=st.none() | st.integers(0, 200),
)
@pytest.mark.filterwarnings("ignore")  # numpy's remarks on odd headers
def test_changed_label_image_gives_a_specimen_or_one_line(tmp_path, changes, length):
    content = bytearray(_npy(np.arange(100, dtype=np.uint8).reshape(20, 5) % 3))
    for at, new in changes:
        content[at : at + len(new)] = new
    path = tmp_path / "labels.npy"
    path.write_bytes(content[:length])
    with contextlib.suppress(DataError):
        open_specimen(str(path), 0).spectrum(0)


@pytest.mark.parametrize(
    ("array", "culprit"),
    [
        (np.zeros((3, 3), int), "label 0 only"),
        (np.full((3, 3), 5), "label 5"),
        (np.full((3, 3), -1), "-1"),
        (np.full((3, 3), 1.0), "float64"),
        (np.ones(3, int), "dimensions"),
        (np.ones((0, 3), int), "empty"),
        (np.full((2, 2), 2**40), "1099511627776"),
    ],
)
def test_label_image_that_cannot_be_is_named(tmp_path, array, culprit):
    path = tmp_path / "labels.npy"
    path.write_bytes(_npy(array))
    with pytest.raises(DataError, match=culprit) as raised:
        open_specimen(str(path), 0)
    assert "labels" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
