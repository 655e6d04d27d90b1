"""Formats of instruments and of HyperSpy, read through rosettasciio from small files made here."""

import base64
import bz2
import io
import struct
import zipfile
import zlib

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.spectra.io import foreign
from slads_bluesky.spectra.io.formats import read_signals, read_spectra
from slads_bluesky.spectra.io.maps import read_map

rsciio = pytest.importorskip("rsciio", reason="the extra 'hyperspy' is not installed")


def hspy(path, counts, *, beam_energy=15.0, signal_type="EDS_SEM", units="eV"):
    """Write counts (rows, columns, channels) as a HyperSpy file."""
    writer = pytest.importorskip("rsciio.hspy")
    names = [("y", 1.0, 0.0, "µm"), ("x", 1.0, 0.0, "µm"), ("Energy", 20.0, -100.0, units)]
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "size": counts.shape[i],
            "scale": scale,
            "offset": offset,
            "units": unit,
            "navigate": i < 2,
            "index_in_array": i,
        }
        for i, (name, scale, offset, unit) in enumerate(names)
    ]
    eds = {"live_time": 2, "elevation_angle": 35.0, "energy_resolution_MnKa": 130.0}
    writer.file_writer(
        str(path),
        {
            "data": counts,
            "axes": axes,
            "metadata": {
                "General": {"title": "a map of K412"},
                "Signal": {"signal_type": signal_type},
                "Sample": {"elements": ["Fe", "Si"]},
                "Acquisition_instrument": {"SEM": {"beam_energy": beam_energy, "Detector": {"EDS": eds}}},
            },
            "original_metadata": {},
            "learning_results": {},
            "attributes": {"_lazy": False, "ragged": False},
            "package_info": {"package": "tests", "package_version": "0"},
            "models": {},
            "tmp_parameters": {},
        },
    )
    return path


def some_counts(shape=(2, 3, 64)):
    return np.random.default_rng(0).poisson(3.0, shape).astype(np.uint16)


@pytest.mark.parametrize("beam_energy", [20.0, 20, np.int64(20), np.float32(20.0)])
def test_hspy_metadata_of_any_numeric_type_is_read(tmp_path, beam_energy):
    counts = some_counts()
    found = read_spectra(hspy(tmp_path / "map.hspy", counts, beam_energy=beam_energy))
    np.testing.assert_array_equal(found.counts, counts.reshape(6, 64))
    assert (found.axis.offset_kev, found.axis.width_kev) == pytest.approx((-0.1, 0.02))
    assert (found.beam_energy_kev, found.live_time_s, found.takeoff_deg) == (20.0, 2.0, 35.0)
    assert (found.resolution_ev, found.title, found.elements) == (130.0, "a map of K412", ("Fe", "Si"))


@pytest.mark.parametrize("kind", ["EDS_TEM", "EELS"])
def test_hspy_other_signals_are_refused_by_name(tmp_path, kind):
    path = hspy(tmp_path / "map.hspy", some_counts((9, 9, 64)), signal_type=kind)
    for read in (read_spectra, read_map):
        with pytest.raises(DataError, match=rf"map\.hspy.*{kind}"):
            read(path)


def test_hspy_counts_that_cannot_be_are_refused(tmp_path):
    for value in (np.nan, np.inf, 3e9, -1.0):
        counts = np.ones((9, 9, 64))
        counts[1, 2, 3] = value
        path = hspy(tmp_path / "map.hspy", counts)
        for read in (read_spectra, read_map):
            with pytest.raises(DataError, match=r"map\.hspy.*counts"):
                read(path)
        path.unlink()


def test_a_package_that_a_reader_misses_is_named(tmp_path, monkeypatch):
    real = foreign.import_module

    def missing(name):
        if name.startswith("rsciio."):
            raise ImportError("no", name="imagecodecs")
        return real(name)

    monkeypatch.setattr(foreign, "import_module", missing)
    path = tmp_path / "a.elid"
    path.write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"imagecodecs.*hyperspy"):
        read_spectra(path)


# ---- a Phenom project: bzip2 of little-endian fields, one tagged TIFF an image


def _text(value):
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw


def _image():
    tifffile = pytest.importorskip("tifffile")
    xml = (
        "<FeiImage><time>2025-07-24T16:18:00</time><pixelWidth unit='nm'>10</pixelWidth>"
        "<pixelHeight unit='nm'>10</pixelHeight><acquisition><scan><scanScale>1</scanScale>"
        "<highVoltage unit='kV'>-10</highVoltage><detectors><BSE>1</BSE></detectors></scan></acquisition></FeiImage>"
    )
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        np.zeros((8, 8), np.uint8),
        extratags=[(tifffile.TIFF.TAGS["FEI_TITAN"], 2, 0, xml, True)],
        metadata=None,
    )
    return struct.pack("<I", len(out.getvalue())) + out.getvalue()


def _common(spectrum, kilovolt, live_s, order):
    raw = bytearray()
    for value in spectrum:
        value = int(value)
        while value > 127:
            raw.append(value & 127 | 128)
            value >>= 7
        raw.append(value)
    empty = struct.pack("<I", 0)
    eds = struct.pack("<8d", kilovolt * 1e3, 0.5, 0.0, live_s, live_s + 1.0, 4e-6, 1e-7, 126.0)
    eds += _text("instrument") + struct.pack("<5d", 5e-3, 5e-3, 25e-6, 35e-3, 0.0)
    return (
        empty
        + struct.pack("<2dI", -38.0, 9.94, len(spectrum))
        + bytes(raw)
        + eds
        + struct.pack("<I", 2)
        + bytes([8, 26])
        + 3 * empty
        + b"\x01"
        + struct.pack("<i", order)
        + empty
    )


def elid(path, images):
    """Write images, each (label, [(kilovolt, live_s, spectrum)], difference) as a Phenom project of version 1."""
    body = b"EID2" + struct.pack("<iI", 1, len(images))
    for label, spots, difference in images:
        analyses = [
            b"\x02" + _common(s, kv, live, i + 1) + struct.pack("<2d", 0.1, 0.2)
            for i, (kv, live, s) in enumerate(spots)
        ]
        if difference:
            analyses.append(b"\x05" + _common(spots[0][2], spots[0][0], 1.0, 9) + struct.pack("<2I", 1, 2))
        body += _image() + _text(label) + struct.pack("<I", len(analyses)) + b"".join(analyses)
    path.write_bytes(bz2.compress(body + struct.pack("<2I", 0, 0)))
    return path


def test_elid_each_spectrum_has_its_own_name_energy_and_live_time(tmp_path):
    pytest.importorskip("imagecodecs", reason="the extra 'hyperspy' is not installed")
    spectra = np.random.default_rng(1).poisson(300.0, (3, 64))
    path = elid(
        tmp_path / "p.elid",
        [
            ("Image 1", [(15.0, 10.0, spectra[0]), (15.0, 20.0, spectra[1])], True),
            ("Image 2", [(10.0, 5.0, spectra[2])], False),
        ],
    )
    found = read_signals(path)
    assert [s.title for s in found] == ["Image 1, Spot 1", "Image 1, Spot 2", "Image 2, Spot 1"]
    assert [s.beam_energy_kev for s in found] == [15.0, 15.0, 10.0]
    assert [s.live_time_s for s in found] == [10.0, 20.0, 5.0]
    np.testing.assert_array_equal(np.concatenate([s.counts for s in found]), spectra)
    assert found[0].resolution_ev == 126.0
    with pytest.raises(DataError, match=r"p\.elid.*10, 15 keV"):
        read_spectra(path)


def test_elid_spots_of_one_energy_make_one_set(tmp_path):
    pytest.importorskip("imagecodecs", reason="the extra 'hyperspy' is not installed")
    spectra = np.random.default_rng(1).poisson(300.0, (2, 64))
    path = elid(tmp_path / "p.elid", [("I", [(15.0, 10.0, s) for s in spectra], True)])
    found = read_spectra(path)
    np.testing.assert_array_equal(found.counts, spectra)
    assert (found.beam_energy_kev, found.live_time_s) == (15.0, 10.0)


# ---- a Bruker spectrum: XML


SPX = """<?xml version="1.0" encoding="WINDOWS-1252"?>
<TRTSpectrum><ClassInstance Type="TRTSpectrum" Name="spot 7"><TRTHeaderedClass>
<ClassInstance Type="TRTSpectrumHardwareHeader"><RealTime>6000</RealTime><LifeTime>5000</LifeTime>
<DeadTime>10</DeadTime><Amplification>40000</Amplification></ClassInstance>
<ClassInstance Type="TRTDetectorHeader"><Type>XFlash 6</Type><DetLayers>{layers}</DetLayers></ClassInstance>
<ClassInstance Type="TRTESMAHeader"><PrimaryEnergy>15.0</PrimaryEnergy><ElevationAngle>35</ElevationAngle>
<AzimutAngle>45</AzimutAngle></ClassInstance></TRTHeaderedClass>
<ClassInstance Type="TRTSpectrumHeader"><Date>1.12.2022</Date><Time>9:24:00</Time>
<ChannelCount>{n}</ChannelCount><CalibAbs>-4.783E-1</CalibAbs><CalibLin>5.0E-3</CalibLin>
<SigmaAbs>4.5E-4</SigmaAbs><SigmaLin>4.5E-4</SigmaLin></ClassInstance>
<Channels>{channels}</Channels></ClassInstance></TRTSpectrum>
"""


def test_spx_is_read(tmp_path):
    counts = np.random.default_rng(2).poisson(30.0, 128)
    path = tmp_path / "a.spx"
    layers = base64.b64encode(zlib.compress(b"<DetLayers/>")).decode()
    path.write_text(
        SPX.format(n=len(counts), layers=layers, channels=",".join(map(str, counts))), encoding="cp1252"
    )
    found = read_spectra(path)
    np.testing.assert_array_equal(found.counts, counts[None])
    assert (found.axis.width_kev, found.beam_energy_kev, found.live_time_s) == (0.005, 15.0, 5.0)


# ---- EDAX: a binary header of fixed places


def spc(path, counts, *, data_start=3840):
    """Write an EDAX spectrum; only the fields that are read are set."""
    raw = bytearray(data_start + 4 * len(counts))
    fields = [
        (0, "<f", 0.61), (28, "<i", data_start), (32, "<h", len(counts)), (384, "<i", 10), (448, "<f", 0.0),
        (456, "<f", 12.5), (472, "<f", 126.2), (512, "<f", 36.7), (532, "<f", 15.0), (638, "<h", 2),
        (640, "<2H", 8, 14),
    ]  # fmt: skip
    for place, kind, *values in fields:
        struct.pack_into(kind, raw, place, *values)
    raw[data_start:] = np.asarray(counts, "<u4").tobytes()
    raw += bytes(max(0, 20740 - len(raw)))  # a whole header, as the instrument writes it
    path.write_bytes(raw)
    return path


def test_spc_is_read_with_its_header(tmp_path):
    counts = np.random.default_rng(3).poisson(30.0, 256)
    found = read_spectra(spc(tmp_path / "a.spc", counts))
    np.testing.assert_array_equal(found.counts, counts[None])
    assert (found.axis.width_kev, found.beam_energy_kev, found.live_time_s) == (0.01, 15.0, 12.5)
    assert found.takeoff_deg == pytest.approx(36.7)
    assert found.resolution_ev == pytest.approx(126.2)
    assert set(found.elements) == {"O", "Si"}


def test_spd_map_has_the_scale_of_the_spc_beside_it(tmp_path):
    counts = np.random.default_rng(4).poisson(3.0, (8, 9, 64)).astype("<u2")
    header = struct.pack("<16s8I120s", b"MAPSPECTRA_DATA", 1, 72, 9, 8, 64, 2, 1068, 1, b"m.bmp")
    path = tmp_path / "m.spd"
    path.write_bytes(header.ljust(1068, b"\0") + counts.tobytes())
    with pytest.raises(DataError, match=r"m\.spd.*m\.spc"):
        read_map(path)
    spc(tmp_path / "m.spc", np.zeros(64, int))
    found = read_map(path)
    np.testing.assert_array_equal(found.counts, counts)
    assert (found.axis.width_kev, found.axis.offset_kev) == (0.01, 0.0)
    assert read_spectra(path).beam_energy_kev == 15.0


# ---- JEOL: a tree of named values, and a stream of events, each a word whose upper four bits say what it is


def _tree(content):
    """Write nested fields as JEOL's programs do: 1, name, type, length, value, what it holds, -1."""
    out = b""
    for name, value in content.items():
        raw, kind, inside = b"", 0, {}
        if isinstance(value, dict):
            inside = value
        elif isinstance(value, str):
            kind, raw = 12, value.encode() + b"\0"
        elif isinstance(value, int):
            kind, raw = 3, struct.pack("<i", value)
        else:
            kind, raw = 5, struct.pack("<d", value)
        key = name.encode() + b"\0"
        page = name.startswith("PAGE") or name.startswith("PARAMPAGE")
        if page:  # its value completes its name
            head, _, tail = name.partition("_")
            key, kind, raw = head.encode() + b"\0", 12, tail.encode() + b"\0"
        out += b"\x01" + struct.pack("<i", len(key)) + key + struct.pack("<2i", kind, len(raw)) + raw
        out += _tree(inside) + b"\xff"
    return out


def pts(path, counts):
    """Write counts (n, n, channels), n a power of 2, as a JEOL map of one frame."""
    n = len(counts)
    tree = {
        "PTTD Data": {
            "AnalyzableMap MeasData": {
                "Meas Cond": {"Pixels": f"{n}x{n}", "Tpl": "T3"},
                "MeasCond": {"Mag": 500.0, "AccKV": 15.0},
                "Doc": {
                    "CoefA": 0.01, "CoefB": 0.0, "DwellTime(msec)": 1.0, "Sweep": 1, "RealTime": 64.0,
                },
            }
        },
        "PTTD Param": {
            "Params": {
                "PARAMPAGE0_SEM": {
                    "ScanSize": 100.0, "DirAng": 0.0, "DetT": "EX", "ElevAng": 25.0, "MnKaRES": 129.0,
                },
                "PARAMPAGE1_EDXRF": {"Tpl": {"T3": {"DigZ": 96}}},
            }
        },
    }  # fmt: skip
    header = bytes(12) + _tree(tree) + b"\xff"
    words = []
    for y, row in enumerate(counts):
        words.append(0x9000 | y * (4096 // n))
        for x, spectrum in enumerate(row):
            words.append(0x8000 | x * (4096 // n))
            words += [0xB000 | channel for channel in np.repeat(np.arange(len(spectrum)), spectrum)]
    start = 512
    head = struct.pack("<I8s6I", 304, b"JED", 0, 0, start, len(header), start + len(header), 2 * len(words))
    head = head + bytes(128 + 132) + struct.pack("<d", 45000.0)
    path.write_bytes(head.ljust(start, b"\0") + header + np.array(words, "<u2").tobytes())
    return path


def test_pts_map_is_read_whole_where_a_channel_holds_more_than_a_byte(tmp_path):
    counts = np.zeros((8, 8, 4096), np.int64)
    counts[..., 90:300] = np.random.default_rng(5).poisson(0.3, (8, 8, 210))
    counts[2, 3, 200] = 300  # the reader's own type ends at 254
    found = read_map(pts(tmp_path / "m.pts", counts))
    np.testing.assert_array_equal(found.counts, counts)
    assert (found.axis.width_kev, found.axis.offset_kev) == pytest.approx((0.01, -0.96))
    spectra = read_spectra(tmp_path / "m.pts")
    assert (spectra.beam_energy_kev, spectra.takeoff_deg, spectra.resolution_ev) == (15.0, 25.0, 129.0)


def jeol_eds(path, counts):
    """Write one spectrum as JEOL's Analysis Station does."""
    text = lambda value, size: value.encode().ljust(size, b"\0")  # noqa: E731
    head = struct.pack("<I6bd", 1, *[0] * 6, 45000.0) + text("spot", 80) + text("me", 32)
    head += struct.pack("<i10d", 1, *[0.0] * 10)
    head += struct.pack("<i5d4d", 7, 0.0, 0.0, 0.1, 45.0, 0.01, 20.0, 24.0, 16.0, 1000.0)
    head += struct.pack("<i4di4d", 0, *[0.0] * 4, 0, *[0.0] * 4)
    head += struct.pack("<2d", 0.01, -0.1) + text("Live", 32) + struct.pack("<id", 0, 0.0) + text("T3", 32)
    body = struct.pack("<i", len(counts)) + np.asarray(counts, "<i4").tobytes()
    foot = struct.pack("<4i", 0, 0, 0, 0) + struct.pack("<i", 5)
    foot += text("EX", 16) + text("SEM", 16) + text("Port1", 16) + struct.pack("<2d", 15.0, 1.0) + bytes(38)
    foot += struct.pack("<6di", 129.0, 10.0, 0.0, 0.0, 35.0, 0.0, 0) + struct.pack("<d5H", 100.0, *[0] * 5)
    foot += struct.pack("<5d", 10.0, 45.0, 0.0, 25.0, 10.0) + text("Be", 4) + struct.pack("<Hd", 4, 0.0)
    foot += text("C", 16) + struct.pack("<6H5d2d", *[0] * 6, *[0.0] * 5, 0.0, 0.0)
    foot += text("Si", 4) + struct.pack("<H3d", 14, 0.0, 0.0, 0.5)
    path.write_bytes(head + body + foot)
    return path


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # its reader leaves the file open
def test_jeol_spectrum_is_read_with_its_header(tmp_path):
    counts = np.random.default_rng(6).poisson(30.0, 1024)
    found = read_spectra(jeol_eds(tmp_path / "a.eds", counts))
    np.testing.assert_array_equal(found.counts, counts[None])
    assert (found.axis.width_kev, found.axis.offset_kev) == pytest.approx((0.01, -0.1))
    assert (found.beam_energy_kev, found.live_time_s, found.takeoff_deg) == (15.0, 20.0, 25.0)
    assert found.resolution_ev == 129.0


@pytest.mark.parametrize("what", ["zip of a later version", "header that is cut"])
def test_npz_map_that_zip_or_numpy_cannot_parse_is_named(tmp_path, what):
    """Found by fuzzing: each library under the reader has errors of its own."""
    path = tmp_path / "map.npz"
    if what == "header that is cut":
        head = b"{'descr': '<i4', 'fortran_order': False, 'shape': (2, (".ljust(117) + b"\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("counts.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
            for name in ("energy_scale.npy", "energy_offset.npy"):
                archive.writestr(name, b"")
    else:
        np.savez(path, counts=np.zeros((2, 2, 4), np.int32), energy_scale=0.01, energy_offset=0.0)
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 6] = 91
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"map\.npz: truncated or no \.npz file"):
        read_map(path)
