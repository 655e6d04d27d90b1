"""Metadata that a Python session naturally holds, and words of a user's that are keys of ours."""

import datetime
import enum
import json
import pathlib
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slads_bluesky.errors import ConfigError
from slads_bluesky.metadata import TYPES, json_text, plain_metadata, typed_start


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"),
        (np.arange(3), [0, 1, 2]), (np.array(["a", "b"]), ["a", "b"]), (np.array(2.0), 2.0),
        (np.datetime64("2026-01-02"), "2026-01-02"), (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"), (datetime.timedelta(seconds=90), 90.0),
        (pathlib.Path("/a/b"), "/a/b"), ({3, 1, 2}, [1, 2, 3]), (frozenset(), []), ((1, (2,)), [1, [2]]),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"), (Colour.RED, "red"), (float("nan"), None),
        ({np.int64(1): {2: np.int8(3)}}, {"1": {"2": 3}}), (None, None), ("text", "text"),
    ],
)  # fmt: skip
def test_metadata_of_a_session_becomes_plain(value, plain):
    made = plain_metadata({"key": value})
    assert made == {"key": plain}
    assert json.loads(json.dumps(made, allow_nan=False)) == made


LOOP = {}
LOOP["again"] = LOOP


@pytest.mark.parametrize(
    "value",
    [object(), b"bytes", lambda: 0, float("inf"), 1 << 64, "\udcff", np.array([object()]), {(1, 2): 3}, LOOP, 1j,
     np.zeros(10_000_001, "u1")],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_metadata_that_has_no_place_is_refused_by_the_name_of_its_key(value):
    with pytest.raises(ConfigError, match=r"metadata 'holder\.stage"):
        plain_metadata({"holder": {"stage": value}})


@pytest.mark.parametrize("key", ["a.b", "a/b", "", (1,)])
def test_metadata_with_a_key_that_documents_cannot_have_is_refused(key):
    with pytest.raises(ConfigError, match="key"):
        plain_metadata({key: 1})


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(), st.recursive(st.floats() | st.binary() | st.complex_numbers() | st.text(), st.lists)
    )
)
def test_json_of_any_document_is_json(document):
    json.loads(json_text(document))


@pytest.mark.parametrize("key", TYPES)
@pytest.mark.parametrize("value", ["meteorite 7", 7, ["a", 1], {"a": object()}, None, {1: 2}])
def test_start_with_a_users_word_for_a_key_of_ours_reads_as_if_it_were_not_there(key, value):
    found = typed_start({"uid": "u", "time": 1.0, "sample": "s", key: value})
    assert (found["uid"], found["sample"]) == ("u", "s")
    assert key not in found or TYPES[key](value)
