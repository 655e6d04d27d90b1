"""A saturated detector: refused wherever a reading is made, at a counter's limit or with hardly any live time."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.devices.mapping import ListJudge, MappingBuffer
from slads_bluesky.devices.reading import EDSReading
from slads_bluesky.errors import InstrumentError
from slads_bluesky.pointlist import PointList


@pytest.mark.parametrize("limit", [2**16 - 1, 2**24 - 1, 2**31 - 1])
def test_reading_with_a_channel_at_a_counters_limit_is_refused(limit):
    counts = np.full(64, 7, np.int32)
    counts[20:23] = limit
    with pytest.raises(InstrumentError, match=f"3 channels stand at {limit} counts"):
        EDSReading(counts, 1.0, 1.5, 33.0, None)


@pytest.mark.parametrize("most", [0, 255, 65534, 65536])
def test_reading_with_a_high_peak_is_taken(most):
    counts = np.zeros(64, np.int32)
    counts[20] = most
    assert EDSReading(counts, 1.0, 1.5, 33.0, None).counts is counts


def test_reading_with_hardly_any_live_time_is_refused():
    counts = np.ones(64, np.int32)
    EDSReading(counts, 0.06, 1.0, 94.0, None)
    with pytest.raises(InstrumentError, match=r"dead for 96\.0 % of the time"):
        EDSReading(counts, 0.04, 1.0, 96.0, None)


def test_pixel_of_a_list_with_a_full_counter_is_invalid():
    judge, spectra = ListJudge("scan", "eds", "beam"), np.ones((3, 64), np.int32)
    spectra[1, 5] = 65535
    judge.start(0.0, 1.0)
    n = np.arange(3)
    judge.begin(PointList(n * 1.0, n * 1.0, np.full(3, 0.01), n, n, n, np.zeros(3), np.zeros(3, np.int64)))
    judge.take(MappingBuffer(0, spectra, np.full(3, 0.01), np.full(3, 0.011), np.full(3, 0.011)))
    assert judge.n_rows == 2
    assert list(judge.invalid) == [1]
    assert "1 channel stands at 65535" in judge.invalid[1]
