"""Faults over Channel Access: what is judged, and one whole scene of each outcome."""

import contextlib
import signal
import time

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.evaluation.trust.campaign import QUICK, chosen_scenes, measure_trust
from slads_bluesky.evaluation.trust.faults import FAULTS, MOMENTS, Fault
from slads_bluesky.evaluation.trust.rig import Rig
from slads_bluesky.evaluation.trust.scenes import SessionPool, _stop_document, play, reference_map
from slads_bluesky.evaluation.trust.services import SERVICES
from slads_bluesky.evaluation.trust.table import trust_figures, trust_markdown, trust_rows


@pytest.fixture(scope="module")
def rig(tmp_path_factory, shared_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        with Rig(tmp_path_factory.mktemp("trust")) as made:
            yield made


@pytest.fixture(scope="module")
def pool(rig):
    pool = SessionPool(rig)
    yield pool
    pool.drop()


@pytest.fixture(scope="module")
def reference(rig, pool):
    return reference_map(rig, pool)


@pytest.mark.slow
def test_scene_of_a_short_spectrum_ends_with_the_undisturbed_map(rig, pool, reference):
    short = next(fault for fault in FAULTS if fault.name == "spectrum of half the channels")
    seen = play(rig, pool, short, "settle", reference)
    assert seen.wrong == []
    assert seen.ended == "ended"
    assert reference.n_measured == 14


@pytest.mark.slow
def test_scene_of_a_killed_session_is_resumed_by_another_one(rig, pool, reference):
    kill = Fault("kill", "resumed", lambda scene: scene.session.kill(signal.SIGKILL))
    started = pool.starts
    seen = play(rig, pool, kill, "read", reference)
    assert seen.wrong == []
    assert seen.ended == "the session ended; resumed: ended"
    assert pool.starts == started + 1


@pytest.mark.slow
def test_scene_of_a_beam_that_stays_lit_is_judged_wrong(rig, pool, reference):
    def light(scene):
        scene.rig.put("Beam:Blank", 0)
        time.sleep(0.3)

    lit = Fault("lit", "blanked", light, dark_s=0.0)
    seen = play(rig, pool, lit, "baseline", reference)
    assert [text for text in seen.wrong if text.startswith("beam lit for")]


def documents(**stop):
    return [
        ("start", {"uid": "r"}),
        ("descriptor", {"uid": "d", "name": "primary", "run_start": "r"}),
        *(("event", {"descriptor": "d", "seq_num": n, "data": {}}) for n in (1, 2, 2, 3)),
        ("stop", {"exit_status": "success", "num_events": {"primary": 3}, **stop}),
    ]


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        ({}, ""),
        ({"num_events": {"primary": 4}}, "counts 4 events of 'primary', not 3"),
        ({"num_events": {}}, "counts 0 events of 'primary', not 3"),
        ({"exit_status": "abort", "reason": ""}, "'abort' without a reason"),
        ({"exit_status": "abort", "reason": "SIGTERM"}, ""),
    ],
)
def test_stop_document_that_is_false_is_said_to_be(stop, words):
    assert words in "; ".join(_stop_document(documents(**stop)))
    assert bool(_stop_document(documents(**stop))) == bool(words)


def test_matrix_of_faults_has_twenty_at_five_moments():
    assert sum(set(fault.moments) >= set(MOMENTS) for fault in FAULTS) >= 20
    assert len(MOMENTS) == 5
    known = {(fault.name, moment) for fault in FAULTS for moment in fault.moments}
    assert set(QUICK) <= known


def test_chosen_scenes_by_name_and_moment_are_only_those():
    matrix, services = chosen_scenes(["sigterm"], ["read"], False)
    assert [(fault.name, moment) for fault, moment in matrix] == [("SIGTERM", "read")]
    assert services == []
    matrix, services = chosen_scenes(["tiled"], None, False)
    assert matrix == []
    assert services == [name for name in SERVICES if "Tiled" in name]
    with pytest.raises(ConfigError, match="no fault is named like 'flood'"):
        chosen_scenes(["flood"], None, False)
    with pytest.raises(ConfigError, match="unknown moment 'noon'"):
        chosen_scenes(None, ["noon"], False)


def test_trust_rows_and_figures_name_what_did_not_hold():
    scene = {"fault": "SIGTERM", "moment": "acquire", "dark_after_s": 1.5, "ended": "", "holds": False,
             "wrong": ["beam lit for 1.5 s or more, not 1 s"]}  # fmt: skip
    good = {**scene, "moment": "read", "dark_after_s": 0.1, "wrong": [], "holds": True}
    found = {"scenes": [scene, good], "kills": None}
    ((name, _, tested, seen),) = trust_rows(found)
    assert (name, tested) == ("SIGTERM", "acquire, read")
    assert seen == "1 of 2 held; blanked after 1.50 s at most\nacquire: beam lit for 1.5 s or more, not 1 s"
    figures = {figure.name: (figure.value, figure.holds) for figure in trust_figures(found)}
    assert figures["beam blanked in time"] == (1, False)
    assert figures["maps that are not the undisturbed one"] == (0, True)
    assert figures["scenes in which all promises held"] == (1, False)


def test_measure_trust_takes_kept_scenes_and_plays_only_what_is_missing(tmp_path, monkeypatch):
    from slads_bluesky.evaluation.trust import campaign

    played = []

    def seen(rig, pool, fault, moment, reference):
        played.append((fault.name, moment))
        return campaign.Seen(fault.name, moment, ended="ended")

    monkeypatch.setattr(campaign, "play", seen)
    monkeypatch.setattr(campaign, "Rig", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(campaign, "reference_map", lambda *_: None)
    first = measure_trust(["sigterm"], ["read"], kills=0, keep=tmp_path)
    assert played == [("SIGTERM", "read")]
    again = measure_trust(["sigterm"], ["settle", "read"], kills=0, keep=tmp_path)
    assert played == [("SIGTERM", "read"), ("SIGTERM", "settle")]
    assert [scene["moment"] for scene in again["scenes"]] == ["settle", "read"]
    assert again["scenes"][1] == first["scenes"][0]
    measure_trust(["sigterm"], ["read"], kills=0, seed=1, keep=tmp_path)  # of another object
    assert played[2:] == [("SIGTERM", "read")]


def test_trust_markdown_is_a_table_without_broken_cells():
    scene = {"fault": "SIGTERM", "moment": "acquire", "dark_after_s": 0.1, "ended": "", "holds": False,
             "wrong": ["a | b"]}  # fmt: skip
    page = trust_markdown(
        {"scenes": [scene, {**scene, "moment": "read", "wrong": [], "holds": True}], "kills": None}
    )
    rows = [line for line in page.splitlines() if line.startswith("| SIGTERM")]
    assert rows == [
        "| SIGTERM | blanked, run closed, resumed to the same map | acquire, read | "
        "1 of 2 held; blanked after 0.10 s at most<br>acquire: a / b |"
    ]
    assert "| beam blanked in time | 2 | ≥ 2 |" in page
