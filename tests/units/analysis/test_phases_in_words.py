"""What is known of a found phase, in words: whatever of it is there."""

import pytest

from slads_bluesky.analysis.phases_in_words import phase_in_words


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({}, ""),
        ({"counts": 12, "why_not": "12 counts are too few"}, "12 counts · 12 counts are too few"),
        (
            {
                "counts": 893595,
                "composition": {"Pb": [0.408, 0.039], "Sn": [0.592, 0.039]},
                "candidates": [{"name": "solder", "probability": 0.88}, {"name": "", "probability": 0.12}],
            },
            "893595 counts · Sn 59 ± 4 %, Pb 41 ± 4 % by mass · solder 88 %, none of the table 12 %",
        ),
        ({"composition": {e: [0.2, 0.01] for e in ("O", "Si", "Al", "Na", "K")}, "candidates": []}, None),
    ],
)
def test_phase_in_words_says_what_is_there(about, words):
    found = phase_in_words(about)
    assert found == words if words is not None else found.count("%") == 4
