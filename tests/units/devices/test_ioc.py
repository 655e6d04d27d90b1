"""The IOC as a person with caget and caput finds it, and as ophyd's devices do."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.devices.sim.pvs import list_pvs
from slads_bluesky.errors import ConfigError, InstrumentError


def test_ioc_every_listed_pv_answers_with_its_unit(pv):
    for info in list_pvs(""):
        signal = pv(info.name)
        assert signal.get() is not None
        assert info.doc
        if info.units:
            assert signal.describe()[signal.name].get("units") == info.units


def test_ioc_acquisition_blanked_has_no_counts_and_no_dose(fresh):
    fresh("EDS:mca1EraseStart").set(1).wait(10)
    assert fresh("EDS:mca1").get().sum() == 0
    assert fresh("Beam:Dose").get() == 0
    assert fresh("EDS:mca1.ELTM").get() == 10.0


def test_ioc_acquisition_by_hand_gives_the_spectrum_of_the_pixel(fresh, phantom):
    fresh("Beam:X").set(3.5).wait(10)
    fresh("Beam:Y").set(-2.5).wait(10)
    fresh("Beam:Blank").set(0).wait(10)
    fresh("EDS:mca1EraseStart").set(1).wait(10)
    counts = fresh("EDS:mca1.VAL").get()
    assert counts.shape == (fresh("EDS:mca1.NUSE").get(),) == (phantom.axis.n_channels,)
    assert np.array_equal(counts, phantom.spectrum(13 * 32 + 19))
    assert fresh("EDS:mca1.ACT").get() == counts.sum()
    live, real = fresh("EDS:mca1.ELTM").get(), fresh("EDS:mca1.ERTM").get()
    assert fresh("EDS:mca1.DTIM").get() == pytest.approx(100 * (1 - live / real))
    assert fresh("Beam:Dose").get() == pytest.approx(real * fresh("Beam:Current").get())
    assert fresh("Beam:PixelDose").get() == fresh("Beam:Dose").get()
    assert fresh("EDS:mca1EraseStart").get() == 0
    assert fresh("EDS:mca1.ACQG").get() == 0


def test_ioc_presets_end_the_acquisition(fresh):
    fresh("Beam:Blank").set(0).wait(10)
    for name, value in (("PLTM", 0.0), ("PCT", 300), ("PCTL", 100), ("PCTH", 400)):
        fresh(f"EDS:mca1.{name}").set(value).wait(10)
    fresh("EDS:mca1EraseStart").set(1).wait(10)
    inside = fresh("EDS:mca1").get()[100:401].sum()
    assert 300 <= inside < 330
    assert fresh("EDS:mca1.ACT").get() == inside
    fresh("EDS:mca1.PCT").set(0).wait(10)
    fresh("EDS:mca1.PRTM").set(2.0).wait(10)
    fresh("EDS:mca1EraseStart").set(1).wait(10)
    assert fresh("EDS:mca1.ERTM").get() == pytest.approx(2.0, abs=2e-3)


def test_ioc_calibration_is_that_of_the_object(fresh, phantom):
    assert fresh("EDS:mca1.CALO").get() == pytest.approx(phantom.axis.offset_kev)
    assert fresh("EDS:mca1.CALS").get() == pytest.approx(phantom.axis.width_kev)
    assert fresh("EDS:mca1.EGU").get() == "keV"
    assert fresh("EDS:mca1.RTYP").get() == "mca"


def test_ioc_dose_over_budget_clears_dose_ok(fresh):
    fresh("Beam:Blank").set(0).wait(10)
    fresh("Beam:DoseBudget").set(20.0).wait(10)
    fresh("EDS:mca1EraseStart").set(1).wait(10)
    assert fresh("Beam:DoseOK").get() == 1
    fresh("EDS:mca1EraseStart").set(1).wait(10)
    assert fresh("Beam:Dose").get() > 20.0
    assert fresh("Beam:DoseOK").get() == 0
    fresh("Beam:DoseBudget").set(1000.0).wait(10)
    assert fresh("Beam:DoseOK").get() == 1


def test_beam_whose_limits_were_lost_at_the_connection_asks_again(beam):
    beam.y._metadata.update(
        lower_ctrl_limit=None, upper_ctrl_limit=None
    )  # as pyepics leaves them on a busy machine
    beam.set((3.5, -2.5)).wait(10)
    assert beam.y.limits == (-16.0, 16.0)


def test_beam_set_outside_the_field_is_refused(beam):
    beam.wait_for_connection(timeout=10)
    with pytest.raises(
        InstrumentError, match=r"beam: beam_y: value 200\.0 outside of range: \[-16\.0, 16\.0\]"
    ):
        beam.set((0.0, 200.0))
    assert beam.position == (0.0, 0.0)


def test_detector_read_equals_the_record(beam, eds, fresh):
    beam.set((1.5, 2.5)).wait(10)
    beam.blanker.set(False).wait(10)
    eds.trigger().wait(10)
    reading = eds.read()
    assert np.array_equal(reading["eds_spectrum"]["value"], fresh("EDS:mca1").get())
    assert reading["eds_counts"]["value"] == fresh("EDS:mca1.ACT").get()
    assert reading["eds_dead_time"]["value"] == pytest.approx(fresh("EDS:mca1.DTIM").get())
    assert reading.keys() == eds.describe().keys()
    assert "eds_label" not in reading  # there is no classifier
    assert (beam.read()["beam_x"]["value"], beam.read()["beam_y"]["value"]) == (1.5, 2.5)
    assert beam.hints == {"fields": ["beam_x", "beam_y"]}
    assert eds.hints == {"fields": ["eds_counts"]}


def test_configure_sets_presets_and_unstage_puts_them_back(eds, fresh):
    before, after = eds.configure({"live_time": 2.0, "counts": 50, "window": (10, 90)})
    assert before["eds_preset_live_time"]["value"] == 10.0
    assert after["eds_preset_live_time"]["value"] == 2.0
    assert fresh("EDS:mca1.PCTH").get() == 90
    eds.unstage()
    assert fresh("EDS:mca1.PLTM").get() == 10.0
    assert fresh("EDS:mca1.PCT").get() == 0


@pytest.mark.parametrize(
    ("wrong", "said"), [({"dwell": 1.0}, "no such preset: dwell"), ({"counts": -1}, "not -1")]
)
def test_configure_unknown_or_negative_preset_is_refused(eds, wrong, said):
    with pytest.raises(ConfigError, match=said):
        eds.configure(wrong)


def test_detector_trigger_without_beam_fails(eds, fresh):
    fresh("Sim:Trip").set(1).wait(10)
    with pytest.raises(InstrumentError, match="eds: no beam: no charge reached the specimen"):
        eds.trigger().wait(10)


def test_stage_silent_pvs_are_named_with_their_device(microscope):
    from slads_bluesky.devices import EDSDetector, SEMBeam

    ghost = SEMBeam("NOBODY:Beam:", name="ghost", connection_timeout_s=0.3)
    with pytest.raises(InstrumentError, match=r"ghost: no answer within 0\.3 s from .*NOBODY:Beam:X"):
        ghost.stage()
    nobody = EDSDetector("NOBODY:mca1", name="nobody", connection_timeout_s=0.3)
    with pytest.raises(InstrumentError, match=r"nobody: no answer .*NOBODY:mca1\.PLTM"):
        nobody.stage()


def test_stage_calibration_unlike_the_classifier_is_refused(fresh, eds, phantom):
    from types import SimpleNamespace

    fits = SimpleNamespace(
        n_channels=2040, sha256="", phases=(), classify=lambda counts: (0, 1.0, "ill"),
        axis=SimpleNamespace(offset_kev=phantom.axis.offset_kev, width_kev=phantom.axis.width_kev),
    )  # fmt: skip
    eds.unstage()
    eds.configure({"classifier": fits})
    eds.stage()
    eds.unstage()
    fresh("EDS:mca1.CALS").set(0.0101).wait(10)
    try:
        with pytest.raises(
            InstrumentError, match=r"eds: energies of .* 0\.0101 keV, the classifier's are .* 0\.01 keV"
        ):
            eds.stage()
        fresh("EDS:mca1.CALS").set(0.0).wait(10)
        with pytest.raises(InstrumentError, match="energy calibration"):
            eds.stage()
    finally:
        fresh("EDS:mca1.CALS").set(phantom.axis.width_kev).wait(10)


def test_ioc_real_time_acquisition_grows_and_can_be_stopped(tmp_path):
    """At a time scale of 1 the counts grow, Read shows them, and Stop completes EraseStart."""
    from ophyd import EpicsSignal

    from slads_bluesky.devices.sim.process import SimulatedMicroscope

    with SimulatedMicroscope("pbsn-32", prefix="SLOW:", time_scale=1.0) as slow:
        assert slow.running
        made = {
            name: EpicsSignal(f"SLOW:{pv}", name=name, put_complete=True, timeout=20)
            for name, pv in {
                "start": "EDS:mca1EraseStart", "stop": "EDS:mca1Stop", "read": "EDS:mca1Read",
                "live": "EDS:mca1.ELTM",
                "counts": "EDS:mca1.ACT", "blank": "Beam:Blank", "preset": "EDS:mca1.PLTM", "busy": "EDS:mca1.ACQG",
                "dose": "Beam:Dose",
            }.items()
        }  # fmt: skip
        for signal in made.values():
            signal.wait_for_connection(10)
        made["preset"].set(1000.0).wait(10)
        made["blank"].set(0).wait(10)
        status = made["start"].set(1)
        seen = []
        while len(seen) < 3:
            made["read"].set(1).wait(10)
            counts = made["counts"].get()
            if counts > (seen[-1] if seen else 0):
                seen.append(counts)
        assert not status.done
        assert made["busy"].get() == 1
        made["stop"].set(1).wait(10)
        status.wait(10)
        assert made["counts"].get() >= seen[-1]
        assert 0 < made["live"].get() < 1000
        assert made["dose"].get() > 0
        assert made["busy"].get() == 0


def test_ioc_time_scale_changes_only_the_wall_time(phantom):
    """At 0.002, 10 s of dwell take 30 ms of wall time, and give what they give at once."""
    from slads_bluesky.devices import EDSDetector, SEMBeam
    from slads_bluesky.devices.sim.process import SimulatedMicroscope

    with SimulatedMicroscope("pbsn-32", prefix="SCALED:", time_scale=0.002):
        beam = SEMBeam("SCALED:Beam:", name="beam")
        eds = EDSDetector("SCALED:EDS:mca1", name="eds", beam=beam)
        beam.stage()
        eds.stage()
        doses = []
        for x in (-2.5, 4.5):
            beam.set((x, 0.5)).wait(10)
            beam.blanker.set(False).wait(10)
            eds.trigger().wait(10)
            beam.blanker.set(True).wait(10)
            assert np.array_equal(eds.reading.counts, phantom.spectrum(16 * 32 + round(x + 15.5)))
            assert eds.reading.live_s == 10.0
            doses.append(beam.read()["beam_pixel_dose"]["value"])
            assert doses[-1] == pytest.approx(eds.reading.real_s)
        assert beam.dose.get() == pytest.approx(sum(doses))
        eds.unstage()
        beam.unstage()
