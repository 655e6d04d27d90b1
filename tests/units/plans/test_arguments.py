"""Arguments as a person mistypes them: one line that names the argument, before anything moves."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.plans.queue import queue_plans


@pytest.fixture
def plans(soft, make_agent):
    asked = []
    session = SimpleNamespace(
        beam=soft.beam, eds=soft.eds, grid=ScanGrid((64, 64)),
        acquisition={}, defaults={"fraction": 0.1, "seed": 0, "dwell_s": 1.0, "error": 0.0, "phases": "known"},
        make_agent=lambda *a, **k: asked.append(k) or make_agent(3),
        prepare_map=lambda **k: {"dwell_s": 0.1},
    )  # fmt: skip
    return SimpleNamespace(asked=asked, **queue_plans(session)._asdict())


@pytest.mark.parametrize(
    ("arguments", "more", "line"),
    [
        ((42,), {}, "map_sample: sample must be a valid string, not 42"),
        ((), {}, "map_sample: missing a required argument: 'sample'"),
        (("steel",), {"fraction": "0.1"}, "map_sample: fraction must be a valid number, not '0.1'"),
        (("steel",), {"rows": 2.5}, "map_sample: rows must be a valid integer, not 2.5"),
        (("steel",), {"fractoin": 0.1}, "map_sample: got an unexpected keyword argument 'fractoin'"),
        (("steel",), {"budget_nc": "all"}, "map_sample: budget_nc must be a valid number, not 'all'"),
    ],
)
def test_map_sample_bad_argument_is_one_line(plans, RE, documents, arguments, more, line):
    with pytest.raises(ConfigError) as raised:
        RE(plans.map_sample(*arguments, **more), documents)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)
    assert not plans.asked
    assert not documents


def test_collect_spectra_positions_of_any_sequence_are_taken(plans, RE, documents):
    RE(plans.collect_spectra("Sn", positions=[[1.5, 2.5]], spectra=1), documents)
    RE(plans.collect_spectra("Sn", positions=[(np.float64(1.5), 2)], spectra=1))
    with pytest.raises(ConfigError, match="collect_spectra: positions must be"):
        RE(plans.collect_spectra("Sn", positions=[1.5, 2.5]))


def test_checked_plan_is_what_a_queue_server_takes(plans):
    assert inspect.isgeneratorfunction(plans.map_sample)
    assert list(inspect.signature(plans.map_sample).parameters)[:2] == ["sample", "fraction"]


@pytest.mark.parametrize(("wrong", "name"), [("agent", "agent"), ("eds", "eds")])
def test_adaptive_map_argument_of_another_kind_is_one_line(soft, make_agent, RE, documents, wrong, name):
    given = {"agent": make_agent(3), "eds": soft.eds, wrong: 42}
    with pytest.raises(ConfigError, match=rf"adaptive_map: {name} must be .* 42 has no ") as raised:
        RE(adaptive_map(soft.beam, given["eds"], given["agent"]), documents)
    assert "\n" not in str(raised.value)
    assert not documents
