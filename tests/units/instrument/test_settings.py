"""instrument.yml: what is wrong is named with its line, what was found and what is allowed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.instrument import read_settings
from slads_bluesky.instrument.axes import beam_axes
from slads_bluesky.instrument.metadata import PersistentMetadata
from slads_bluesky.instrument.parts import make_devices, make_models
from slads_bluesky.sampling import shipped_model

SHIPPED = Path(__file__).parents[3] / "profile" / "instrument.yml"


@pytest.fixture
def complaint(tmp_path):
    def read(text):
        path = tmp_path / "instrument.yml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_settings(path)
        return str(caught.value)

    return read


def test_the_shipped_file_is_valid_and_says_every_field():
    settings, file = read_settings(SHIPPED)
    assert settings.mode == "ioc"
    for name, section in settings:
        if name in ("mode", "acquisition", "publishers"):
            continue
        assert set(file.data[name]) == {
            field.alias or key for key, field in type(section).model_fields.items() if key != "size_um"
        }


def test_every_wrong_field_is_named_with_its_line_what_was_found_and_what_is_allowed(complaint):
    output = complaint(
        "mode: softt\n"
        "grid:\n"
        "  shpe: [64, 64]\n"
        "  step_um: -1\n"
        "dose:\n"
        "  dwell_s: yes\n"
        "sampler: {name: sladss, fraction: 1.5}\n"
        "devices:\n"
        "  beam: {prefix: ''}\n"
    )
    lines = {line.split(": ")[1]: line for line in output.splitlines()[1:]}
    assert "8 fields are wrong" in output
    assert lines["mode"] == "  line 1: mode: found 'softt'; allowed: 'soft', 'ioc' or 'hardware'"
    assert lines["grid.shpe"].startswith("  line 3: ")
    assert "shape, size_um, step_um, centre_um (did you mean shape?)" in lines["grid.shpe"]
    assert lines["grid.step_um"].startswith("  line 4: grid.step_um: found -1; allowed: greater than 0")
    assert lines["dose.dwell_s"] == "  line 6: dose.dwell_s: found True; allowed: a number, not yes or no"
    assert "'slads', 'learned', 'joint', 'random' or 'low-discrepancy'" in lines["sampler.name"]
    assert lines["sampler.fraction"].endswith("found 1.5; allowed: less than or equal to 1")
    assert (
        lines["devices.beam.class"]
        == "  line 9: devices.beam.class: found nothing; allowed: it must be given"
    )
    assert lines["devices.beam.prefix"].endswith("found ''; allowed: a word without spaces")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mode: soft\ngrid: {shape: [64, 64]}\nmode: ioc\n", "line 3: 'mode' is there already, on line 1"),
        ("mode: soft\ngrid: [\n", "not YAML"),
        ("- soft\n", "line 1: sections such as"),
        ("", "found nothing"),
        ("mode: soft\ngrid: {shape: [64, 64], size_um: [1, 2]}\n", "either shape (pixels) or size_um (µm)"),
        ("mode: soft\ngrid: {step_um: 1}\n", "either shape (pixels) or size_um (µm)"),
        ("mode: soft\ngrid: {shape: [64, 5000]}\n", "from 1 to 4096"),
        (
            "mode: soft\ngrid: {shape: [64, 64]}\nsampler:\n  confidence: 0.9\n",
            "confidence says nothing without stop_at",
        ),
        ("mode: soft\ngrid: {shape: [64, 64, 3]}\n", "line 2: grid.shape: found [64, 64, 3]"),
        (
            "mode: soft\ngrid: {shape: [64, 64]}\npublishers:\n- localhost:5577\n- localhost\n",
            "line 5: publishers.1: found 'localhost'; allowed: host:port, tcp://host:port, ipc://path or kafka://",
        ),
        ("mode: soft\ngrid: {shape: [64, 64]}\nextra: 1\n", "line 3: extra: found a field that is not known"),
    ],
)
def test_other_mistakes(complaint, text, words):
    assert words in complaint(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yml: cannot be read"):
        read_settings(tmp_path / "nowhere.yml")


@given(
    pixels=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    step=st.floats(0.01, 50, allow_subnormal=False),
)
def test_a_grid_is_the_same_in_pixels_and_in_micrometres(tmp_path_factory, pixels, step):
    folder = tmp_path_factory.mktemp("grid")
    grids = []
    for size in (f"shape: {list(pixels)}", f"size_um: {[n * step for n in pixels]}"):
        path = folder / "instrument.yml"
        path.write_text(f"mode: soft\ngrid:\n  {size}\n  step_um: {step}\n")
        grids.append(read_settings(path)[0].grid.grid().to_json())
    assert grids[0] == grids[1]


def test_paths_begin_at_the_file(tmp_path):
    path = tmp_path / "instrument.yml"
    path.write_text(
        "mode: soft\ngrid: {shape: [8, 8]}\nclassifier: {file: models/a}\ncatalog: {directory: ~/x}\n"
    )
    settings, _ = read_settings(path)
    assert settings.classifier.file == tmp_path / "models" / "a"
    assert settings.catalog.directory == Path("~/x").expanduser()


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("  name: slads\n", r"line 4, sampler\.name: slads needs a model .* or take the sampler learned"),
        (
            "  name: random\n  model: a.safetensors\n",
            r"line 5, sampler\.model: the sampler 'random' takes no model",
        ),
        ("  model: none.safetensors\n", r"line 4, sampler\.model: .*none\.safetensors"),
    ],
)
def test_a_sampler_that_cannot_work_is_named_with_its_line(tmp_path, sampler, words):
    path = tmp_path / "instrument.yml"
    path.write_text("mode: hardware\ngrid: {shape: [8, 8]}\nsampler:\n" + sampler)
    settings, file = read_settings(path)
    with pytest.raises(ConfigError, match=words):
        make_models(settings, file)


def test_on_hardware_the_usual_sampler_needs_no_file(tmp_path):
    path = tmp_path / "instrument.yml"
    path.write_text("mode: hardware\ngrid: {shape: [8, 8]}\n")
    models = make_models(*read_settings(path))
    assert models.sampler.sha256 == shipped_model().sha256
    assert models.classifier is None


def test_metadata_are_shared_by_all_who_have_the_file(tmp_path):
    one, other = (PersistentMetadata(tmp_path / "md.json") for _ in range(2))
    one["operator"] = "Ada"
    other["sample"] = {"name": "steel"}
    assert dict(one) == dict(other) == {"operator": "Ada", "sample": {"name": "steel"}}
    del other["operator"]
    assert dict(PersistentMetadata(tmp_path / "md.json")) == dict(one) == {"sample": {"name": "steel"}}
    with pytest.raises(RecordError, match=r"RE.md\['when'\] must be plain data"):
        one["when"] = object()
    assert dict(other) == {"sample": {"name": "steel"}}


def test_metadata_that_are_none_are_refused(tmp_path):
    (tmp_path / "md.json").write_text("[]")
    with pytest.raises(RecordError, match="holds no metadata but list"):
        PersistentMetadata(tmp_path / "md.json")


class _Status:
    done = False


class _Beam:
    name = "beam"

    def __init__(self):
        self.position = (1.0, 2.0)
        self.status = _Status()

    def set(self, position):
        self.wanted = position
        return self.status


def test_two_axes_moved_at_once_do_not_undo_each_other():
    beam = _Beam()
    x, y = beam_axes(beam)
    x.set(10)
    y.set(-5)
    assert beam.wanted == (10.0, -5.0)
    beam.status.done = True
    beam.position = (3.0, 4.0)  # somebody else moved it
    x.set(7)
    assert beam.wanted == (7.0, 4.0)


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ("beam: {class: EDSDetector, prefix: X}", r"line 4, devices\.beam\.class: EDSDetector is .* devices\.eds"),
        ("eds: {class: SEMBeam, prefix: X}", r"devices\.eds\.class: SEMBeam is the class of devices\.beam"),
        ("sem: {class: SEMBeam, prefix: X}", r"devices\.sem\.class: SEMBeam is the class of devices\.beam"),
        ("beam: {class: 'ophyd:Signal', prefix: X}", r"devices\.beam\.(class|options): .*"),
        ("sem: {class: 'types:SimpleNamespace', prefix: X}", r"devices\.sem\.(class|options): "),
        ("eds: {class: EDSDetector, prefix: X, options: {takeoff: 3}}",
         r"devices\.eds\.options: .*takeoff.*; allowed: .*elevation_angle_deg, energy_resolution_ev"),
        ("eds: {class: EDSDetector, prefix: X, options: {elevation_angle_deg: 400}}", "400"),
    ],
)  # fmt: skip
def test_a_device_that_cannot_have_its_role_is_named_with_its_line(tmp_path, devices, words):
    path = tmp_path / "instrument.yml"
    path.write_text(f"mode: hardware\ngrid: {{shape: [8, 8]}}\ndevices:\n  {devices}\n")
    with pytest.raises(ConfigError, match=words):
        make_devices(*read_settings(path))


def test_a_class_without_what_plans_use_is_named(tmp_path, monkeypatch):
    (tmp_path / "own_beam.py").write_text(
        "class Half:\n    def __init__(self, prefix, name, speed=1):\n        self.name = name\n    def read(self):\n"
        "        return {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "instrument.yml"
    path.write_text(
        "mode: hardware\ngrid: {shape: [8, 8]}\ndevices:\n  beam: {class: 'own_beam:Half', prefix: X}\n"
    )
    with pytest.raises(ConfigError, match=r"a Half cannot be the beam: it has no set, blanker, describe"):
        make_devices(*read_settings(path))
    path.write_text(path.read_text().replace("prefix: X", "prefix: X, options: {pace: 2}"))
    with pytest.raises(ConfigError, match=r"pace.*; allowed: speed"):
        make_devices(*read_settings(path))
