"""Point lists of some pixels of a grid, for tests of what visits them."""

import numpy as np

from slads_bluesky.grid import ScanGrid
from slads_bluesky.pointlist import PointList


def points_of(pixels, dwell_s=1e-3, shape=(32, 32)):
    grid = ScanGrid(shape)
    at = np.array([grid.position(int(p)) for p in pixels])
    rows, columns = np.divmod(np.asarray(pixels), shape[1])
    n = len(pixels)
    return PointList(
        at[:, 0], at[:, 1], np.full(n, dwell_s), np.asarray(pixels), rows, columns, np.full(n, 0.5),
        np.full(n, 3),
    )  # fmt: skip
