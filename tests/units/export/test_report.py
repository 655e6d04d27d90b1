"""The report: self-contained, complete, and with intervals that hold what is known."""

import base64
import dataclasses
import re

import numpy as np
import pytest

from slads_bluesky.analysis.areas import area_fractions
from slads_bluesky.errors import ConfigError
from slads_bluesky.export.lines import line_labels
from slads_bluesky.export.report import write_report
from slads_bluesky.phantom import make_object


def test_the_page_holds_everything_and_fetches_nothing(data, tmp_path):
    page = write_report(data, tmp_path / "map.html", make_object("pbsn-48", 0).truth).read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 3
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert not re.search(r'(src|href)="(?!data:)', page)
    for words in (data.uid, "Area fractions", "95 % interval", "Time ledger", "nC", "bluesky", "276 pixels"):
        assert words in page, words


@pytest.mark.parametrize(("suffix", "magic"), [(".pdf", b"%PDF"), (".png", b"\x89PNG")])
def test_the_other_formats_are_whole_files(data, tmp_path, suffix, magic):
    path = write_report(data, tmp_path / f"map{suffix}")
    assert path.read_bytes().startswith(magic)
    assert path.stat().st_size > 20_000
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_area_intervals_hold_the_truth_when_the_estimate_does(data):
    truth = make_object("pbsn-48", 0).truth
    wrong = float((data.reconstruction != truth).mean())
    honest = ({**data.maps[-1], "distortion_estimate": wrong},)
    areas = area_fractions(dataclasses.replace(data, maps=honest))
    assert sum(area.fraction for area in areas) == pytest.approx(1)
    for area in areas:
        assert area.low <= area.fraction <= area.high
        assert area.low <= float((truth == area.label).mean()) <= area.high
        assert (
            area.high - area.low < 2 * (wrong * truth.size + 2 * np.sqrt(wrong * truth.size) + 1) / truth.size
        )


def test_without_an_estimate_only_the_measured_pixels_count(data):
    maps = ({**data.maps[-1], "distortion_estimate": float("nan")},)
    for area in area_fractions(dataclasses.replace(data, maps=maps)):
        known = int((data.reconstruction.ravel()[data.pixels[data.votes >= 0]] == area.label).sum())
        assert area.low == pytest.approx(known / data.grid.n_pixels)


def test_lines_are_where_the_tables_say():
    labels = {label.text: label.energy_kev for label in line_labels(["Sn", "Pb", "O"], 0.1, 15.0)}
    assert labels["Sn Lα"] == pytest.approx(3.444, abs=0.01)
    assert labels["Pb Mα"] == pytest.approx(2.345, abs=0.01)
    assert labels["O Kα"] == pytest.approx(0.525, abs=0.01)
    assert "Sn Kα" not in labels  # 25 keV: not excited


def test_a_report_of_another_kind_is_refused(data, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.html"):
        write_report(data, tmp_path / "map.docx")
    assert not list(tmp_path.iterdir())
