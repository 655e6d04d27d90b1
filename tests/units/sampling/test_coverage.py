"""Patches that a map may have missed, against plain counting."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.sampling.coverage import Coverage, largest_missed_patch


def counted(measured, share):
    """The largest square of which more than `share` are unmeasured, side by side from 1."""
    side = 0
    while side < min(measured.shape):
        empty = (sliding_window_view(measured, (side + 1, side + 1)) < 0).all(axis=(2, 3))
        if empty.mean() <= share:
            break
        side += 1
    return side * side


@pytest.mark.parametrize("density", [0.002, 0.02, 0.1, 0.4, 1.0])
def test_largest_missed_patch_is_that_of_plain_counting(density):
    rng = np.random.default_rng(3)
    measured = np.where(rng.random((40, 31)) < density, 1, -1).astype(np.int16)
    assert largest_missed_patch(measured) == counted(measured, 0.01)
    assert largest_missed_patch(measured, share=0.3) == counted(measured, 0.3)


def test_largest_missed_patch_counts_only_squares_inside_the_region():
    measured = np.full((30, 30), -1, np.int16)
    inside = np.zeros((30, 30), bool)
    inside[5:15, 5:15] = True
    assert largest_missed_patch(measured, inside=inside) == 100
    measured[10, 10] = 2
    assert (
        largest_missed_patch(measured, inside=inside) == 25
    )  # squares of 6 within 10 × 10 all hold the middle


@pytest.mark.parametrize("smallest", [1, 4, 10, 49, 10_000])
def test_coverage_hits_the_squares_with_no_more_pixels_than_the_lattice_has(smallest):
    everywhere = np.ones((36, 45), bool)
    coverage = Coverage(smallest, everywhere, everywhere, 2)
    side = int(smallest**0.5)
    measured = np.full(everywhere.shape, -1, np.int16)
    taken = 0
    while following := coverage.next(1):
        assert measured.ravel()[following[0]] == -1
        measured.ravel()[following[0]] = 1
        coverage.take(following[0])
        taken += 1
    assert coverage.complete
    assert taken <= (36 // side) * (45 // side)
    assert largest_missed_patch(measured) < smallest


def test_coverage_goes_round_pixels_that_must_not_be_measured():
    inside = np.ones((24, 24), bool)
    allowed = np.random.default_rng(1).random(inside.shape) < 0.3
    allowed[:6, :6] = False
    coverage = Coverage(9, inside, allowed, 0)
    measured = np.full(inside.shape, -1, np.int16)
    while following := coverage.next(3):
        assert allowed.ravel()[following].all()
        for pixel in following:
            measured.ravel()[pixel] = 1
            coverage.take(pixel)
    empty = (sliding_window_view(measured, (3, 3)) < 0).all(axis=(2, 3))
    possible = sliding_window_view(allowed, (3, 3)).any(axis=(2, 3))
    assert (empty & possible).sum() <= 0.01 * possible.sum()


def test_agent_refuses_a_fraction_too_small_for_the_smallest_feature():
    from slads_bluesky import SladsAgent
    from slads_bluesky.agent_settings import AgentSettings

    settings = AgentSettings(
        ScanGrid((40, 40)), n_labels=2, fraction=0.1, sampler="low-discrepancy", smallest_feature=9
    )
    assert AgentSettings.from_json(settings.to_json()) == settings
    with pytest.raises(ConfigError, match=r"smallest_feature 9 takes up to 14\.8% .* fraction is 10\.0%"):
        SladsAgent.from_settings(settings)
