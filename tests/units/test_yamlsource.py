"""YAML of a user's own: read within bounds, and whatever is wrong is one error that names file and line."""

import contextlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.instrument.settings import read_settings
from slads_bluesky.spectra.io.phase_file import load_phases
from slads_bluesky.yamlsource import MAX_BYTES, read_yaml

PROFILE = Path(__file__).parents[2] / "profile" / "instrument.yml"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)


def test_what_a_file_holds_comes_back_with_its_nodes(tmp_path):
    (tmp_path / "x.yml").write_text("\ufeffa: 1\nb: &b [1, 2]\nc: *b\n", encoding="utf-8")
    node, data = read_yaml(tmp_path / "x.yml")
    assert data == {"a": 1, "b": [1, 2], "c": [1, 2]}
    assert [key.start_mark.line for key, _ in node.value] == [0, 1, 2]
    (tmp_path / "x.yml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "x.yml") == (None, {})


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        (BOMB, "aliases stand for more than"),
        ("a: &a\n  b: *a\n", "line 1: an alias inside"),
        ("a: 1\nb: 2\na: 3\n", r"line 3: 'a' is there already, on line 1"),
        ("a: {b: 1, b: 2}\n", "'b' is there already"),
        ("? [1, 2]\n: 3\n", "line 1: a key is a word"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: " + "9" * 5000, "cannot be built"),
        ("a: 2001-99-99\n", "cannot be built"),
        ("a: " + "1:" * 400 + "1.5", "cannot be built"),
        ("a: !!python/object:os.system x\n", "line 1: not YAML"),
        ("a: [1\n", "line 2: not YAML"),
        ("a: \x00", "not YAML"),
        ("a: *nowhere\n", "line 1: not YAML"),
        ("--- 1\n--- 2\n", "not YAML"),
        ("# " + "x" * MAX_BYTES, "larger than 256 KiB"),
    ],
)
@pytest.mark.parametrize("read", [read_yaml, read_settings, load_phases], ids=lambda read: read.__name__)
def test_hostile_yaml_is_one_quick_error(tmp_path, read, text, culprit):
    path = tmp_path / "hostile.yml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(ConfigError, match=culprit) as raised:
        read(path)
    assert time.process_time() - began < 20
    assert "hostile.yml" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", ".", "missing.yml", "null\0"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml(tmp_path / name)
    (tmp_path / "latin").write_bytes("a: µ".encode("latin-1"))
    with pytest.raises(ConfigError, match="latin: cannot be read"):
        read_yaml(tmp_path / "latin")


FRAGMENTS = st.sampled_from(
    ["*a", "&a ", "<<: ", "!!set ", "!!omap ", "!!binary ", "? ", "- ", ": ", "{", "[", "~", ".nan", ".inf", "-1",
     "yes", "2001-01-01", "1e999", "\x85", "\u2028", "\ufffe", "'", '"', "|", ">", "%", "\t", "\n", "=", "[/b]",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), FRAGMENTS), min_size=1, max_size=6))
def test_changed_instrument_file_never_gives_another_error(tmp_path, changes):
    _changed(PROFILE.read_text(encoding="utf-8"), changes, tmp_path / "instrument.yml", read_settings)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), FRAGMENTS), min_size=1, max_size=6))
def test_changed_phase_file_never_gives_another_error(tmp_path, changes):
    text = "phases:\n  Sn: {composition: Sn}\n  Pb: {composition: {Pb: 0.4, Sn: 0.6}}\n"
    text += "  C: {files: [c.msa]}\nbeam_kev: 15\n"
    _changed(text, changes, tmp_path / "phases.yml", load_phases)


def _changed(text, changes, path, read):
    for at, new in changes:
        at %= len(text)
        text = text[:at] + new + text[at + len(new) // 2 :]
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(ConfigError, DataError):
        read(path)
