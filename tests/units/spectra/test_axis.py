"""Laws of the energy axis."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra import EnergyAxis

axes = st.builds(EnergyAxis, st.floats(-2, 1), st.floats(1e-3, 0.05), st.integers(8, 4096))


@given(axes)
def test_edges_enclose_the_channels_and_json_keeps_the_axis(axis):
    edges = axis.edges()
    assert len(edges) == axis.n_channels + 1
    np.testing.assert_allclose(0.5 * (edges[1:] + edges[:-1]), axis.energies(), atol=1e-9)
    again = EnergyAxis.from_json(json.loads(json.dumps(axis.to_json())))
    assert again == axis
    assert (again.offset_kev, again.width_kev) == (axis.offset_kev, axis.width_kev)


@given(axes)
def test_equal_within_a_hundredth_of_a_channel_only(axis):
    near = EnergyAxis(axis.offset_kev + 0.005 * axis.width_kev, axis.width_kev, axis.n_channels)
    far = EnergyAxis(axis.offset_kev + 0.05 * axis.width_kev, axis.width_kev, axis.n_channels)
    stretched = EnergyAxis(axis.offset_kev, axis.width_kev * 1.01, axis.n_channels)
    assert axis == near
    assert axis != far
    assert axis != stretched
    with pytest.raises(DataError, match="somefile"):
        axis.require(far, "somefile")


@pytest.mark.parametrize(
    ("values", "culprit"),
    [
        ((0.0, 0.0, 100), "width"),
        ((np.nan, 0.01, 100), "offset"),
        ((0.0, 0.01, 3), "channels"),
        ((0.0, -1, 9), "width"),
    ],
)
def test_an_impossible_axis_is_refused(values, culprit):
    with pytest.raises(ConfigError, match=culprit):
        EnergyAxis(*values)


def test_axis_foreign_description_is_refused(axis):
    with pytest.raises(ConfigError, match="width_kev"):
        EnergyAxis.from_json({"offset_kev": 0.0, "n_channels": 100})
    with pytest.raises(TypeError):
        hash(axis)
