"""Every reader on valid inputs that hypothesis changes: the short form of `bench fuzz`, with failures made small."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.evaluation.fuzz.campaign import BAD, fuzz_figures, measure_fuzz
from slads_bluesky.evaluation.fuzz.mutation import MUTATIONS, mutate
from slads_bluesky.evaluation.fuzz.readers import READERS, Reader
from slads_bluesky.evaluation.fuzz.worker import judge

EXAMPLES = 60


@pytest.fixture(scope="module", params=READERS, ids=lambda reader: reader.name)
def opened(request, tmp_path_factory):
    """A reader, its valid inputs, the function that reads, and the file that it is given."""
    reader = request.param
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "samples").mkdir()
    samples = reader.samples(folder / "samples")
    with reader.open() as read:
        yield reader, samples, read, folder / reader.file


def test_reader_of_valid_samples_reads_them(opened):
    reader, samples, read, path = opened
    for sample in samples:
        path.write_bytes(sample)
        assert judge(reader, read, path) == {"outcome": "read"}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(data=st.data())
def test_reader_of_changed_input_reads_it_or_refuses_it_in_one_line(opened, data):
    reader, samples, read, path = opened
    changed = mutate(samples, lambda low, high: data.draw(st.integers(low, high)))
    path.write_bytes(changed)
    found = judge(reader, read, path)
    assert found["outcome"] in ("read", "refused"), found


def test_mutate_of_a_seed_is_reproducible_and_changes_the_input():
    samples = [b"mode: soft\ngrid: {shape: [32, 32]}\n", b"mode: ioc\n"]
    first = [mutate(samples, random.Random(seed).randint) for seed in range(200)]
    assert first == [mutate(samples, random.Random(seed).randint) for seed in range(200)]
    assert sum(changed in samples for changed in first) < 10
    assert len(MUTATIONS) == 10


def _raise(error):
    def read(path):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (lambda path: None, "read"),
        (_raise(DataError("labels.npy: too short")), "refused"),
        (_raise(DataError("too short")), "unnamed"),
        (_raise(ConfigError("labels.npy: too\nshort")), "several lines"),
        (_raise(KeyError("shape")), "traceback"),
    ],
)
def test_judge_of_an_error_says_what_kind_it_is(tmp_path, read, outcome):
    reader = Reader("label image", "labels.npy", lambda folder: [], lambda: None)
    assert judge(reader, read, tmp_path / "labels.npy")["outcome"] == outcome


@pytest.mark.slow
def test_measure_fuzz_of_a_reader_counts_every_input(tmp_path):
    (row,) = measure_fuzz(["0mq"], 0.02, keep=tmp_path / "kept")
    assert row["inputs"] > 10
    assert row["inputs"] == row["read"] + row["refused"] + sum(row[outcome] for outcome in BAD)
    assert fuzz_figures([row], 0.02)[2].value == row["inputs"]
    with pytest.raises(ConfigError, match="no reader is named like 'tea leaves'"):
        measure_fuzz(["tea leaves"], 1)


def test_worker_leaves_the_input_under_way_in_its_folder(tmp_path):
    command = [
        sys.executable,
        "-m",
        "slads_bluesky.evaluation.fuzz.worker",
        "label image .npy",
        str(tmp_path),
    ]
    done = subprocess.run([*command, "1", "0.2"], capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["end"] is True
    assert (tmp_path / "labels.npy").exists()
