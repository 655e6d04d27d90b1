"""A session as typed into a real IPython: what the next one continues, and what is printed when something is wrong.

The README's ten lines are typed by ``tests/readme``.
"""

import json
import re

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


def test_errors_are_one_line_and_the_traceback_on_request(typed):
    before, after = typed[1].stdout.split("ConfigError: ", 1)
    assert after.splitlines()[0] == "fraction must be above 0 and at most 1, not 2"
    assert "Traceback" not in before
    assert "Traceback" in after


SLIPS = """\
RE.resume()
RE(map_sample(42))
%mov x 10000
RE(bps.mv(beam, (1e6, 0)))
agent = make_agent(fraction=0.01)
RE(adaptive_map(beam, eds, agent, baseline=[sem])); agent
RE(adaptive_map(beam, eds, agent, baseline=[sem]))
load(-1)
verify(-1)
%wa
map_sample?
print("last line")
""".splitlines()


@pytest.fixture(scope="module")
def typed_next(typed, ipython):
    """A second session on the same record, which one word in the file makes a soft one: what it said."""
    profile = typed[0]
    file = profile / "instrument.yml"
    file.write_text(file.read_text().replace("mode: ioc", "mode: soft"))
    return ipython(
        profile,
        [
            'print("again", RE.md["operator"], RE.md["scan_id"], type(beam).__name__)',
            "uid, = RE(adaptive_map(beam, eds, make_agent(fraction=0.01), baseline=[sem]))",
            'print("then", db[-1].start["uid"] == uid, db[-1].start["scan_id"], len(db), beam.position)',
            *SLIPS,
        ],
    )


def test_metadata_and_scan_id_go_on_in_the_next_session_and_one_word_makes_it_soft(typed, typed_next):
    result = typed[2]
    assert result["layer"] == "SEMBeam"
    assert f"again Ada {result['scan_id']} SoftBeam" in typed_next.stdout
    assert f"then True {result['scan_id'] + 1} 2 (0.0, 0.0)" in typed_next.stdout


def test_slips_at_the_prompt_are_one_line_each_and_reprs_are_short(typed_next):
    output = typed_next.stdout
    assert "Traceback" not in output + typed_next.stderr
    assert "Run aborted" not in output + typed_next.stderr
    for words in (
        "TransitionError: ",
        "ConfigError: map_sample: sample must be a valid string, not 42",
        "InstrumentError: beam: ",
        "<SladsAgent: 64 × 64 pixels, 41 measured of 41 wanted>",
        "ConfigError: the agent knows 41 pixels of an earlier map",
        "<RunData: run ", "<Verification of 41 events: all the same>",
        "Live time of each spectrum, s.",
        "last line",
    ):  # fmt: skip
        assert words in output, words
    assert "AttributeError" not in output
    assert max(map(len, output.splitlines())) < 400


def test_a_session_without_a_record_names_all_that_is_missing_and_so_does_each_name(profile_copy, ipython):
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
    done = ipython(profile, ["beam.position", "RE(map_sample('a'))", "print('next line', db)"])
    result = done.stdout + done.stderr
    assert "Traceback" not in result
    for words in (
        "the session is not complete; what is missing:", "there is no RE",
        f"line {at['nowhere']}, classifier.file", "nowhere.safetensors",
        f"line {at['SEMBeem']}, devices.beam.class: found SEMBeem", "allowed: BSEDetector, EDSDetector, ",
        "/proc/none",
        "MissingPartError: beam is missing: ", "MissingPartError: RE is missing: ", "next line <db is missing: ",
    ):  # fmt: skip
        assert words in result, words


def test_a_session_without_its_instrument_keeps_engine_and_record(profile_copy, ipython):
    profile = profile_copy({"mode: ioc": "mode: soft", "object: pbsn-64": "object: gold-64"})
    done = ipython(
        profile,
        [
            "uid, = RE(bp.count([], num=2))",
            'print("counted", db[-1].start["uid"] == uid, eds)',
            "RE(map_sample('a'))",
            "%wa",
            "doctor()",
        ],
    )
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    assert "RE, db and the record are there" in output
    assert "counted True <eds is missing: " in output
    assert "unknown object 'gold-64'" in output
    assert "MissingPartError: make_agent is missing: " in output
    assert re.search(r"NOT OK +devices: .*gold-64", output)
    assert re.search(r"ok +journal: ", output)
