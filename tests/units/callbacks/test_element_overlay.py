"""The preview of elements while a map grows."""

import numpy as np
import pytest

from slads_bluesky.callbacks.live import LiveView
from slads_bluesky.callbacks.live.elements import INFERRED, SIDE, ElementOverlay
from slads_bluesky.errors import ConfigError
from slads_bluesky.spectra.axis import EnergyAxis
from slads_bluesky.spectra.physics.windows import element_windows

SCALE = (-0.1, 0.01)


def spectrum(symbol, counts):
    out = np.zeros(1600, int)
    first, last = element_windows([symbol], EnergyAxis(*SCALE, 1600))[symbol]
    out[(first + last) // 2] = counts
    return out


def test_values_are_counts_per_second_of_each_element():
    overlay = ElementOverlay(["Si", "Fe"], (4, 5))
    overlay.take((1, 2), spectrum("Si", 30) + spectrum("Fe", 8), 2.0, SCALE)
    overlay.take((0, 0), spectrum("Si", 30), np.nan, None)  # no energy scale: nothing can be said
    assert overlay.values[:, 1, 2].tolist() == [15.0, 4.0]
    assert np.isfinite(overlay.values).sum() == 2


def test_inferred_pixels_look_like_the_nearest_of_their_phase_and_darker():
    overlay = ElementOverlay(["Si", "Fe"], (8, 8))
    labels = np.ones((8, 8), np.uint8)
    labels[:, 4:] = 2
    for row in (1, 6):
        overlay.take((row, 1), spectrum("Si", 100), 1.0, SCALE)
        overlay.take((row, 6), spectrum("Fe", 100), 1.0, SCALE)
    picture = overlay.picture(labels)
    assert picture[1, 0] == pytest.approx(INFERRED * picture[1, 1])
    assert picture[4, 3] == pytest.approx(INFERRED * picture[1, 1])
    assert picture[4, 4] == pytest.approx(INFERRED * picture[1, 6])
    assert not np.allclose(picture[1, 1], picture[1, 6])


def test_large_map_is_drawn_at_a_part_of_its_pixels():
    overlay = ElementOverlay(["Si"], (600, 20))
    overlay.take((3, 3), spectrum("Si", 5), 1.0, SCALE)
    assert max(overlay.picture(None).shape) <= SIDE
    assert ElementOverlay(["Si"], (6, 6)).picture(None).max() == 0.0


@pytest.mark.parametrize(("elements", "wrong"), [(["Si", "Fe", "Ca", "Na", "K"], "up to 4"), (["Xx"], "Xx")])
def test_view_of_elements_that_cannot_be_is_refused_at_once(elements, wrong):
    with pytest.raises(ConfigError, match=wrong):
        LiveView(elements=elements)


def test_view_shows_the_elements_of_a_growing_map(soft):
    view = LiveView(elements=["Sn", "Pb"])
    soft.RE.subscribe(view)
    soft.RE(soft.plan(120))
    assert view.flush()
    assert not view.off
    assert np.isfinite(view.state.elements.values[0]).sum() == 120
    shown = np.asarray(view.figure.images["elements"].get_array())
    assert shown.shape == (*view.state.grid.shape, 3)
    assert shown.max() > 0.5
    view.close()
