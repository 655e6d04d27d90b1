"""A session as typed into a real IPython: what the next one continues, and what is printed when something is wrong.

The README's ten lines are typed by ``tests/readme``.
"""

import json

import pytest

LINES = """\
RE.md["operator"] = "Ada"
uid, = RE(adaptive_map(beam, eds, make_agent(fraction=0.01), baseline=[sem]))
import json
json.dump(dict(uid=uid, scan_id=RE.md["scan_id"], layer=type(beam).__name__), open("result.json", "w"))
make_agent(fraction=2)
%tb
""".splitlines()


@pytest.fixture(scope="module")
def typed(profile_copy, ipython):
    profile = profile_copy()
    done = ipython(profile, LINES)
    assert (profile.parent / "result.json").exists(), done.stdout + done.stderr
    return profile, done, json.loads((profile.parent / "result.json").read_text())


def test_errors_are_told_in_one_line_and_the_traceback_on_request(typed):
    before, after = typed[1].stdout.split("ConfigError: ", 1)
    assert after.splitlines()[0] == "fraction must be above 0 and at most 1, not 2"
    assert "Traceback" not in before
    assert "Traceback" in after


def test_metadata_and_scan_id_go_on_in_the_next_session_and_one_word_makes_it_soft(typed, ipython):
    profile, _, result = typed
    assert result["layer"] == "SEMBeam"
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
    assert f"again Ada {result['scan_id']} SoftBeam" in done.stdout
    assert f"then True {result['scan_id'] + 1} 2 (0.0, 0.0)" in done.stdout


def test_a_session_that_is_not_ready_says_all_that_is_missing_and_defines_nothing(profile_copy, ipython):
    profile = profile_copy(
        {
            "mode: ioc": "mode: hardware",
            "class: SEMBeam": "class: SEMBeem",
            "  file:\n  train: likelihood": "  file: nowhere.safetensors\n  train:",
            "  directory:\n": "  directory: /proc/none\n",
        }
    )
    lines = (profile / "instrument.yml").read_text().splitlines()
    at = {word: next(i for i, line in enumerate(lines, 1) if word in line) for word in ("nowhere", "SEMBeem")}
    done = ipython(profile, ["print('RE' in globals(), 'beam' in globals())"])
    result = done.stdout + done.stderr
    assert "Traceback" not in result
    for words in (
        "the session is not started; what is missing:",
        f"line {at['nowhere']}, classifier.file", "nowhere.safetensors",
        f"line {at['SEMBeem']}, devices.beam.class: found SEMBeem", "allowed: EDSDetector, Microscope, SEMBeam",
        "/proc/none",
        "False False",
    ):  # fmt: skip
        assert words in result, words
