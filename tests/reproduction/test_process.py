"""A trial's own process: what it gives, what it raises, and that its memory is its own."""

import os

import numpy as np
import pytest

from slads_bluesky.errors import DataError, InstrumentError
from slads_bluesky.memory import peak_rss_mb
from slads_bluesky.reproduction.process import forget_peak, in_own_process
from slads_bluesky.spectra.maps import read_map


def test_it_is_another_process_and_gives_what_the_function_gives():
    assert in_own_process(os.getpid) != os.getpid()


def test_a_user_s_error_comes_back_as_it_is(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz"):
        in_own_process(read_map, tmp_path / "none.npz")


def test_a_process_that_dies_is_said_to_have_died():
    with pytest.raises(InstrumentError, match="died"):
        in_own_process(os._exit, 3)


def test_the_peak_of_before_is_forgotten():
    ballast = np.ones(40_000_000)  # 305 MiB
    high = peak_rss_mb()
    del ballast
    forget_peak()
    assert peak_rss_mb() < high - 250
