"""What this process does about memory: its peak, and when Python searches for unreachable cycles."""

import gc
import subprocess
import sys

import pytest

from slads_bluesky.memory import collection_paused


def said_by(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_peak_rss_mb_keeps_the_most_that_was_held():
    before, after = map(
        float,
        said_by(
            "from slads_bluesky.memory import peak_rss_mb\nprint(peak_rss_mb())\n"
            "held = b'x' * 2**26\ndel held\nprint(peak_rss_mb())"
        ),
    )
    assert 60 < after - before < 70


def test_collection_paused_ends_with_its_block_and_with_an_error():
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), collection_paused():
        raise KeyError
    assert gc.isenabled()


def test_collection_paused_leaves_a_collector_that_is_off_as_it_is():
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_command_line_searches_less_often_than_python_does():
    code = (
        "import gc\nbefore = gc.get_threshold()[0]\nfrom slads_bluesky.cli import main\ntry:\n"
        "    main(['--version'])\nfinally:\n    print(before); print(gc.get_threshold()[0])"
    )
    usual, now = map(int, said_by(code)[-2:])
    assert now > usual
