"""Waiting for what another process does."""

import time


def wait_until(condition, seconds, process=None):
    """Wait, and return how long it took, s; a `process` that ends meanwhile ends the wait with what it printed."""
    began = time.monotonic()
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < began + seconds, "not in time"
        time.sleep(0.01)
    return time.monotonic() - began
