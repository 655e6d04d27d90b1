"""Before a map: what does not fit is refused with both values, what fits is forecast, and the session is checked."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.instrument import open_session
from slads_bluesky.plans.queue import queue_plans
from slads_bluesky.record.catalog.store import close_catalog
from slads_bluesky.sampling.joint.model import shipped_joint_model


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLADS_INSTRUMENT", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "instrument.yml").write_text(
            "mode: soft\nsimulation: {object: pbsn-32}\ngrid: {shape: [32, 32]}\nclassifier: {train: likelihood}\n"
            f"dose: {{pixel_nc: 12}}\ncatalog: {{directory: {folder / 'record'}}}\n"
            "display: {progress: false, live: false}\n"
        )
        opened = open_session(folder / "instrument.yml")
        yield opened
        opened.close()
        close_catalog(opened.db)


def test_forecast_of_a_map_that_fits_says_points_dose_and_first_pixels(session):
    forecast = session.estimate(fraction=0.1)
    assert forecast.estimate.n_points == 102
    assert forecast.estimate.dose_nc.value == pytest.approx(1020, rel=0.01)
    text = repr(forecast)
    for words in ("32 × 32 pixels", "102 of 1024 pixels", "no earlier run", "initial mask"):
        assert words in text
    assert 0 < len(forecast.first_pixels) <= 102
    assert session.agent is None
    assert json.loads(json.dumps(session.check_map(fraction=0.1)))["n_points"] == 102


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"rows": 256, "columns": 256}, r"256 × 256 pixels of 1 × 1 µm does not lie in the field: .*127\.5"),
        ({"centre_x_um": 30.0}, "does not lie in the field"),
        ({"step_um": 2.0}, "2 × 2 µm does not lie"),
        ({"dwell_s": 30.0}, r"30 s at 1 nA gives a pixel 30 nC, dose\.pixel_nc allows 12"),
        ({"budget_nc": 1.0}, "budget of 1 nC ends within the initial mask"),
        ({"fraction": 2.0}, "fraction must be"),
    ],
)
def test_map_that_does_not_fit_is_refused_with_both_values(session, arguments, culprit):
    with pytest.raises(ConfigError, match=culprit):
        session.check_map(**arguments)


def test_what_the_joint_sampler_minimises_is_as_asked_for_and_of_no_other_sampler(session):
    with pytest.raises(ConfigError, match="minimise: of the sampler 'joint', not of 'learned'"):
        session.new_agent(0.1, minimise="time")
    usual = session.settings
    joint = usual.sampler.model_copy(update={"name": "joint"})
    try:
        session.settings = usual.model_copy(update={"sampler": joint})
        session.models, models = replace(session.models, sampler=shipped_joint_model()), session.models
        made = session.new_agent(0.1, minimise="time").configuration()["sampler"]
        assert (made["minimise"], made["overhead_s"]) == ("time", 0.011)
        assert "minimise" not in session.new_agent(0.1).configuration()["sampler"]
    finally:
        session.settings, session.models = usual, models


def test_preview_draws_the_first_pixels_over_an_image(session, tmp_path):
    forecast = session.estimate(fraction=0.1)
    np.save(tmp_path / "bse.npy", np.arange(32 * 32).reshape(32, 32))
    forecast.preview(tmp_path / "bse.npy", save=tmp_path / "mask.png")
    assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="nowhere"):
        forecast.preview(tmp_path / "nowhere.png", save=tmp_path / "mask.png")


def test_forecast_rests_on_earlier_runs_of_the_record(session):
    session.RE(queue_plans(session).map_sample("a", fraction=0.05, dwell_s=0.5))
    forecast = session.estimate(fraction=0.1, sample="a")
    assert [run.uid for run in forecast.runs] == [session.recorder.uids[-1]]
    assert "one earlier run" in repr(forecast)
    assert session.estimate(fraction=0.1, sample="b").runs == ()


def test_doctor_at_the_prompt_is_a_line_a_check(session):
    found = session.doctor()
    assert {"journal", "runs"} <= {result.name for result in found}
    lines = repr(found).splitlines()
    assert lines[-1] in ("all checks passed", f"1 of {len(found)} checks failed")
    assert sum(line.startswith(("ok", "NOT OK")) for line in lines) == len(found)


def test_doctor_leaves_the_sessions_catalog_open(session):
    session.doctor()
    documents = list(session.db[-1].documents())
    assert (documents[0][0], documents[-1][0]) == ("start", "stop")


def test_estimate_with_an_image_gives_clients_what_they_draw(session, tmp_path):
    np.save(tmp_path / "bse.npy", np.random.default_rng(0).random((64, 64)).astype(np.float32))
    forecast = session.check_map(fraction=0.1, image=str(tmp_path / "bse.npy"))
    assert base64.b64decode(forecast["image_png"]).startswith(b"\x89PNG")
    assert len(forecast["first_pixels"]) == forecast["n_first"]
    assert max(forecast["first_pixels"]) < 32 * 32
    assert json.loads(json.dumps(forecast))["lines"][0].startswith("points")
    session.estimate(image=str(tmp_path / "bse.npy")).preview(save=tmp_path / "over.png")
    assert (tmp_path / "over.png").stat().st_size > 1000
    with pytest.raises(DataError, match="nowhere"):
        session.check_map(image=str(tmp_path / "nowhere.npy"))
