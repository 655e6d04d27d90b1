"""A day at the microscope, as typed into a real IPython: map a sample, look at it, replay it."""

import json

import pytest

TEN_LINES = """\
%wa
%mov x 10 y -5
RE.md["operator"] = "Ada"
agent = make_agent(fraction=0.06)
uid, = RE(adaptive_map(beam, eds, agent, baseline=[sem], md={"sample": "Pb-Sn 7"}))
run = db[-1]
spectra = run["primary"]["eds_spectrum"].read()
data = load(-1)
replay(-1)
passed = verify(-1).passed
""".splitlines()

TOLD = """\
import json
told = dict(uid=uid, in_catalog=run.start["uid"], sample=run.start["sample"], operator=run.start["operator"])
told |= dict(scan_id=run.start["scan_id"], md=RE.md["scan_id"], spectra=spectra.shape, passed=passed)
told |= dict(shape=data.reconstruction.shape, n=data.n_measured, at=beam.position, layer=type(beam).__name__)
told |= dict(names=[n for n in "RE db bec beam eds sem x y make_agent adaptive_map list_map bps bp session" \
.split() if n in globals()])
json.dump(told, open("told.json", "w"))
make_agent(fraction=2)
%tb
""".splitlines()


@pytest.fixture(scope="module")
def typed(profile_copy, ipython):
    profile = profile_copy()
    done = ipython(profile, [*TEN_LINES, *TOLD])
    assert (profile.parent / "told.json").exists(), done.stdout + done.stderr
    return profile, done, json.loads((profile.parent / "told.json").read_text())


def test_ten_lines_map_a_sample_look_at_it_and_replay_it(typed):
    _, done, told = typed
    assert len(told["names"]) == 14
    assert told["in_catalog"] == told["uid"]
    assert (told["sample"], told["operator"]) == ("Pb-Sn 7", "Ada")
    assert told["n"] == round(0.06 * 64 * 64)
    assert told["spectra"] == [told["n"], 2040]
    assert told["shape"] == [64, 64]
    assert told["passed"]
    assert told["at"] == [10.0, -5.0]  # a map leaves the beam where it found it
    assert told["layer"] == "SEMBeam"
    assert done.stdout.count(f"ID: '{told['uid']}'") == 2  # shown when taken, and when replayed
    assert "beam_x" in done.stdout  # %wa


def test_errors_are_told_in_one_line_and_the_traceback_on_request(typed):
    before, after = typed[1].stdout.split("ConfigError: ", 1)
    assert after.splitlines()[0] == "fraction must be above 0 and at most 1, not 2"
    assert "Traceback" not in before
    assert "Traceback" in after


def test_metadata_and_scan_id_go_on_in_the_next_session_and_one_word_makes_it_soft(typed, ipython):
    profile, _, told = typed
    file = profile / "instrument.yml"
    file.write_text(file.read_text().replace("mode: ioc", "mode: soft"))
    done = ipython(
        profile,
        [
            'print("again", RE.md["operator"], RE.md["scan_id"], type(beam).__name__)',
            "uid, = RE(adaptive_map(beam, eds, make_agent(fraction=0.01), baseline=[sem]))",
            'print("then", db[-1].start["uid"] == uid, db[-1].start["scan_id"], len(db), beam.position)',
        ],
    )
    assert f"again Ada {told['scan_id']} SoftBeam" in done.stdout
    assert f"then True {told['scan_id'] + 1} 2 (0.0, 0.0)" in done.stdout


def test_a_session_that_is_not_ready_says_all_that_is_missing_and_defines_nothing(profile_copy, ipython):
    profile = profile_copy(
        {
            "mode: ioc": "mode: hardware",
            "class: SEMBeam": "class: SEMBeem",
            "name: slads": "name: learned",
            "  file:\n  train: likelihood": "  file: nowhere.safetensors\n  train:",
            "  directory:\n": "  directory: /proc/none\n",
        }
    )
    lines = (profile / "instrument.yml").read_text().splitlines()
    at = {word: next(i for i, line in enumerate(lines, 1) if word in line) for word in ("nowhere", "SEMBeem")}
    done = ipython(profile, ["print('RE' in globals(), 'beam' in globals())"])
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    for words in (
        "the session is not started; what is missing:",
        f"line {at['nowhere']}, classifier.file", "nowhere.safetensors",
        f"line {at['SEMBeem']}, devices.beam.class: found SEMBeem", "allowed: EDSDetector, Microscope, SEMBeam",
        "/proc/none",
        "False False",
    ):  # fmt: skip
        assert words in told, words
