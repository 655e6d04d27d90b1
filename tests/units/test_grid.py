"""Laws of the scan grid."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slads_bluesky import ScanGrid
from slads_bluesky.errors import ConfigError

sides = st.integers(1, 60)
steps = st.floats(1e-3, 50)


@given(sides, sides, steps, steps, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.data())
def test_position_and_pixel_are_inverse(ny, nx, dy, dx, cy, cx, data):
    grid = ScanGrid((ny, nx), (dy, dx), (cy, cx))
    pixel = data.draw(st.integers(0, ny * nx - 1))
    assert grid.pixel(*grid.position(pixel)) == pixel


@given(sides, sides, steps)
def test_positions_fill_the_extents(ny, nx, step):
    grid = ScanGrid((ny, nx), (step, step))
    (y0, y1), (x0, x1) = grid.extents_um
    assert grid.position(0) == pytest.approx((x0, y0))
    assert grid.position(ny * nx - 1) == pytest.approx((x1, y1))


def test_rows_run_along_y_and_columns_along_x():
    grid = ScanGrid((3, 5), (1.0, 2.0))
    assert grid.row_column(7) == (1, 2)
    assert grid.position(7) == (0.0, 0.0)
    assert grid.position(8) == (2.0, 0.0)
    assert grid.position(12) == (0.0, 1.0)


@pytest.mark.parametrize("with_roi", [False, True])
def test_json_gives_the_grid_back(with_roi):
    roi = np.arange(35).reshape(5, 7) % 3 == 0 if with_roi else None
    grid = ScanGrid((5, 7), (0.5, 0.25), (3.0, -4.0), roi)
    back = ScanGrid.from_json(json.loads(json.dumps(grid.to_json())))
    assert (back.shape, back.step_um, back.centre_um) == (grid.shape, grid.step_um, grid.centre_um)
    assert back.n_pixels == grid.n_pixels
    if with_roi:
        np.testing.assert_array_equal(back.roi, roi)


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"shape": (0, 5)}, "shape"),
        ({"shape": (5, 5000)}, "shape"),
        ({"shape": (5, 5), "step_um": (0.0, 1.0)}, "step"),
        ({"shape": (5, 5), "step_um": (float("nan"), 1.0)}, "step"),
        ({"shape": (5, 5), "centre_um": (float("inf"), 1.0)}, "centre"),
        ({"shape": (5, 5), "roi": np.ones((5, 4), bool)}, r"\(5, 4\).*\(5, 5\)"),
        ({"shape": (5, 5), "roi": np.zeros((5, 5), bool)}, "no pixel"),
    ],
)
def test_what_cannot_be_a_grid_is_refused_by_name(arguments, culprit):
    with pytest.raises(ConfigError, match=culprit):
        ScanGrid(**arguments)


def test_a_description_that_is_not_ours_is_refused():
    with pytest.raises(ConfigError, match="step_um"):
        ScanGrid.from_json({"shape": [3, 3]})


def test_outside_is_outside():
    grid = ScanGrid((4, 4))
    with pytest.raises(IndexError):
        grid.row_column(16)
    with pytest.raises(IndexError):
        grid.pixel(2.1, 0.0)


def test_grids_of_equal_values_are_equal_with_a_region_of_interest_too():
    roi = np.eye(4, dtype=bool)
    one = ScanGrid((4, 4), (0.5, 1.0), roi=roi)
    assert one == ScanGrid((4, 4), (0.5, 1.0), roi=roi.copy())
    assert hash(one) == hash(ScanGrid.from_json(one.to_json()))
    assert one != ScanGrid((4, 4), (0.5, 1.0))
    assert one != ScanGrid((4, 4), (0.5, 1.0), roi=~roi)
