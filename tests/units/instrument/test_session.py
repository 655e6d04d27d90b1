"""A session in this process: spectra are collected, a classifier is trained on them, and maps are made with it."""

import logging
import re
import subprocess
import sys

import numpy as np
import pytest
from bluesky.simulators import summarize_plan
from hypothesis import given
from hypothesis import strategies as st

from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.errors import ConfigError, InstrumentError, RecordError
from slads_bluesky.instrument import open_session
from slads_bluesky.instrument.collected import collected_spectra, flagged_spectra, write_phases
from slads_bluesky.instrument.startup import StartupError
from slads_bluesky.plans.collect import spots
from slads_bluesky.plans.queue import queue_plans
from slads_bluesky.record import close_catalog

COMMON = """\
grid: {{shape: [64, 64]}}
sampler: {{name: low-discrepancy, fraction: 0.02}}
catalog: {{directory: {record}}}
display: {{progress: false, live: false}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory, shared_cache, pbsn_models):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        patch.delenv("SLADS_INSTRUMENT", raising=False)
        yield tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def open_lab(home):
    opened = []

    def make(text, name="instrument.yml"):
        (home / name).write_text(text + COMMON.format(record=home / "record"))
        opened.append(open_session(home / name))
        return opened[-1]

    yield make
    for session in opened:
        session.close()
    if opened:
        close_catalog(opened[0].db)


@pytest.fixture(scope="module")
def soft(open_lab):
    return open_lab("mode: soft\nclassifier: {train: likelihood}\ndose: {error: 0.001}\n")


@pytest.fixture(scope="module")
def plans(soft):
    return queue_plans(soft)


@pytest.fixture(scope="module")
def places(soft):
    """Positions that are surely of each phase: the middles of its largest areas."""
    from scipy.ndimage import distance_transform_edt

    truth, found = soft.beam.sem.specimen.truth, {}
    for label, phase in enumerate(soft.models.classifier.phases, start=1):
        depth = distance_transform_edt(truth == label)
        found[phase] = [soft.grid.position(int(p)) for p in np.argsort(depth.ravel())[-3:]]
    return found


def test_spectra_are_collected_and_trained_on_and_the_classifier_maps_the_sample(
    soft, plans, places, home, caplog
):
    """Soft devices collect; the command trains; the microscope behind other PVs is mapped with the result."""
    before = soft.beam.position
    for phase, positions in places.items():
        soft.RE(plans.collect_spectra(phase, positions, spectra=9, spread_um=0.4, dwell_s=2.0))
    assert soft.beam.position == before
    assert soft.eds.stop_rule is not None  # put aside meanwhile, so that each had its full dwell
    with caplog.at_level(logging.WARNING, "slads_bluesky"):
        phases = soft.records.save_phases(home / "phases")
    assert not caplog.messages
    collected = collected_spectra([soft.records.run(i) for i in (-1, -2)])
    assert all((live == 2.0).all() and len(live) == 9 for live in collected.live_time_s.values())
    with pytest.raises(RecordError, match="is there already"):
        write_phases(collected, home / "phases")
    model = home / "ours.safetensors"
    subprocess.run(
        [sys.executable, "-m", "slads_bluesky", "train", "classifier", "--phases", phases, "-o", model],
        check=True, cwd=home, timeout=200, capture_output=True,
    )  # fmt: skip

    (uid,) = soft.RE(plans.map_sample("Pb-Sn 7", rows=32, columns=32, fraction=0.05, notes="first look"))
    data = soft.records.load(uid)
    assert (data.start["sample"], data.start["notes"]) == ("Pb-Sn 7", "first look")
    assert data.n_measured == round(0.05 * 32 * 32)
    assert data.live_time_s.max() < 1.0  # it stops when it is sure, long before the 10 s
    assert soft.records.verify(uid).passed


def test_a_microscope_behind_other_names_takes_other_names_in_the_file_and_nothing_else(open_lab, soft, home):
    with SimulatedMicroscope("pbsn-64", prefix="LAB:"):
        lab = open_lab(
            "mode: hardware\n"
            "devices:\n"
            "  beam: {class: SEMBeam, prefix: 'LAB:Beam:'}\n"
            "  eds: {class: EDSDetector, prefix: 'LAB:EDS:mca1'}\n"
            "  sem: {class: 'slads_bluesky.devices.microscope:Microscope', prefix: 'LAB:Beam:'}\n"
            "classifier: {file: ours.safetensors}\n",
            "lab.yml",
        )
        plans = queue_plans(lab)
        (uid,) = lab.RE(plans.map_sample("through the lab's PVs"))
        data = lab.records.load(uid)
        assert data.n_measured == round(0.02 * 64 * 64)
        truth = soft.beam.sem.specimen.truth.ravel()[data.pixels]
        ok = data.verdicts == "ok"
        assert ok.mean() > 0.9
        names = tuple(soft.models.classifier.phases)
        assert [data.phases[i - 1] for i in data.labels[ok]] == [names[i - 1] for i in truth[ok]]
        assert lab.beam.blanker.get()


VENDOR = """from vendor_interface import SpotJobBeam, SpotJobEDS, SpotResult
from slads_bluesky.grid import ScanGrid
from slads_bluesky.phantom import make_object


class Interface:
    \"\"\"Stands for a vendor's Python interface: runs spot jobs on an object.\"\"\"

    current_na = 1.0

    def __init__(self, name):
        self.specimen = make_object(name)
        self.grid = ScanGrid(self.specimen.shape)
        self.n_channels = self.specimen.axis.n_channels
        self.energy_kev = (self.specimen.axis.offset_kev, self.specimen.axis.width_kev)
        self.field_um = self.specimen.shape

    def run(self, x_um, y_um, max_time_s, max_counts):
        return SpotResult(self.specimen.spectrum(self.grid.pixel(x_um, y_um)), max_time_s, 1.5 * max_time_s)

    def cancel(self):
        pass


def beam(address, name):
    return SpotJobBeam(Interface(address), name)


def eds(address, name, beam):
    return SpotJobEDS(beam.jobs, beam, name=name)
"""


def test_a_vendors_interface_takes_a_module_of_its_own(open_lab, home, monkeypatch):
    (home / "vendor_of_ours.py").write_text(VENDOR)
    monkeypatch.syspath_prepend(home)
    lab = open_lab(
        "mode: hardware\n"
        "devices:\n"
        "  beam: {class: 'vendor_of_ours:beam', prefix: pbsn-64}\n"
        "  eds: {class: 'vendor_of_ours:eds', prefix: pbsn-64}\n"
        "  sem:\n"
        "classifier: {file: ours.safetensors}\n",
        "vendor.yml",
    )
    assert lab.x.limits == (0.0, 0.0)
    (uid,) = lab.RE(queue_plans(lab).map_sample("by spot jobs", fraction=0.01, dwell_s=2.0))
    data = lab.records.load(uid)
    assert data.n_measured == round(0.01 * 64 * 64)
    assert (data.verdicts == "ok").mean() > 0.9
    assert lab.records.verify(uid).passed


def test_silent_pvs_are_named_with_their_line(home, monkeypatch):
    monkeypatch.setattr("slads_bluesky.instrument.parts.CONNECTION_S", 0.3)
    (home / "silent.yml").write_text(
        "mode: hardware\ndevices:\n  sem: {class: Microscope, prefix: 'NOT:There:'}\n"
        + COMMON.format(record=home / "elsewhere")
    )
    with pytest.raises(
        StartupError, match=r"silent\.yml, line 3, devices\.sem\.prefix: sem: no answer .* NOT:There:HV"
    ):
        open_session(home / "silent.yml")


def test_without_a_classifier_known_phases_cannot_be_mapped(soft, plans):
    had = soft.models
    soft.models = type(had)(None, None)
    try:
        with pytest.raises(ConfigError, match=r"no classifier yet.*collect_spectra.*classifier\.file"):
            soft.RE(plans.map_sample("steel"))
    finally:
        soft.models = had


def test_a_complete_map_is_not_gone_on_with(soft, plans):
    soft.RE(plans.map_sample("small", rows=8, columns=8, fraction=0.5))
    with pytest.raises(RecordError, match="is complete: the wanted fraction"):
        soft.RE(plans.resume_map())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"phase": " "}, "a phase needs a name"),
        ({"phase": "Sn", "positions": []}, "no position"),
        ({"phase": "Sn", "spectra": 0}, "at least one spectrum"),
        ({"phase": "Sn", "positions": [(1e4, 0)]}, "outside the field"),
    ],
)
def test_what_cannot_be_collected_is_refused_before_the_run(soft, plans, arguments, words):
    before = len(soft.recorder.uids)
    with pytest.raises((ConfigError, InstrumentError), match=words):
        soft.RE(plans.collect_spectra(**arguments))
    assert len(soft.recorder.uids) == before


def test_a_dry_run_touches_nothing(soft, plans, capsys):
    before = soft.beam.sem.dose_nc
    summarize_plan(plans.map_sample("steel"))
    summarize_plan(plans.collect_spectra("Sn", [(0, 0)]))
    assert "Open Run" in capsys.readouterr().out
    assert soft.beam.sem.dose_nc == before


def test_a_classifier_without_a_posterior_is_refused_for_an_adaptive_dwell(open_lab):
    with pytest.raises(StartupError, match=re.escape("bad.yml, line 3, dose.error: an adaptive dwell")):
        open_lab("mode: soft\nclassifier: {train: paper}\ndose: {error: 0.001}\n", "bad.yml")


@given(
    positions=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=4),
    n=st.integers(1, 60),
    spread=st.floats(0, 50),
)
def test_spots_lie_within_the_spread_and_take_turns(positions, n, spread):
    found = spots(positions, n, spread)
    assert len(found) == n
    for i, (x, y) in enumerate(found):
        px, py = positions[i % len(positions)]
        assert np.hypot(x - px, y - py) <= spread * (1 + 1e-9) + 1e-9


def test_a_spectrum_of_another_phase_is_noticed():
    rng = np.random.default_rng(1)
    shapes = {"A": np.r_[np.full(50, 9.0), np.full(50, 1.0)], "B": np.r_[np.full(50, 1.0), np.full(50, 9.0)]}
    spectra = {phase: rng.poisson(shape, (6, 100)) for phase, shape in shapes.items()}
    assert flagged_spectra(spectra) == []
    spectra["A"][4] = rng.poisson(shapes["B"])
    assert flagged_spectra(spectra) == ["spectrum 4 of A looks like B"]


@pytest.mark.parametrize("plan", ["map_sample", "raster_map", "collect_spectra"])
def test_a_budget_of_nothing_is_no_budget_of_any_size(soft, plans, plan):
    """Zero is a value: it must not be taken for "as in the file", which here has no limit."""
    arguments = {"map_sample": ["x"], "raster_map": ["x"], "collect_spectra": ["Sn", [(0.0, 0.0)]]}[plan]
    before = soft.beam.sem.dose_nc
    with pytest.raises(ConfigError, match=r"a dose budget is positive, not 0 nC a run"):
        soft.RE(getattr(plans, plan)(*arguments, budget_nc=0))
    assert soft.beam.sem.dose_nc == before
