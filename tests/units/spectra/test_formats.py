"""EMSA/MAS files: what is written is read, and what is wrong is named."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra.io.emsa import read_emsa
from slads_bluesky.spectra.io.formats import read_spectra

COUNTS = np.arange(16.0)


def emsa(counts, *, per_line=1, end=True, **fields):
    header = {
        "FORMAT": "EMSA/MAS Spectral Data File",
        "NPOINTS": len(counts),
        "XUNITS": "eV",
        "DATATYPE": "Y",
        "XPERCHAN": 10.0,
        "OFFSET": -50.0,
        "BEAMKV": 15.0,
        "LIVETIME": 10.0,
    }
    header.update(fields)
    lines = [f"#{name:<12}: {value}" for name, value in header.items() if value is not None]
    lines.append("##VENDOR     : 1, 2, nonsense")
    lines.append("#SPECTRUM    :")
    words = [f"{value:.10g}," for value in counts]
    if header["DATATYPE"] == "XY":
        words = [f"{10 * i}, {value:.10g}" for i, value in enumerate(counts)]
    lines += [" ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    if end:
        lines.append("#ENDOFDATA   :")
    return "\n".join(lines) + "\n"


@given(
    hnp.arrays(np.float64, st.integers(8, 60), elements=st.integers(0, 10**6).map(float)),
    st.integers(1, 5),
    st.sampled_from(["Y", "XY"]),
    st.sampled_from([("eV", 1e3), ("keV", 1.0)]),
)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read(tmp_path_factory, counts, per_line, kind, unit):
    path = tmp_path_factory.mktemp("emsa") / "a.msa"
    name, factor = unit
    text = emsa(
        counts,
        per_line=1 if kind == "XY" else per_line,
        DATATYPE=kind,
        XUNITS=name,
        XPERCHAN=0.01 * factor,
        OFFSET=-0.05 * factor,
    )
    path.write_text(text)
    found = read_emsa(path)
    np.testing.assert_array_equal(found.counts, counts[None])
    assert found.axis.n_channels == len(counts)
    assert math.isclose(found.axis.width_kev, 0.01)
    assert math.isclose(found.axis.offset_kev, -0.05)
    assert (found.beam_energy_kev, found.live_time_s, found.current_na) == (15.0, 10.0, None)


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=60)
def test_any_other_text_is_a_data_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("emsa") / "a.msa"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.msa"):
        read_emsa(path)


@given(st.integers(0, len(emsa(COUNTS))))
@settings(deadline=None, max_examples=100)
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("emsa") / "a.msa"
    text = emsa(COUNTS)
    path.write_text(text[:length])
    if "#ENDOFDATA" in text[:length]:
        np.testing.assert_array_equal(read_emsa(path).counts[0], COUNTS)
    else:
        with pytest.raises(DataError, match=r"a\.msa"):
            read_emsa(path)


@pytest.mark.parametrize(
    ("fields", "counts", "culprit"),
    [
        ({"XPERCHAN": None}, COUNTS, "XPERCHAN"),
        ({"XPERCHAN": "ten"}, COUNTS, "XPERCHAN"),
        ({"XPERCHAN": 0}, COUNTS, "XPERCHAN"),
        ({"XPERCHAN": "nan"}, COUNTS, "XPERCHAN"),
        ({"NPOINTS": None}, COUNTS, "NPOINTS"),
        ({"NPOINTS": 17}, COUNTS, "NPOINTS"),
        ({"NPOINTS": 1.5}, COUNTS, "NPOINTS"),
        ({"XUNITS": "nm"}, COUNTS, "XUNITS"),
        ({"FORMAT": "something"}, COUNTS, "FORMAT"),
        ({"BEAMKV": "high"}, COUNTS, "BEAMKV"),
        ({}, -COUNTS, "negative"),
        ({}, COUNTS * np.nan, "finite"),
        ({}, COUNTS[:3], "channels"),
    ],
)
def test_errors_name_file_and_field(tmp_path, fields, counts, culprit):
    path = tmp_path / "broken.msa"
    path.write_text(emsa(counts, **fields))
    with pytest.raises(DataError, match=rf"broken\.msa.*{culprit}"):
        read_spectra(path)


def test_a_truncated_file_says_so(tmp_path):
    path = tmp_path / "cut.msa"
    path.write_text(emsa(COUNTS[:-4], NPOINTS=16, end=False))
    with pytest.raises(DataError, match="truncated"):
        read_emsa(path)


def test_missing_files_and_strange_extensions_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_spectra(tmp_path / "none.msa")
    with pytest.raises(ConfigError, match="pdf"):
        read_spectra(tmp_path / "a.pdf")


def test_other_formats_name_the_extra_they_need(tmp_path):
    path = tmp_path / "map.hspy"
    path.write_bytes(b"not a file of any kind")
    with pytest.raises((ConfigError, DataError), match=r"map\.hspy"):
        read_spectra(path)


def test_a_real_file(real_data):
    found = read_spectra(real_data / "nist_msa" / "Fe_std.msa")
    assert found.counts.shape == (1, 4096)
    assert (found.beam_energy_kev, found.takeoff_deg) == (20.0, 35.0)
    assert found.axis.energies()[found.counts[0].argmax()] == pytest.approx(6.40, abs=0.02)


def test_a_hyperspy_map_is_read_through_rosettasciio(tmp_path):
    hspy = pytest.importorskip("rsciio.hspy")
    counts = np.random.default_rng(0).poisson(3.0, (2, 3, 64)).astype(np.uint16)

    def axis(name, index, size, scale, offset, units):
        return {
            "_type": "UniformDataAxis",
            "name": name,
            "size": size,
            "scale": scale,
            "offset": offset,
            "units": units,
            "navigate": index < 2,
            "index_in_array": index,
        }

    sem = {"beam_energy": 15.0, "Detector": {"EDS": {"live_time": 2.0, "elevation_angle": 35.0}}}
    signal = {
        "data": counts,
        "axes": [
            axis("y", 0, 2, 1.0, 0.0, "µm"),
            axis("x", 1, 3, 1.0, 0.0, "µm"),
            axis("Energy", 2, 64, 20.0, -100.0, "eV"),
        ],
        "metadata": {"General": {"title": "a map"}, "Acquisition_instrument": {"SEM": sem}},
        "original_metadata": {},
        "learning_results": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "tests", "package_version": "0"},
        "models": {},
        "tmp_parameters": {},
    }
    hspy.file_writer(str(tmp_path / "map.hspy"), signal)
    found = read_spectra(tmp_path / "map.hspy")
    np.testing.assert_array_equal(found.counts, counts.reshape(6, 64))
    assert (found.axis.offset_kev, found.axis.width_kev) == pytest.approx((-0.1, 0.02))
    assert (found.beam_energy_kev, found.live_time_s, found.takeoff_deg, found.title) == (
        15.0,
        2.0,
        35.0,
        "a map",
    )
