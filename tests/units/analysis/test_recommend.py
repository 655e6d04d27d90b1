"""Raster, points or lists: which is recommended, and what is said of it."""

import math

import pytest

from slads_bluesky.analysis.cost import PastRun
from slads_bluesky.analysis.in_words import describe_recommendation
from slads_bluesky.analysis.recommend import raster_nats, recommend
from slads_bluesky.errors import ConfigError


def run_of(nats=0.2, live_s=5e-3, overhead=0.011, by_lists=False, boundary=0.1, rate=12_000.0):
    return PastRun("a", 1000, live_s, 1.0, 1.0, overhead, rate, nats, boundary, by_lists)


def test_phases_that_a_count_tells_apart_want_a_raster():
    found = recommend([run_of(nats=3.0, live_s=2e-3)], n_pixels=65536, fraction=0.06, distortion=0.02)
    assert found.best == "raster"
    raster, points, lists = found.ways
    assert raster.time_s < points.time_s
    assert lists.time_s < points.time_s
    assert "counts a pixel at 3 nats a count" in found.why


def test_like_phases_want_lists_and_where_a_visit_costs_next_to_nothing_points():
    assert recommend([run_of(nats=0.05)], n_pixels=16384, fraction=0.05).best == "lists"
    cheap = recommend([run_of(nats=0.05, live_s=0.05)], n_pixels=16384, fraction=0.05)
    assert cheap.best == "points"
    assert "lists would save little" in cheap.why


def test_dose_alone_does_not_count_what_a_visit_costs():
    by_dose = recommend([run_of(nats=0.05)], n_pixels=16384, fraction=0.05, minimise="dose")
    assert by_dose.best == "points"  # the same dose as lists, and plainer


def test_what_no_run_says_is_named_and_nothing_is_recommended_without_a_rate():
    unknown = PastRun("a", 100, 1.0, 1.0, math.nan, math.nan, rate_cps=1e4)
    found = recommend([unknown], n_pixels=4096, fraction=0.1)
    lines = describe_recommendation(found)
    assert "nats a count" in lines[-1]
    assert "boundary fraction" in lines[-1]
    assert math.isnan(found.ways[0].dose_nc)
    assert recommend([], n_pixels=4096, fraction=0.1) is None
    assert "not known" in describe_recommendation(None)[0]
    with pytest.raises(ConfigError, match="distortion"):
        recommend([unknown], n_pixels=4096, fraction=0.1, distortion=0.6)


def test_a_raster_of_more_boundary_or_less_distortion_needs_more():
    needed = [raster_nats(0.01, 0.05), raster_nats(0.01, 0.1), raster_nats(0.002, 0.1)]
    assert needed == sorted(needed)
    assert needed[0] > 0
