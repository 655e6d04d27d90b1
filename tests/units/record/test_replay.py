"""Records questioned: verified, replayed, resumed; and refused when they cannot be a map."""

import dataclasses
import json
import shutil
from datetime import datetime

import event_model
import numpy as np
import pytest
from maps import OBJECT, data_of, take_map
from record_helpers import Detector, rewound_documents, run_engine, spectra_plan

from slads_bluesky.analysis.load import load_map
from slads_bluesky.cli import main
from slads_bluesky.cli.record import _since
from slads_bluesky.codehash import DECISIONS, decisions_hash
from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.record import Journal, journal_directory, open_catalog
from slads_bluesky.record.replay import replay
from slads_bluesky.record.resume import find_classifier, find_sampler_model, rebuild_agent
from slads_bluesky.record.runs import catalog_documents, find_run, list_runs, map_runs
from slads_bluesky.record.verify import explain, verify
from slads_bluesky.spectra import EnergyAxis


@pytest.fixture(scope="module")
def checked(mapped, model_cache):
    """The map, and what its agent and its classifier are made of."""
    run = find_run(mapped[1], mapped[0])
    return data_of(run), find_sampler_model(run.start, model_cache), find_classifier(run.start, model_cache)


def test_every_decision_label_and_verdict_of_a_run_is_the_same_again(checked):
    data, model, classifier = checked
    result = verify(data, rebuild_agent(data.start, model), classifier)
    assert result.passed, result.differences
    assert result.n_events == data.n_measured == round(0.12 * 48 * 48)


def test_the_agent_made_again_describes_itself_as_the_first_did(checked):
    data, model, _ = checked
    assert rebuild_agent(data.start, model).configuration() == data.start["agent"]


def test_a_changed_pixel_is_found_at_its_event_and_nowhere_else(checked):
    data, model, classifier = checked
    pixels = data.pixels.copy()
    unmeasured = np.setdiff1d(np.arange(48 * 48), pixels)
    pixels[200] = unmeasured[0]
    result = verify(dataclasses.replace(data, pixels=pixels), rebuild_agent(data.start, model), classifier)
    assert not result.passed
    first = result.differences[0]
    assert (first.event, first.what, first.recorded) == (201, "decision", unmeasured[0])
    assert first.again == data.pixels[200]


def test_a_changed_label_or_spectrum_is_found(checked):
    data, model, classifier = checked
    labels = data.labels.copy()
    labels[7] = 3 - labels[7]
    result = verify(dataclasses.replace(data, labels=labels), rebuild_agent(data.start, model), classifier)
    assert (result.differences[0].event, result.differences[0].what) == (8, "label")
    spectra = data.spectra.copy()
    spectra[11] = spectra[11][::-1]
    result = verify(dataclasses.replace(data, spectra=spectra), rebuild_agent(data.start, model), classifier)
    assert result.differences[0].event == 12
    assert {difference.event for difference in result.differences} == {12}


def test_verify_of_a_map_that_its_dose_budget_ended_finds_nothing(checked):
    data, model, classifier = checked
    first = dataclasses.replace(
        data,
        **{
            name: getattr(data, name)[:100]
            for name in ("pixels", "erd", "labels", "probabilities", "verdicts", "spectra", "live_time_s",
                         "real_time_s", "dose_nc", "position_um", "times", "failed")
        },
        maps=(),
    )  # fmt: skip
    budget = {**data.starts[-1], "plan_args": {"budget_nc": {"run": 5.0, "pixel": None}}}
    spent = "the dose budget of the run, 5 nC, has 0.01 nC left, less than the 0.1 nC of another point"
    for starts, reason, passed in (
        ((budget,), spent, True),
        (data.starts, "", True),  # RE.stop()
        (data.starts, spent, False),  # a budget that the run had not
        (data.starts, "the wanted fraction of 0.12 is measured", False),
    ):
        ended = dataclasses.replace(first, starts=starts, stop={**data.stop, "reason": reason})
        assert verify(ended, rebuild_agent(data.start, model), classifier).passed == passed, reason


def test_models_with_a_bad_file_among_them_are_found(checked, model_cache, tmp_path):
    data, model, _ = checked
    for path in model_cache.glob("*.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "0.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "00.safetensors").mkdir()
    header = b'{"__metadata__":{"slads_bluesky":"' + b"[" * 5000 + b'"}}'
    (tmp_path / "1.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert find_sampler_model(data.start, tmp_path).sha256 == model.sha256


class Weighing:
    """A classifier with log-likelihoods, those of a spectrum's first channels."""

    def __init__(self, classifier):
        self._classifier = classifier

    def __getattr__(self, name):
        return getattr(self._classifier, name)

    def log_likelihoods(self, counts):
        return -np.sqrt(np.arange(3.0) + counts[:3])


def test_verify_changed_log_likelihood_is_found_bit_for_bit(checked):
    data, model, classifier = checked
    weighing = Weighing(classifier)
    recorded = np.array([weighing.log_likelihoods(spectrum) for spectrum in data.spectra])
    recorded[9] = np.nan  # not recorded
    for changed, found in ((None, []), (5, [(6, "log_likelihood")])):
        values = recorded.copy()
        if changed is not None:
            values[changed, 1] = np.nextafter(values[changed, 1], -np.inf)
        agent = rebuild_agent(data.start, model)
        result = verify(dataclasses.replace(data, log_likelihoods=values), agent, weighing)
        assert [(d.event, d.what) for d in result.differences] == found


def test_another_seed_differs_from_the_first_event(checked):
    data, model, _ = checked
    start = {**data.start, "agent": {**data.start["agent"], "seed": 5}}
    result = verify(data, rebuild_agent(start, model), None)
    assert result.differences[0].event == 1


def test_what_is_not_as_it_was_is_named():
    start = {"model_hashes": {"sampler": "a" * 64}, "versions": {"numpy": "1.0", "scipy": "1.1"}}
    why = explain(start, {"sampler": "b" * 64}, {"numpy": "2.0", "scipy": "1.1"})
    assert why == ["model: sampler was aaaaaaaaaaaa…, is bbbbbbbbbbbb…", "version: numpy was 1.0, is 2.0"]


def test_code_that_decides_otherwise_now_is_named_and_an_older_run_says_that_it_cannot_know(checked):
    data, _, _ = checked
    recorded = data.start["versions"][DECISIONS]
    assert recorded == decisions_hash()[:12]
    assert explain(data.start, {}, data.start["versions"]) == []
    assert explain(data.start, {}, {**data.start["versions"], DECISIONS: "changed"}) == [
        f"version: {DECISIONS} was {recorded}, is changed"
    ]
    older = {"versions": {"numpy": "2.0"}}
    assert explain(older, {}, {"numpy": "2.0", DECISIONS: "changed"}) == [
        "version: the run is older than the record of what decided it, which may have changed since"
    ]


@pytest.mark.parametrize("kill_after", [1, 13, 150, 275])
def test_a_map_cut_off_anywhere_is_resumed_to_the_map_that_was_not(
    checked, model_cache, tmp_path, kill_after
):
    """Decision by decision; 23 pixels are of the initial mask, 276 are the whole map."""
    data, model, _ = checked
    uid = take_map(tmp_path, model_cache, kill_after=kill_after)
    parent = find_run(uid, tmp_path)
    assert parent.exit_status == "unfinished"
    agent = rebuild_agent(parent.start, model)
    for event in data_of(parent, spectra=False).events():
        agent.ingest(event)
    assert agent.n_measured == kill_after
    take_map(tmp_path, model_cache, agent=agent, md={"resumes": uid})
    chain = map_runs(find_run("-1", tmp_path), tmp_path)
    assert chain[0].uid == uid
    whole = load_map([run.documents for run in chain])
    for name in ("pixels", "labels", "probabilities", "verdicts", "spectra", "measured", "reconstruction"):
        assert np.array_equal(getattr(whole, name), getattr(data, name)), name
    assert np.array_equal(whole.erd, data.erd, equal_nan=True)
    assert verify(whole, rebuild_agent(whole.start, model), None).passed


def test_a_map_whose_parent_is_missing_is_not_shown_for_the_whole(model_cache, tmp_path):
    take_map(tmp_path, model_cache, fraction=0.02, md={"resumes": "0" * 36})
    run = find_run("-1", tmp_path)
    with pytest.raises(RecordError, match="00000000, which is missing"):
        map_runs(run, tmp_path)


def test_documents_are_emitted_as_they_came(mapped):
    run = find_run(mapped[1], mapped[0])
    got, slept = [], []
    n = replay(run.documents(), [lambda name, doc: got.append((name, doc))], speed=1e-3, sleep=slept.append)
    assert n == len(got) == len(list(run.documents()))
    times = [doc["time"] for _, doc in got]
    assert sum(slept) >= (max(times) - min(times)) * 1e3 * 0.5
    assert (got[0][0], got[-1][0]) == ("start", "stop")
    with pytest.raises(ConfigError, match="speed"):
        replay([], [], speed=0.0)


def test_best_effort_callback_takes_a_replay(mapped, capsys):
    code, out, _ = run_cli(capsys, "replay", mapped[1][:8], "--catalog", mapped[0])
    assert code == 0
    assert "scan_pixel" in out
    assert "|       276 |" in out


@pytest.fixture(scope="module")
def several(tmp_path_factory, mapped):
    """A record with a map, a run of another plan, a rewound one and a broken file."""
    directory = tmp_path_factory.mktemp("several")
    shutil.copytree(mapped[0], directory, dirs_exist_ok=True)
    with Journal(journal_directory(directory)) as journal:
        engine, _ = run_engine(journal)
        (uid,) = engine(spectra_plan(Detector(), 3))
        for name, doc in rewound_documents()[0]:
            journal(name, doc)
    (journal_directory(directory) / "broken.msgpack").write_bytes(b"\x92\xa5start")
    return directory, uid


def test_runs_are_found_by_uid_prefix_scan_id_and_age(several, mapped):
    directory, other = several
    told = []
    runs = list_runs(directory, told.append)
    assert len(runs) == 3
    assert len(told) == 1
    assert "broken.msgpack" in told[0]
    assert find_run(mapped[1], directory).uid == find_run(mapped[1][:5], directory).uid == mapped[1]
    assert find_run("-1", directory).start["sample"] == "rewound"
    assert find_run("-2", directory).uid == other
    with pytest.raises(RecordError, match="no run 'zzzz'"):
        find_run("zzzz", directory)
    with pytest.raises(RecordError, match="holds 3 runs"):
        find_run("-4", directory)
    with pytest.raises(RecordError, match="no record"):
        list_runs(directory / "nothing")


def test_an_ambiguous_prefix_names_what_it_fits(tmp_path):
    with Journal(journal_directory(tmp_path)) as journal:
        for end in "ab":
            start = {
                **event_model.compose_run().start_doc,
                "uid": f"12345678-0000-4000-8000-00000000000{end}",
            }
            journal("start", start)
    with pytest.raises(RecordError, match=r"fits 2 runs.*12345678-\S+, 12345678-"):
        find_run("1234567", tmp_path)


def test_a_run_of_another_plan_is_no_map(several):
    directory, uid = several
    with pytest.raises(RecordError, match="no map of ours"):
        load_map([find_run(uid, directory).documents])


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("spectrum", [1], "a spectrum of 1 channels among ones of"),
        ("step", (-1.0, 1.0), "two positive lengths"),
    ],
)
def test_a_damaged_map_is_refused_naming_its_run(mapped, key, value, text):
    directory, uid = mapped

    def documents():
        for n, (name, doc) in enumerate(find_run(uid, directory).documents()):
            if name == "event" and key == "spectrum" and n > 9 and "eds_spectrum" in doc["data"]:
                doc = {**doc, "data": {**doc["data"], "eds_spectrum": value}}
            if name == "start" and key == "step":
                doc = {**doc, "grid": {**doc["grid"], "step_um": value}}
            yield name, doc

    with pytest.raises(RecordError, match=rf"^run {uid[:8]}: .*{text}"):
        load_map([documents])


def test_a_catalog_gives_the_same_map_as_the_journal(mapped, checked, tmp_path):
    """The journal is gone, the catalog is left."""
    shutil.copytree(mapped[0], tmp_path, dirs_exist_ok=True)
    catalog = open_catalog(tmp_path)
    documents = list(catalog_documents(catalog[mapped[1]]))
    for name, doc in documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    data = load_map([lambda: documents])
    for field in dataclasses.fields(data):
        ours, theirs = getattr(checked[0], field.name), getattr(data, field.name)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype, field.name
            np.testing.assert_array_equal(ours, theirs, field.name)
    assert np.array_equal(data.reconstruction, checked[0].reconstruction)
    assert len(data.maps) == len(checked[0].maps)
    assert data.settings == checked[0].settings
    shutil.rmtree(journal_directory(tmp_path))
    assert find_run(mapped[1][:8], tmp_path).exit_status == "success"


def run_cli(capsys, *arguments):
    """Exit code, standard output and error of a command."""
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_commands_tell_the_same(mapped, model_cache, tmp_path, capsys, monkeypatch):
    import slads_bluesky.record.resume
    import slads_bluesky.simulation.models

    monkeypatch.setattr(slads_bluesky.record.resume, "cache_directory", lambda: model_cache)
    figures = tmp_path / "figures.json"
    where = ("--catalog", mapped[0], "--json", figures)
    code, out, _ = run_cli(capsys, "runs", *where)
    assert code == 0
    assert mapped[1][:8] in out
    assert json.loads(figures.read_text())["runs"][0]["n_events"] == 276
    code, out, _ = run_cli(capsys, "show", mapped[1][:6], *where)
    assert code == 0
    assert "276 pixels" in out
    shown = json.loads(figures.read_text())
    assert shown["uid"] == mapped[1]
    assert all(area["low"] <= area["fraction"] <= area["high"] for area in shown["areas"])
    code, out, _ = run_cli(capsys, "replay", "-1", "--verify", *where)
    assert code == 0
    assert "all 276" in out
    assert json.loads(figures.read_text())["passed"] is True
    model = next(model_cache.glob("slads-*"))
    picture = tmp_path / "other.png"
    code, out, err = run_cli(capsys, "replay", "-1", "--sampler", model, "--figure", picture, *where)
    assert code == 0, err
    compared = json.loads(figures.read_text())["sampler"]
    assert compared["td_recorded"] == compared["td_other"]  # the same sampler chooses the same
    assert picture.stat().st_size > 5000
    judge = next(model_cache.glob("paper-classifier-*"))
    code, out, err = run_cli(capsys, "replay", "-1", "--classifier", judge, *where)
    assert code == 0, err
    assert json.loads(figures.read_text())["classifier"]["same"] == 1.0


def test_verify_exits_with_1_and_names_the_first_difference(
    mapped, model_cache, tmp_path, capsys, monkeypatch
):
    import slads_bluesky.record.resume

    monkeypatch.setattr(slads_bluesky.record.resume, "cache_directory", lambda: model_cache)
    run = find_run(mapped[1], mapped[0])
    with Journal(journal_directory(tmp_path)) as journal:
        for name, doc in run.documents():
            if name == "event" and doc["seq_num"] == 40 and "eds_label" in doc["data"]:
                doc["data"]["eds_label"] = 3 - doc["data"]["eds_label"]
            journal(name, doc)
    code, out, _ = run_cli(capsys, "replay", "-1", "--verify", "--catalog", tmp_path)
    assert code == 1
    assert "first at event 40" in out
    assert "the data were changed" in out


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("today", "2026-03-10 00:00"), ("Yesterday", "2026-03-09 00:00"), ("3 days", "2026-03-07 12:30"),
        ("1.5 hours ago", "2026-03-10 11:00"), ("2026-01-02", "2026-01-02 00:00"),
    ],
)  # fmt: skip
def test_since_takes_days_and_times_ago(text, time):
    now = datetime.fromisoformat("2026-03-10 12:30")
    assert datetime.fromtimestamp(_since(text, now)) == datetime.fromisoformat(time)


def test_ending_of_a_map_that_an_operator_stopped_is_named(mapped):
    run = find_run(mapped[1], mapped[0])
    assert run.ending == "success"
    assert dataclasses.replace(run, stop={**run.stop, "reason": ""}).ending == "stopped"
    assert dataclasses.replace(run, stop=None).ending == "unfinished"
    assert run.count_events() == 276


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "zzzz"), "no run 'zzzz'"),
        (("replay", "7"), "no run has the scan_id '7'"),
        (("runs", "--since", "last summer"), "--since takes a day"),
        (("replay", "-1", "--speed", "-1"), "speed must be positive"),
        (("export", "-1", "map.jpg"), "its name must end in .npz"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(mapped, capsys, arguments, words):
    code, _, err = run_cli(capsys, *arguments, "--catalog", mapped[0])
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert OBJECT not in err


def test_a_map_is_relabelled_as_a_run_that_names_its_source(
    mapped, checked, model_cache, tmp_path, capsys, monkeypatch
):
    """A classifier that knows one of the two phases finds the other unknown; accepted, the map has both again."""
    import slads_bluesky.record.resume
    from slads_bluesky.record.relabel import configuration_for, relabelled
    from slads_bluesky.spectra.discovery.new_phases import find_new_phases
    from slads_bluesky.spectra.likelihood.classifier import PhaseClassifier
    from slads_bluesky.spectra.likelihood.new_phase import accept_phase

    data, model, _ = checked
    first = PhaseClassifier.from_spectra(
        {"Pb-Sn": data.spectra[data.votes == 1][:12]}, axis=EnergyAxis.phenom(), beam_energy_kev=15.0
    )
    one = dataclasses.replace(data, phases=("Pb-Sn",))
    _, _, verdicts = first.classify_batch(data.spectra)
    assert (verdicts[data.votes == 2] == "unknown").mean() > 0.95
    unknown = data.spectra[verdicts == "unknown"]
    both = accept_phase(first, "Sn", unknown[find_new_phases(unknown, first)[0].members])
    configuration = configuration_for(one, both)
    assert configuration["phases"] == ["Pb-Sn", "Sn"]
    agent = rebuild_agent({**data.start, "agent": configuration}, model)
    run = find_run(mapped[1], mapped[0])
    with Journal(journal_directory(tmp_path)) as journal:
        for name, doc in relabelled([run.documents], one, agent, both, 99):
            event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
            journal(name, doc)
    derived = data_of(find_run("99", tmp_path))
    assert derived.start["derived_from"] == data.uid
    assert derived.start["plan_args"] == data.start["plan_args"]  # it may be gone on with
    assert np.array_equal(derived.spectra, data.spectra)
    assert np.array_equal(derived.pixels, data.pixels)
    assert (derived.votes == data.votes).mean() > 0.97
    assert (derived.reconstruction == data.reconstruction).mean() > 0.97
    monkeypatch.setattr(slads_bluesky.record.resume, "cache_directory", lambda: model_cache)
    code, _, err = run_cli(capsys, "replay", "99", "--verify", "--catalog", tmp_path)
    assert code == 2
    assert "was relabelled from" in err
    with pytest.raises(RecordError, match="do not begin with"):
        configuration_for(dataclasses.replace(data, phases=("Fe",)), both)
