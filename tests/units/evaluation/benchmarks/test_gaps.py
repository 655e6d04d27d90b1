"""Patches that a map can miss, as the benchmark states them."""

from slads_bluesky.evaluation.benchmarks.gaps import FEATURES, FRACTIONS, gap_figures, gap_trials
from slads_bluesky.evaluation.benchmarks.trials import make_trials


def test_gap_figures_of_a_static_sampler_hold_and_shrink_with_the_fraction():
    results = make_trials(gap_trials(("low-discrepancy", "slads"), 0))  # slads needs training: left out
    figures = gap_figures(results)
    stated, asked = figures[: len(FRACTIONS)], figures[len(FRACTIONS) :]
    sizes = [figure.value for figure in stated]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] >= 1
    assert len(asked) == len(FEATURES)
    assert all(figure.holds for figure in asked)


def test_gap_figure_of_a_feature_that_can_be_missed_does_not_hold():
    row = {"sampler": "learned", "smallest": 9, "at": [0.148], "missed": [9], "td": 0.0}
    (figure,) = gap_figures({"gaps-learned-9-0": row})
    assert figure.holds is False
    assert figure.goal == "≤ 8 px"
