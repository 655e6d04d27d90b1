"""Checked by mypy, never run: what a type checker sees of the package's public names.

Without the stub ``slads_bluesky/__init__.pyi`` each of them would be ``Any``, and every line here an error.
"""

from typing import Any, assert_type

from slads_bluesky import (
    LearnedSampler,
    PhaseClassifier,
    ScanGrid,
    SladsAgent,
    SladsSampler,
    adaptive_map,
    find_run,
    load_map,
    open_catalog,
    open_session,
)
from slads_bluesky.analysis.run_data import RunData
from slads_bluesky.instrument.session import Session
from slads_bluesky.protocols import Classification
from slads_bluesky.record.runs import RecordedRun


def public_names_have_their_types(sampler: SladsSampler, classifier: PhaseClassifier, beam: Any) -> None:
    """Each name, used as a user would."""
    grid = ScanGrid((8, 8))
    assert_type(grid.n_pixels, int)
    agent = SladsAgent(grid, LearnedSampler(grid.shape, labels=2), n_labels=2, fraction=0.1)
    assert_type(agent.n_measured, int)
    assert_type(sampler.n_measured, int)
    assert_type(classifier.classify(beam), Classification)
    assert_type(open_session("instrument.yml"), Session)
    run = assert_type(find_run("-1"), RecordedRun)
    assert_type(load_map(run), RunData)
    open_catalog("record", create=False)
    adaptive_map(beam, beam, agent, dwell_s=1.0)

    # wrong uses, which a checker must find: an ignore that is not needed is an error
    ScanGrid(8)  # type: ignore[arg-type]
    adaptive_map(beam, beam, grid)  # type: ignore[arg-type]
    find_run(1.5)  # type: ignore[arg-type]
