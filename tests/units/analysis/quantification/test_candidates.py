"""Candidate phases by composition."""

from types import SimpleNamespace

import pytest

from slads_bluesky.analysis.quantification.candidates import candidate_table, match_composition
from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra.physics.composition import Composition


def measured(composition, relative_sd=0.02):
    made = Composition.parse(composition)
    elements = [
        SimpleNamespace(symbol=s, mass_fraction=f, mass_fraction_sd=relative_sd * f)
        for s, f in zip(made.symbols, made.mass_fraction, strict=True)
    ]
    return SimpleNamespace(
        elements=elements, normalised=dict(zip(made.symbols, made.mass_fraction, strict=True))
    )


def test_every_candidate_of_the_table_finds_itself():
    for candidate in candidate_table():
        fractions = zip(candidate.composition.symbols, candidate.composition.mass_fraction, strict=True)
        seen = {s: f for s, f in fractions if s != "H"}
        total = sum(seen.values())
        matches = match_composition(measured({s: f / total for s, f in seen.items()}, 0.005))
        # polymorphs and hydrates have one composition: the name may be that of an alike one
        alike = [m for m in matches if m.name and m.distance < 0.1]
        assert candidate.name in [m.name for m in alike], candidate.name


def test_a_composition_of_no_candidate_is_none_of_them():
    best, *_ = match_composition(measured({"Au": 0.5, "U": 0.5}))
    assert best.name == ""
    assert best.probability > 0.9


def test_quartz_with_a_large_uncertainty_is_less_sure():
    sure = match_composition(measured("SiO2", 0.01))[0]
    unsure = match_composition(measured("SiO2", 0.4))[0]
    assert sure.name == "quartz"
    assert sure.probability > 0.95 > unsure.probability


def test_probabilities_sum_to_one():
    assert sum(m.probability for m in match_composition(measured("FeS2"), most=1000)) == pytest.approx(1.0)


def test_a_table_of_the_user_is_read_after_the_shipped_one(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("name,composition\nour alloy,Ni:0.6 Al:0.4\n", encoding="utf-8")
    assert match_composition(measured({"Ni": 0.6, "Al": 0.4}), candidate_table(path))[0].name == "our alloy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,composition\nbad,Xx2\n", "line 2"),
        ("name,composition\nbad,Fe:x\n", "line 2"),
        ("mineral,formula\nquartz,SiO2\n", "name the columns"),
    ],
)
def test_a_bad_table_is_refused_naming_file_and_line(tmp_path, text, message):
    path = tmp_path / "own.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        candidate_table(path)
    assert "own.csv" in str(caught.value)


def test_an_empty_composition_is_refused():
    with pytest.raises(DataError, match="no element"):
        match_composition(SimpleNamespace(elements=[], normalised={}))
