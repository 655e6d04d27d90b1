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
    header.update({name: value for name, value in fields.items() if name != "x_error"})
    lines = [f"#{name:<12}: {value}" for name, value in header.items() if value is not None]
    lines.append("##VENDOR     : 1, 2, nonsense")
    lines.append("#SPECTRUM    :")
    words = [f"{value:.10g}," for value in counts]
    if header["DATATYPE"] == "XY":
        width, offset = float(header["XPERCHAN"]), float(header["OFFSET"]) + fields.pop("x_error", 0.0)
        words = [f"{offset + width * i:.10g}, {value:.10g}" for i, value in enumerate(counts)]
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


@pytest.mark.parametrize(
    ("units", "width_kev"),
    [("Energy (EV)", 0.01), ("EV", 0.01), ("energy [eV]", 0.01), ("KEV", 10.0), ("Energy (keV)", 10.0)],
)
def test_emsa_units_in_any_case_and_wording_are_read(tmp_path, units, width_kev):
    path = tmp_path / "a.msa"
    path.write_text(emsa(COUNTS, XUNITS=units))
    assert math.isclose(read_emsa(path).axis.width_kev, width_kev)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_emsa_byte_order_marks_and_encodings_are_read(tmp_path, encoding):
    path = tmp_path / "a.msa"
    path.write_bytes(emsa(COUNTS, TITLE="30 µm").encode(encoding))
    np.testing.assert_array_equal(read_emsa(path).counts[0], COUNTS)


def test_emsa_pairs_in_several_columns_are_read(tmp_path):
    path = tmp_path / "a.msa"
    path.write_text(emsa(COUNTS, DATATYPE="XY", NCOLUMNS=2, OFFSET=0.0, per_line=2))
    np.testing.assert_array_equal(read_emsa(path).counts[0], COUNTS)


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({"XUNITS": None}, "XUNITS is missing"),
        ({"XUNITS": "meV"}, "XUNITS"),
        ({"XUNITS": "eV or keV"}, "XUNITS"),
        ({"BEAMKV": 15000}, "BEAMKV is 15000 kV.*15 kV"),
        ({"BEAMKV": 200}, "BEAMKV is 200 kV.*TEM"),
        ({"SIGNALTYPE": "ELS"}, "electron energy loss"),
        ({"SIGNALTYPE": "WDS"}, "wavelength"),
        ({"SIGNALTYPE": "EDS_TEM"}, "TEM"),
        ({"OPERMODE": "STEM"}, "TEM"),
        ({"ELSDET": "SERIAL"}, "EELS"),
        ({"YUNITS": "Efficiency"}, "efficiency curve"),
        ({"DATATYPE": "XY", "x_error": 500.0}, "channel 0 at 500"),
    ],
)
def test_emsa_other_signals_and_doubtful_fields_are_refused_by_name(tmp_path, fields, culprit):
    path = tmp_path / "b.msa"
    path.write_text(emsa(COUNTS, **{"OFFSET": 0.0, **fields}))
    with pytest.raises(DataError, match=rf"b\.msa.*{culprit}"):
        read_emsa(path)


@pytest.mark.parametrize(
    ("counts", "culprit"), [(COUNTS / 20.0, "efficiency"), (COUNTS * 3e9, "counts in a channel")]
)
def test_emsa_values_that_are_no_counts_are_refused(tmp_path, counts, culprit):
    path = tmp_path / "b.msa"
    path.write_text(emsa(counts))
    with pytest.raises(DataError, match=culprit):
        read_emsa(path)


def test_emsa_beam_voltage_with_its_unit_is_read(tmp_path):
    path = tmp_path / "a.msa"
    path.write_text(emsa(COUNTS, BEAMKV=None).replace("#XUNITS", "#BEAMKV  -V: 15000\n#XUNITS"))
    assert read_emsa(path).beam_energy_kev == 15.0


def test_emsa_elements_come_from_headers_never_from_the_title(tmp_path):
    path = tmp_path / "K412.msa"
    path.write_text(emsa(COUNTS, TITLE="K412"))
    assert read_emsa(path).elements == ()
    path.write_text("#FORMAT : EMSA/MAS\n##D2STDCMP : K412,(O:42.7),(Si:21.2),3.5\n" + emsa(COUNTS))
    assert read_emsa(path).elements == ("O", "Si")
    path.write_text("##Elements : 8,11,200,26\n" + emsa(COUNTS))
    assert read_emsa(path).elements == ("O", "Na", "Fe")


def test_real_files_of_four_makers_are_read(real_data):
    edax = read_spectra(real_data / "edax_minerals" / "hornblende.msa")
    assert (edax.axis.n_channels, edax.axis.width_kev, edax.resolution_ev) == (4096, 0.01, 126.2)
    assert {"O", "Si", "Ca", "Fe"} <= set(edax.elements)
    bruker = read_spectra(real_data / "bruker_k309" / "K309.msa")
    assert (bruker.beam_energy_kev, bruker.resolution_ev) == (15.0, pytest.approx(122.1, abs=0.1))
    phenom = read_spectra(real_data / "misc" / "phenom_osu.emsa")
    assert (phenom.axis.n_channels, phenom.takeoff_deg) == (2048, 28.5)
    assert read_spectra(real_data / "light_elements" / "B std.msa").elements == ("B",)
