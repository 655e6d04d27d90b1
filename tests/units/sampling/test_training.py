"""Training, its model file, and the forecast of the trained sampler's own errors."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError, ModelFileError
from slads_bluesky.images import boundary_fraction, total_distortion
from slads_bluesky.modelfile import read_file, write_file
from slads_bluesky.sampling import (
    SladsModel,
    SladsSampler,
    distortion_curve,
    knn_reconstruct,
    sampling_order,
    train_slads,
)
from slads_bluesky.sampling.error_forecast import forecast
from slads_bluesky.sampling.masks import initial_pixels, random_pixels
from slads_bluesky.sampling.slads.model import expand
from slads_bluesky.sampling.slads.reduction import gaussian_reduction
from slads_bluesky.sampling.slads.training import _normal_equations, _solve
from slads_bluesky.sampling.stopping import StopFunction, forgetting, stop_curve, threshold_for


def test_the_gaussian_reduction_is_what_it_says():
    generator = np.random.default_rng(0)
    wrong = generator.random((20, 31)) < 0.2
    pixels = np.array([0, 5 * 31 + 8, 19 * 31 + 30, 10 * 31 + 15])
    nearest2 = np.array([1.0, 8.0, 2.0, 25.0])
    cs = np.array([2.0, 8.0])
    found = gaussian_reduction(wrong, pixels, nearest2, cs)
    for i, pixel in enumerate(pixels):
        row, column = divmod(int(pixel), 31)
        for j, c in enumerate(cs):
            sigma = np.sqrt(nearest2[i]) / c
            y, x = np.nonzero(wrong)
            near = (abs(y - row) <= 7) & (abs(x - column) <= 7)
            d2 = (y[near] - row) ** 2 + (x[near] - column) ** 2
            assert found[i, j] == pytest.approx(np.exp(-d2 / (2 * sigma**2)).sum())


def test_normal_equations_give_the_least_squares_fit(make_blobs):
    """The sums, chunk by chunk, against least squares on the table that they sum up."""
    from slads_bluesky.sampling.slads.engine import rebuild
    from slads_bluesky.sampling.slads.features import feature_table
    from slads_bluesky.sampling.slads.state import SHIFT, empty_field, to_grid

    image = make_blobs((40, 52), 3.0, seed=9)
    gram, moment = _normal_equations(image, 0.2, [7], 10, (3, 6), (4.0, 8.0))
    measured = np.random.default_rng([7]).random(image.shape) < 0.2
    for i, radius in enumerate((3, 6)):
        inside = np.ones(image.shape, bool)
        field = empty_field(~measured, inside, k=10, theta=np.zeros((7, 7)), radius=radius)
        voting = np.flatnonzero(measured.ravel()).astype(np.int32)
        rebuild(field, voting, image.ravel()[voting].astype(np.int32) - 1, 2)
        left = np.flatnonzero(~measured.ravel())
        terms = expand(feature_table(field, left))
        wrong = to_grid(field, field.recon) + 1 != image
        nearest2 = to_grid(field, field.keys[:, 0] >> SHIFT).ravel()[left].astype(float)
        target = gaussian_reduction(wrong, left, nearest2, np.array([4.0, 8.0]))
        wanted = terms @ np.linalg.lstsq(terms, target, rcond=None)[0]
        assert terms @ _solve(gram[i], moment[i]) == pytest.approx(wanted, abs=2e-3)


def test_slads_beats_masks_that_do_not_look(model, make_blobs):
    truth = make_blobs((64, 80), 4.0, seed=21)
    b = boundary_fraction(truth)
    n = int(1.1 * b * truth.size)
    order = sampling_order(truth, model, n, seed=1)
    assert order.size == n == np.unique(order).size

    def td(pixels):
        measured = np.full(truth.shape, -1, np.int16)
        measured.ravel()[pixels] = truth.ravel()[pixels]
        return total_distortion(truth, knn_reconstruct(measured))

    ours = td(order)
    assert ours < 0.3 * td(initial_pixels(truth.shape, n / truth.size, seed=1))
    assert ours < 0.3 * td(random_pixels(truth.shape, seed=1)[:n])
    curve, again = distortion_curve(truth, model, [200, n], seed=1)
    assert np.array_equal(again, order)
    assert curve[-1] == pytest.approx(ours)


def test_the_same_seed_gives_the_same_model_in_one_process_or_two(make_blobs):
    images = [make_blobs((32, 32), 3.0, seed=s) for s in (1, 2)]
    options = {"seed": 3, "cs": (4.0, 8.0), "calibrated": False}
    one = train_slads(images, **options)
    assert train_slads(images, n_jobs=2, **options).sha256 == one.sha256
    assert train_slads(images, **(options | {"seed": 4})).sha256 != one.sha256
    assert [facts["boundary_fraction"] for facts in one.metadata["images"]] == [
        boundary_fraction(image) for image in images
    ]
    assert one.c in (4.0, 8.0)
    assert {"slads-bluesky", "numpy"} <= set(one.metadata["versions"])


def test_training_images_that_do_not_belong_together(make_blobs):
    two, four = make_blobs((30, 30), 3.0), make_blobs((30, 30), 3.0, 4)
    with pytest.raises(DataError, match=r"b.npy has the labels \[1, 2, 3, 4\], a.npy has \[1, 2\]"):
        train_slads([two, four], seed=0, names=["a.npy", "b.npy"])
    with pytest.raises(DataError, match="no training image"):
        train_slads([], seed=0)
    with pytest.raises(DataError, match="one phase only"):
        train_slads([np.ones((9, 9), np.uint8)], seed=0)


def test_a_model_file_comes_back_as_it_was(tmp_path, model):
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = SladsModel.load(path)
    assert again.sha256 == model.sha256
    assert again.metadata == json.loads(json.dumps(dict(model.metadata)))
    for name in ("theta", "stop", "pixel_error", "calibration_runs"):
        assert np.array_equal(getattr(again, name), getattr(model, name))
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_file_of_version_1_is_read(tmp_path, model):
    """It calls pixel error and calibration runs by other names; the hash is the same."""
    path = tmp_path / "old.safetensors"
    model.save(path)
    arrays, header = read_file(path)
    for new, old in (("pixel_error", "risk"), ("calibration_runs", "analogues")):
        arrays[old] = arrays.pop(new)
    write_file(path, arrays, {**header, "version": "1"})
    again = SladsModel.load(path)
    assert again.sha256 == model.sha256
    assert np.array_equal(again.calibration_runs, model.calibration_runs)


def rewritten(path, **changes):
    """The file with its header's metadata changed."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    for name, value in changes.items():
        if value is None:
            header["__metadata__"].pop(name)
        else:
            header["__metadata__"][name] = value
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "somebody/else"}, "field format is 'somebody/else'"),
        ({"version": "3"}, "update slads-bluesky"),
        ({"version": "newest"}, "field version is 'newest'"),
        ({"settings": None}, "field settings is missing"),
        ({"settings": "{"}, "field settings or metadata is damaged"),
        ({"settings": '{"phases": [1, 2], "c": 8, "k": 10}'}, "field radius is missing"),
        ({"settings": '{"phases": [1, 2], "c": 8, "k": 0, "radius": 3}'}, "k must lie in"),
        ({"sha256": "0"}, "field sha256 does not match"),
    ],
)
def test_a_model_file_that_is_not_ours_is_named(tmp_path, model, changes, message):
    path = tmp_path / "m.safetensors"
    model.save(path)
    rewritten(path, **changes)
    with pytest.raises(ModelFileError, match=message) as caught:
        SladsModel.load(path)
    assert str(path) in str(caught.value)


def test_a_truncated_model_file_is_refused_wherever_it_is_cut(tmp_path, model):
    path = tmp_path / "m.safetensors"
    model.save(path)
    raw = path.read_bytes()
    for length in (0, 4, 8, 100, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:length])
        with pytest.raises(ModelFileError, match=r"m\.safetensors"):
            SladsModel.load(path)
    with pytest.raises(ModelFileError, match="no such model file"):
        SladsModel.load(tmp_path / "none.safetensors")


def test_a_model_of_odd_arrays_is_refused(model):
    with pytest.raises(ModelFileError, match=r"theta has shape \(3,\)"):
        SladsModel(np.zeros(3), (1, 2))
    with pytest.raises(ModelFileError, match="not finite"):
        SladsModel(np.full(26, np.nan), (1, 2))
    with pytest.raises(ModelFileError, match="radius"):
        replace(model, radius=0)


def test_the_interval_holds_the_truth_about_as_often_as_it_says(model, make_blobs):
    """On images not trained on, of the same kind and of others."""
    held, widths = [], []
    for i, (width, shape) in enumerate(((3.0, (48, 56)), (3.0, (64, 48)), (2.0, (48, 48)), (6.0, (80, 64)))):
        for seed in (200 + i, 300 + i):
            truth = make_blobs(shape, width, seed=seed)
            sampler = SladsSampler(shape, model, labels=2, seed=seed)
            order = sampling_order(truth, model, int(1.3 * boundary_fraction(truth) * truth.size), seed)
            for n, pixel in enumerate(order, 1):
                sampler.ingest(int(pixel), int(truth.ravel()[pixel]))
                if n > sampler.n_initial and n % max(1, order.size // 10) == 0:
                    low, high = sampler.distortion_interval(0.9)
                    td = total_distortion(truth, sampler.reconstruct())
                    assert 0.0 <= low <= sampler.distortion_estimate() <= high <= 1.0
                    held.append(low <= td <= high)
                    widths.append(high / max(low, 1e-4))
    assert len(held) > 60
    assert np.mean(held) > 0.8
    assert np.median(widths) < 12.0


def test_quantiles_of_a_forecast(model):
    state = model.calibration_runs[5, :5]
    found = forecast(state, 40.0, model.calibration_runs)
    values = [found.quantile(p) for p in (0.05, 0.25, 0.5, 0.75, 0.95)]
    assert values == sorted(values)
    assert values[0] >= 0.0
    assert found.quantile(0.5) == pytest.approx((40.0 + 2.0) * np.exp(found.mean) - 2.0)


def test_stopping_by_bound_and_by_the_references_rule(model, make_blobs):
    truth = make_blobs((64, 64), 4.0, seed=77)
    flat = truth.ravel()

    def measured_until_it_stops(**options):
        sampler = SladsSampler(truth.shape, model, labels=2, seed=2, **options)
        while not sampler.should_stop():
            pixel = sampler.suggest()[0].pixel
            sampler.ingest(pixel, int(flat[pixel]))
        return sampler

    bound = measured_until_it_stops(stop_at=0.02, confidence=0.95)
    assert bound.n_measured < 0.6 * truth.size
    assert total_distortion(truth, bound.reconstruct()) <= 0.02
    assert bound.distortion_bound(0.95) <= 0.02
    looser = measured_until_it_stops(stop_at=0.05, confidence=0.95)
    surer = measured_until_it_stops(stop_at=0.02, confidence=0.99)
    assert looser.n_measured < bound.n_measured < surer.n_measured
    loose, strict = (measured_until_it_stops(stop_at=wanted) for wanted in (0.02, 0.001))
    assert 0.02 * truth.size < loose.n_measured <= strict.n_measured < truth.size
    assert total_distortion(truth, strict.reconstruct()) < 0.01


def test_stop_options_that_cannot_be(model):
    plain = replace(model, stop=np.zeros((0, 2)), calibration_runs=np.zeros((0, 7)), pixel_error=np.zeros(0))
    with pytest.raises(ConfigError, match="stop_at must lie"):
        SladsSampler((9, 9), model, labels=2, stop_at=2.0)
    with pytest.raises(ConfigError, match="without stop_at"):
        SladsSampler((9, 9), model, labels=2, confidence=0.9)
    with pytest.raises(ConfigError, match="calibration runs"):
        SladsSampler((9, 9), plain, labels=2, stop_at=0.01)
    sampler = SladsSampler((9, 9), plain, labels=2)
    sampler.ingest(0, 1)
    assert np.isnan(sampler.distortion_estimate())


def test_the_stop_function():
    assert forgetting(256 * 256) == pytest.approx(0.001 * 2)
    assert forgetting(512 * 512) == pytest.approx(0.001)
    assert forgetting(1024 * 1024) == pytest.approx(0.001 / 2)
    missed = np.random.default_rng(0).random(300) < 0.3
    function = StopFunction(16384)
    for value, miss in zip(stop_curve(missed, 16384), missed, strict=True):
        function.take(bool(miss))
        assert function.value == pytest.approx(value)
    assert not function.holds(1.0, 10)  # too few measured
    for _ in range(60):
        function.take(False)
    assert function.holds(1.0, 16384)
    assert not function.holds(1e-6, 16384)
    table = np.array([[0.01, 0.2], [0.001, 0.1]])
    assert threshold_for(table, 0.0055) == pytest.approx(0.15)
    assert threshold_for(table, 0.5) == 0.2
    assert threshold_for(np.zeros((0, 2)), 0.1) == -np.inf


@pytest.mark.slow
def test_a_dask_cluster_trains_the_same_model(make_blobs):
    distributed = pytest.importorskip("distributed")
    import joblib

    images = [make_blobs((32, 32), 3.0, seed=s) for s in (1, 2)]
    options = {"seed": 3, "cs": (4.0, 8.0), "calibrated": False}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        found = train_slads(images, n_jobs=-1, **options)
    assert found.sha256 == train_slads(images, **options).sha256
