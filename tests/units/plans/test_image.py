"""A map guided by an image: recorded first, taken as recorded, repeated by verify and resume."""

import numpy as np
import pytest
from bluesky import RunEngine

from slads_bluesky import LearnedSampler, PhaseClassifier, ScanGrid, SladsAgent, adaptive_map, load_map
from slads_bluesky.analysis.run_data import RunData
from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.sim.soft import SoftBSE, soft_microscope
from slads_bluesky.devices.sim.softlist import SoftListEngine
from slads_bluesky.errors import ConfigError, DataError, InstrumentError
from slads_bluesky.phantom import make_object
from slads_bluesky.plans.frame import GivenFrame
from slads_bluesky.record.verify import verify

NAME = "pbsn-48"


@pytest.fixture(scope="module")
def classifier():
    return PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})


def make_agent(fraction=0.06):
    grid = ScanGrid((48, 48))
    return SladsAgent(grid, LearnedSampler(grid.shape, labels=2, seed=1), n_labels=2, fraction=fraction)


def run(classifier, agent, image=None, lists=False, **options):
    beam, eds, sem = soft_microscope(make_object(NAME), classifier)
    if image is None:
        image = SoftBSE("bse", beam.sem)
        beam.sem.frame_faults.offset_y_um = 2.0
    flyer = SparseFlyer(SoftListEngine(beam.sem), eds, beam) if lists else None
    documents = []
    engine = RunEngine({}, context_managers=[])
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    engine(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=0.1, image=image, flyer=flyer, **options))
    return documents


def loaded(documents):
    return load_map(lambda: iter(documents))


@pytest.mark.parametrize("lists", [False, True])
def test_map_with_a_frame_records_it_first_and_repeats(classifier, lists):
    agent = make_agent(0.12)
    documents = run(classifier, agent, lists=lists)
    streams = [doc["name"] for name, doc in documents if name == "descriptor"]
    assert streams.index("image") < streams.index("primary")
    data = loaded(documents)
    assert data.start["plan_args"]["image"] == "bse"
    assert data.image.shape == (48, 48)
    assert agent.image_use["displacement"] == pytest.approx([2.0, 0.0], abs=0.5)
    assert data.maps[-1]["image_used"] == 1
    assert verify(data, make_agent(0.12), None).passed


def test_verify_without_the_recorded_frame_finds_other_decisions(classifier):
    data = loaded(run(classifier, make_agent()))
    without = RunData(**{**vars(data), "image": None})
    assert not verify(without, make_agent(), None).passed


def test_resumed_map_takes_the_frame_of_its_parent(classifier):
    first = loaded(run(classifier, make_agent(0.04)))
    whole = loaded(run(classifier, make_agent(0.06)))
    agent = make_agent(0.06)
    first.teach(agent)
    documents = run(classifier, agent, md={"resumes": first.uid})
    assert "image" not in [doc.get("name") for name, doc in documents if name == "descriptor"]
    rest = loaded(documents)
    assert [*first.pixels, *rest.pixels] == list(whole.pixels)


def test_given_frame_guides_a_map_and_is_named(classifier):
    frame = make_object(NAME).truth.astype(np.float32) + np.random.default_rng(0).normal(size=(48, 48)) / 4
    agent = make_agent()
    documents = run(classifier, agent, GivenFrame(frame, "field.tif"))
    event = next(doc for name, doc in documents if name == "event" and "bse_image" in doc["data"])
    assert event["data"]["bse_source"] == "field.tif"
    assert agent.image_use["used"]


def test_frame_of_another_grid_ends_the_plan_before_the_first_point(classifier):
    agent = make_agent()
    with pytest.raises(DataError, match="the grid 48 × 48"):
        run(classifier, agent, GivenFrame(np.eye(20, dtype=np.float32), "small.tif"))
    assert agent.n_measured == 0


def test_image_under_another_name_than_the_agents_is_refused(classifier):
    with pytest.raises(ConfigError, match=r"looks for the image at 'bse_image', se gives 'se_image'"):
        run(classifier, make_agent(), GivenFrame(np.eye(48, dtype=np.float32), "x.tif", name="se"))


@pytest.mark.parametrize("comes_back", [True, False])
def test_frame_that_is_refused_is_scanned_once_more(classifier, comes_back):
    beam, eds, _ = soft_microscope(make_object(NAME), classifier)
    image = SoftBSE("bse", beam.sem)
    beam.sem.tripped = True
    engine = RunEngine({}, context_managers=[])
    agent = make_agent(0.01)

    def hook(msg):
        if msg.command == "sleep" and comes_back:
            beam.sem.tripped = False

    engine.msg_hook = hook
    plan = adaptive_map(beam, eds, agent, dwell_s=0.1, image=image)
    if comes_back:
        engine(plan)
        assert agent.image_use is not None
        assert agent.n_measured > 0
    else:
        with pytest.raises(InstrumentError, match="bse: no beam current"):
            engine(plan)
        assert agent.n_measured == 0
