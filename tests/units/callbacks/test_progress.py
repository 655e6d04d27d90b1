"""The progress bar of a run on a terminal: what it says, and that it leaves the terminal to the prompt."""

import io

import pytest
from rich.console import Console

from slads_bluesky.callbacks.progress import MapProgress

MAP = {"uid": "a", "time": 0.0, "plan_name": "adaptive_map", "grid": {}, "agent": {}, "num_points": 10}
COUNT = {"uid": "a", "time": 0.0, "plan_name": "count [/old]", "num_points": 3}


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def bar(screen):
    return MapProgress(lambda: 0.125, Console(file=screen, force_terminal=True, width=120))


def _take(bar, start, n):
    bar("start", start)
    bar("descriptor", {"uid": "d", "name": "primary", "run_start": "a"})
    for i in range(n):
        bar("event", {"descriptor": "d", "time": 1.0 + i, "seq_num": i + 1})


def test_bar_of_a_map_shows_the_distortion(bar, screen):
    _take(bar, MAP, 5)
    bar("stop", {"run_start": "a", "time": 6.0})
    assert "mapping" in screen.getvalue()
    assert "distortion ≈ 0.1250" in screen.getvalue()


def test_bar_of_another_plan_has_its_name_and_no_distortion(bar, screen):
    _take(bar, COUNT, 3)
    bar("stop", {"run_start": "a", "time": 6.0})
    assert "count [/old]" in screen.getvalue()
    assert "mapping" not in screen.getvalue()
    assert "distortion" not in screen.getvalue()


def test_bar_of_a_paused_run_draws_nothing_until_it_is_resumed(bar, screen):
    _take(bar, MAP, 5)
    bar.pause()
    before = screen.getvalue()
    bar("event", {"descriptor": "d", "time": 7.0, "seq_num": 6})
    assert screen.getvalue() == before
    bar.resume()
    bar("stop", {"run_start": "a", "time": 8.0})
    assert "6 points" in screen.getvalue()[len(before) :]


def test_bar_of_a_run_without_a_stop_document_ends_with_the_next_run(bar, screen):
    _take(bar, MAP, 5)
    _take(bar, COUNT, 3)
    bar("stop", {"run_start": "a", "time": 6.0})
    assert "3 points" in screen.getvalue()
