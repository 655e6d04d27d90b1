"""What could burn a specimen or falsify a map without anybody noticing: restarts, other users, hangs, lost limits."""

from __future__ import annotations

import itertools
import os
import threading
import time
from math import hypot
from types import SimpleNamespace

import pytest

from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.devices.status import QuickStatus
from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.plans.budget import DoseAccount, DoseBudget
from slads_bluesky.plans.collect import spots
from slads_bluesky.plans.patience import Patience
from slads_bluesky.plans.raster import list_map
from slads_bluesky.plans.run import check_fresh, position_tolerance
from slads_bluesky.spectra.dwell import SequentialTest


def at_trigger(n, action):
    """A message hook that acts once, off the loop, at the n-th trigger."""
    seen = itertools.count(1)

    def hook(msg):
        if msg.command == "trigger" and next(seen) == n:
            threading.Thread(target=action).start()

    return hook


@pytest.fixture
def mortal(classifier):
    """A microscope that can be killed and restarted, with its devices."""
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-64", prefix="RESTART:") as microscope:
        from slads_bluesky.devices import EDSDetector, SEMBeam

        beam = SEMBeam("RESTART:Beam:", name="beam")
        eds = EDSDetector("RESTART:EDS:mca1", name="eds", beam=beam, classifier=classifier)
        yield SimpleNamespace(microscope=microscope, beam=beam, eds=eds)


def test_run_with_an_ioc_restarted_in_the_middle_keeps_presets_and_dose(
    mortal, make_agent, RE, documents, monkeypatch, caplog
):
    monkeypatch.setattr("slads_bluesky.plans.stubs.MOVE_TIMEOUT_S", 3.0)
    restarted = threading.Event()

    def restart():
        mortal.microscope._process.kill()
        mortal.microscope._process.wait()
        mortal.microscope.stop()
        mortal.microscope.start()
        restarted.set()

    RE.msg_hook = at_trigger(12, restart)
    budget = DoseBudget(pixel_nc=0.4)
    RE(
        adaptive_map(mortal.beam, mortal.eds, make_agent(30), dwell_s=0.3, budget=budget, timeout_s=3.0),
        documents,
    )
    assert restarted.is_set()
    events = [event["data"] for event in documents.events()]
    assert len(events) + len(documents.events("failed")) == 30
    reasons = [event["data"]["failed_reason"] for event in documents.events("failed")]
    assert len(reasons) <= 1, reasons  # both tries of one point may fall into the restart
    assert all(data["eds_live_time"] <= 0.3 for data in events)  # the IOC's own preset is 10 s
    assert all(data["beam_pixel_dose"] <= 0.401 for data in events)
    assert "eds_preset_live_time was 10.0 instead of 0.3; restored" in caplog.text
    assert "the dose counter went back" in caplog.text


def test_account_of_a_counter_that_goes_back_never_decreases(caplog):
    account = DoseAccount(DoseBudget(run_nc=10.0), "dose", "pixel")
    spent = []
    for total in (101.0, 103.0, 1.0, 2.5):  # reset between the second point and the third
        account.book({"data": {"dose": total, "pixel": 1.0}})
        spent.append(account.spent_nc)
    assert spent == [1.0, 3.0, 4.0, 5.5]
    assert "went back from 103 to 1 nC" in caplog.text


def test_account_of_a_beam_without_a_counter_adds_up_its_pixels():
    account = DoseAccount(DoseBudget(run_nc=4.1), "dose", "pixel")
    assert account.objection() == ""
    account.book({"data": {"pixel": 1.0}})
    account.book({"data": {"eds_verdict": "ill"}})  # a point that failed has no dose of its own
    assert (account.spent_nc, account.largest_nc) == (1.0, 1.0)
    account.book({"data": {"pixel": 1.0}})
    assert (account.spent_nc, account.largest_nc) == (2.0, 1.0)
    assert account.objection() == ""
    account.largest_nc = 2.0  # 2 + 1.05 * 2 is just what the run may take
    assert account.objection() == ""
    account.book({"data": {"pixel": 0.001}})
    assert "4.1 nC, has 2.1 nC left, less than the 2.1 nC of another point" in account.objection()


@pytest.mark.parametrize("retries", [1, 2])
def test_point_measured_elsewhere_fails_and_is_never_ok(over_ca, RE, documents, retries):
    """Another user, without a lease, moves the beam in mid-acquisition."""
    from ophyd import EpicsSignal

    intruder = EpicsSignal("PLANS:Beam:X", name="intruder", put_complete=True)
    intruder.wait_for_connection(10)
    left = itertools.count()

    def hook(msg):
        if msg.command == "create" and msg.kwargs.get("name") == "primary" and next(left) < retries:
            intruder.set(30.0).wait(10)

    RE.msg_hook = hook
    RE(list_map(over_ca.beam, over_ca.eds, over_ca.grid, [5, 6, 7], dwell_s=0.1), documents)
    for event in documents.events():
        data = event["data"]
        assert (data["beam_x"], data["beam_y"]) == over_ca.grid.position(data["scan_pixel"])
    failed = documents.events("failed")
    assert len(failed) == (1 if retries == 2 else 0)
    assert len(documents.events()) == 3 - len(failed)
    for event in failed:
        assert "measured at x = 30 µm instead of" in event["data"]["failed_reason"]
        assert event["data"]["eds_verdict"] != "ok"


def test_position_tolerance_of_the_plan_is_kept(soft, RE, documents):
    read = soft.beam.read
    soft.beam.read = lambda: {
        k: {**v, "value": v["value"] + 0.2 * (k == "beam_x")} for k, v in read().items()
    }
    RE(list_map(soft.beam, soft.eds, soft.grid, [5], dwell_s=0.1), documents)
    assert len(documents.events()) == 1  # a fifth of a pixel off: within a quarter
    RE(list_map(soft.beam, soft.eds, soft.grid, [6], dwell_s=0.1, tolerance_um=0.1))
    assert len(documents.events()) == 1


def test_adaptive_dwell_detector_that_hangs_costs_seconds(
    over_ca, sim, make_agent, RE, documents, phantom, caplog
):
    from slads_bluesky.phantom import training_spectra
    from slads_bluesky.spectra import PhaseClassifier

    likelihood = PhaseClassifier.from_spectra(training_spectra(phantom.name), axis=phantom.axis)
    before = over_ca.eds.classifier
    over_ca.eds.configure({"classifier": likelihood})
    sim("Hang", 2)
    began = time.monotonic()
    try:
        RE(
            adaptive_map(over_ca.beam, over_ca.eds, make_agent(5), stop_rule=SequentialTest(likelihood)),
            documents,
        )
    finally:
        over_ca.eds.configure({"classifier": before})
    (failed,) = documents.events("failed")
    assert "it hangs" in failed["data"]["failed_reason"]
    assert len(documents.events()) == 4
    assert time.monotonic() - began < 35.0  # two tries; one of a fixed dwell of 10 s alone may take 35 s
    assert "restored" not in caplog.text  # the rule's own changes of the preset counts are no faults


class Deaf:
    """A detector that keeps no preset and never ends."""

    name, hints, parent, stop_rule = "eds", {}, None, None

    def __init__(self):
        self.configured = []

    def configure(self, values):
        self.configured.append(dict(values))
        return {}, {}

    def stage(self):
        return [self]

    unstage = stage

    def trigger(self):
        return QuickStatus()

    def stop(self, success=True):
        pass

    def read(self):
        return {}

    describe = read_configuration = describe_configuration = read


def test_dose_of_a_pixel_with_a_detector_that_never_ends_is_bounded_by_the_plan(soft, RE, documents):
    began, eds = time.monotonic(), Deaf()
    RE(list_map(soft.beam, eds, soft.grid, [5], dwell_s=10.0, budget=DoseBudget(pixel_nc=0.3)), documents)
    assert time.monotonic() - began < 10.0  # 0.3 nC at 1 nA, two tries; a dwell alone would be given 35 s
    assert documents.stop["num_events"]["failed"] == 1
    assert eds.configured[0]["real_time"] == pytest.approx(0.3)
    assert soft.beam.blanker.get()


def test_patience_follows_the_expected_dwell():
    adaptive = Patience(10.0, adaptive=True, timeout_s=None, budget=DoseBudget())
    assert adaptive.limit_s(1) == 5.0
    adaptive.took(0.01)
    assert adaptive.limit_s(1) == pytest.approx(5.03)
    assert adaptive.limit_s(2) == 35.0  # a pixel that truly needs the cap gets it at the second try
    adaptive.took(9.0)
    assert adaptive.limit_s(1) == 32.0
    assert Patience(2.0, adaptive=False, timeout_s=None, budget=DoseBudget()).limit_s() == 11.0
    assert Patience(2.0, adaptive=False, timeout_s=3.0, budget=DoseBudget()).limit_s() == 3.0


def test_patience_of_a_pixel_whose_dose_is_spent_has_no_other_try():
    patience = Patience(1.0, adaptive=False, timeout_s=None, budget=DoseBudget(pixel_nc=2.0))
    patience.start(1.0, {"real_time": 2.0})
    patience.begin_pixel()
    assert patience.nothing_left({"value": 0.5}) == ""
    assert patience.dose_limit_s == pytest.approx(1.5)
    assert "has had 1.9 nC of 2 nC" in patience.nothing_left({"value": 1.9})


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_position_tolerance_not_positive_is_refused(soft, RE, tolerance):
    with pytest.raises(ConfigError, match="tolerance_um must be positive"):
        RE(list_map(soft.beam, soft.eds, ScanGrid((64, 64)), [1], tolerance_um=tolerance))


def test_point_whose_acquisition_fails_after_its_time_is_measured_again(soft, RE, documents):
    """bluesky throws the late failure into the plan while it blanks: it is not that of the blanker."""
    trigger, set_blanker, late, n = soft.eds.trigger, soft.beam.blanker.set, QuickStatus(), itertools.count()

    def set_blanker_then_fail(blanked):
        if late._callbacks:
            late.set_exception(InstrumentError("eds: too late"))
        return set_blanker(blanked)

    soft.eds.trigger = lambda: late if next(n) == 0 else trigger()
    soft.beam.blanker.set = set_blanker_then_fail
    RE(list_map(soft.beam, soft.eds, soft.grid, [5, 6], dwell_s=0.1, timeout_s=0.1), documents)
    assert late.done
    assert [event["data"]["scan_pixel"] for event in documents.events()] == [5, 6]
    assert documents.events("failed") == []


class Broken(Deaf):
    """Every acquisition fails at once."""

    def trigger(self):
        status = QuickStatus()
        status.set_exception(InstrumentError("eds: broken"))
        return status


@pytest.mark.parametrize("kind", ["list", "adaptive"])
def test_points_that_fail_on_a_soft_instrument_are_counted_and_end_the_run(
    soft, make_agent, RE, documents, kind
):
    eds, options = Broken(), {"dwell_s": 0.01, "max_failed_points": 2}
    plan = (
        list_map(soft.beam, eds, soft.grid, range(9), **options) if kind == "list"
        else adaptive_map(soft.beam, eds, make_agent(9), **options)
    )  # fmt: skip
    with pytest.raises(InstrumentError, match=r"3 points failed, the last one because: .*broken"):
        RE(plan, documents)
    assert documents.stop["exit_status"] == "fail"
    assert documents.stop["num_events"]["failed"] == 3
    assert soft.beam.blanker.get()


def test_account_of_an_agent_of_an_earlier_map_is_wanted_to_resume_it():
    known = SimpleNamespace(n_measured=3)
    check_fresh(SimpleNamespace(n_measured=0), None)
    check_fresh(known, {"resumes": "uid"})
    for md in (None, {}, {"sample": "resumes"}):
        with pytest.raises(ConfigError, match="knows 3 pixels of an earlier map"):
            check_fresh(known, md)


@pytest.mark.parametrize(
    ("given", "of_beam", "step_um", "tolerance_um"),
    [(2, 0.1, 1.0, 2.0), (None, 0.1, 1.0, 0.1), (None, None, 2.0, 0.5), (None, None, None, 0.5)],
)
def test_tolerance_of_a_position_is_the_plans_the_beams_or_a_quarter_of_a_step(
    given, of_beam, step_um, tolerance_um
):
    limits, beam = SimpleNamespace(tolerance_um=given), SimpleNamespace(position_tolerance_um=of_beam)
    assert position_tolerance(beam, limits, step_um) == tolerance_um


def test_patience_of_a_dose_that_is_preset_is_a_little_more_than_it_takes():
    patience = Patience(10.0, adaptive=False, timeout_s=None, budget=DoseBudget(pixel_nc=2.0))
    patience.start(1.0, {"real_time": 2.0})
    patience.begin_pixel()
    assert patience.limit_s() == pytest.approx(2.0 * 1.02 + 0.1)


def test_account_of_spots_that_are_spread_is_even_and_takes_turns():
    found = spots([(0.0, 0.0), (100.0, 0.0)], 10, 4.0)
    assert [x > 50 for x, _ in found] == [False, True] * 5
    radii = [hypot(x - (100.0 if i % 2 else 0.0), y) for i, (x, y) in enumerate(found)]
    assert radii[::2] == pytest.approx(radii[1::2])
    assert radii[::2] == pytest.approx([4.0 * (turn / 4) ** 0.5 for turn in range(5)])
    assert spots([(1.0, 2.0)], 1, 4.0) == [(1.0, 2.0)]
