"""Maps without an agent."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.plans.raster import list_map, raster_map


def test_raster_map_measures_every_pixel_of_its_region(instrument, phantom, RE, documents):
    roi = np.zeros(phantom.shape, bool)
    roi[3:6, 10:14] = True
    grid = ScanGrid(phantom.shape, roi=roi)
    RE(raster_map(instrument.beam, instrument.eds, grid, baseline=[instrument.sem]), documents)
    pixels = [event["data"]["scan_pixel"] for event in documents.events()]
    assert pixels == np.flatnonzero(roi).tolist()
    assert documents.start["plan_name"] == "raster_map"
    assert documents.start["num_points"] == 12
    assert ScanGrid.from_json(documents.start["grid"]).n_pixels == 12
    assert documents.stop["exit_status"] == "success"
    assert instrument.beam.blanker.get()
    for event in documents.events():
        assert np.array_equal(event["data"]["eds_spectrum"], phantom.spectrum(event["data"]["scan_pixel"]))


@pytest.mark.parametrize(("pixels", "said"), [([], "no pixel"), ([1, 4096], "4096 lies outside")])
def test_list_map_bad_pixels_are_refused(soft, RE, documents, pixels, said):
    with pytest.raises(ConfigError, match=said):
        RE(list_map(soft.beam, soft.eds, soft.grid, pixels), documents)
    assert not documents
