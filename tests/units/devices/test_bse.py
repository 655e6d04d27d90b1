"""The backscatter detector over Channel Access, its soft twin, and the frames that both give."""

import numpy as np
import pytest

from slads_bluesky.devices.frames import frame_field
from slads_bluesky.devices.sim.frames import FrameFaults, backscatter_frame
from slads_bluesky.devices.sim.model import SimulatedSEM
from slads_bluesky.devices.sim.soft import SoftBSE
from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.grid import ScanGrid

FIELD = {"shape": (32, 32), "step_um": (1.0, 1.0), "centre_um": (0.0, 0.0), "dwell_s": 2e-5}


@pytest.fixture
def bse(fresh, beam):
    from slads_bluesky.devices import BSEDetector
    from slads_bluesky.devices.connect import connect

    detector = BSEDetector("DEVICES:BSE:", name="bse", beam=beam)
    connect(detector, 10)
    return detector


def _frame(phantom, **faults):
    grid = ScanGrid(phantom.shape)
    return backscatter_frame(phantom, grid, grid, current_na=1.0, dwell_s=1e-3, faults=FrameFaults(**faults))


def test_bse_detector_reads_the_frame_and_describes_it(bse, phantom):
    bse.configure(FIELD)
    bse.trigger().wait(20)
    reading, described = bse.read(), bse.describe()
    frame = reading["bse_image"]["value"]
    assert frame.shape == (32, 32)
    assert frame.dtype == np.float32
    assert described["bse_image"]["shape"] == [32, 32]
    assert set(reading) == set(described)
    assert reading["bse_dose"]["value"] == pytest.approx(1.0 * 2e-5 * 32 * 32)
    lead = phantom.truth == 1
    assert frame[lead].mean() > frame[~lead].mean() + 5 * frame.std() / 32


def test_bse_detector_and_soft_twin_have_the_same_keys(bse, phantom):
    soft = SoftBSE("bse", SimulatedSEM(phantom))
    for device in (soft, bse):
        device.configure(FIELD)
        device.trigger().wait(20)
    assert soft.describe().keys() == bse.describe().keys()
    assert soft.read_configuration().keys() == bse.read_configuration().keys()
    for key, entry in soft.describe_configuration().items():
        assert {k: v for k, v in entry.items() if k != "source"} == {
            k: v for k, v in bse.describe_configuration()[key].items() if k != "source"
        }


def test_bse_detector_without_current_fails_with_its_reason(bse, fresh):
    bse.configure(FIELD)
    fresh("Sim:Trip").set(1).wait(10)
    try:
        with pytest.raises(InstrumentError, match="no beam current"):
            bse.trigger().wait(20)
    finally:
        fresh("Sim:Trip").set(0).wait(10)


def test_bse_detector_beam_that_trips_in_the_frame_is_refused(bse, fresh):
    bse.configure(FIELD)
    fresh("Sim:TripNext").set(1).wait(10)
    with pytest.raises(InstrumentError, match="bse: beam current lost"):
        bse.trigger().wait(20)
    assert fresh("BSE:FrameDose").get() == pytest.approx(0.5 * 2e-5 * 32 * 32)
    dark = fresh("BSE:Image").get(use_monitor=False).reshape(32, 32) == 0
    assert dark[16:].all()
    assert not dark[:16].any()
    fresh("Sim:Trip").set(0).wait(10)
    bse.trigger().wait(20)


def test_soft_bse_outside_the_field_fails(phantom):
    bse = SoftBSE("bse", SimulatedSEM(phantom))
    bse.configure({"centre_um": (500.0, 0.0)})
    with pytest.raises(InstrumentError, match="bse: y = "):
        bse.trigger().wait(1)
    with pytest.raises(InstrumentError, match="no frame"):
        bse.read()


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"pixels": 3}, "no setting 'pixels'"), ({"dwell_s": 0.0}, "dwell_s"), ({"shape": (0, 4)}, "shape")],
)
def test_frame_field_of_what_cannot_be_names_the_device(values, reason):
    with pytest.raises(ConfigError, match=f"bse: .*{reason}"):
        frame_field("bse", values, ScanGrid((8, 8)), 1e-5)


def test_backscatter_frame_shows_the_phases_by_atomic_number(phantom):
    frame = _frame(phantom, noise=0.0)
    inside = [np.median(frame[phantom.truth == label]) / 65535 for label in (1, 2)]
    assert inside == pytest.approx(phantom.backscatter, abs=0.01)


def test_backscatter_frame_with_an_offset_is_displaced(phantom):
    still, moved = _frame(phantom, noise=0.0), _frame(phantom, noise=0.0, offset_x_um=3.0)
    assert np.allclose(moved[:, 3:], still[:, :-3], atol=1)


def test_backscatter_frames_with_charging_differ_line_by_line(phantom):
    lines = (_frame(phantom, noise=0.0, charging=0.05) / _frame(phantom, noise=0.0)).mean(axis=1)
    assert np.std(lines) == pytest.approx(0.05, rel=0.1)
