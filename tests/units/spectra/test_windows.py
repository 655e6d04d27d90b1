"""Windows of channels around the lines of elements."""

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.spectra.axis import EnergyAxis
from slads_bluesky.spectra.physics.windows import element_windows

AXIS = EnergyAxis(-0.1, 0.01, 1600)


@pytest.mark.parametrize(
    ("symbol", "energy"), [("O", 0.525), ("Si", 1.740), ("Fe", 6.404), ("Pb", 2.346), ("Sn", 3.444)]
)
def test_window_lies_around_the_line_that_the_beam_excites(symbol, energy):
    first, last = element_windows([symbol], AXIS)[symbol]
    middle = AXIS.energies()[first : last + 1].mean()
    assert middle == pytest.approx(energy, abs=0.02)


def test_window_of_an_element_without_a_line_is_refused():
    with pytest.raises(ConfigError, match="H has no line"):
        element_windows(["Si", "H"], AXIS)
    with pytest.raises(ConfigError, match="Fe has no line that 1 keV"):
        element_windows(["Fe"], AXIS, beam_energy_kev=1.0)
    with pytest.raises(ConfigError, match="needs the elements"):
        element_windows([], AXIS)
