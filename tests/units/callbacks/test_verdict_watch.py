"""What is wrong with the spectra of a run is said once, while it runs."""

import pytest

from slads_bluesky.callbacks.verdict_watch import CONCERNS, LEAST, VerdictWatch


def run(watch, verdicts, stream="primary", **start):
    watch("start", {"uid": "run", **start})
    watch("descriptor", {"uid": "points", "name": stream})
    for verdict in verdicts:
        watch("event", {"descriptor": "points", "data": {"eds_verdict": verdict}})
    watch("stop", {})


@pytest.mark.parametrize("verdict", list(CONCERNS))
def test_each_concern_is_reported_once_a_run_when_its_share_is_reached(verdict):
    warnings = []
    watch = VerdictWatch(warnings.append)
    few = round(0.8 * CONCERNS[verdict].share * 1000)
    run(watch, ["ok"] * 1000 + [verdict] * few)
    assert warnings == []
    run(watch, ["ok"] * 100 + [verdict] * 100)
    assert len(warnings) == 1
    n, _, total = warnings[0].split(" spectra")[0].partition(" of ")
    assert int(n) >= max(LEAST, CONCERNS[verdict].share * int(total))
    assert int(n) - 1 < max(LEAST, CONCERNS[verdict].share * (int(total) - 1))
    run(watch, [verdict] * LEAST)
    assert len(warnings) == 2


def test_good_spectra_few_bad_ones_and_other_streams_are_no_concern():
    warnings = []
    watch = VerdictWatch(warnings.append)
    run(watch, ["ok"] * 300)
    run(watch, ["unknown"] * (LEAST - 1))
    run(watch, ["unknown"] * 50, stream="failed")
    assert warnings == []


def test_few_counts_that_the_joint_sampler_plans_are_no_concern_and_foreign_spectra_are():
    warnings = []
    joint = {"sampler": {"name": "joint"}}
    run(VerdictWatch(warnings.append), ["low_counts"] * 50 + ["unknown"] * 50, agent=joint)
    assert ["known phases" in text for text in warnings] == [True]
