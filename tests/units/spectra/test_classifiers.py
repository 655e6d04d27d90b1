"""Laws that every classifier obeys, whatever it is made of."""

import json
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, DataError, ModelFileError
from slads_bluesky.protocols import UNCLASSIFIED, Classifier, HasPosterior
from slads_bluesky.spectra import PaperClassifier, PhaseClassifier, load_classifier, train_paper_classifier
from slads_bluesky.spectra.likelihood.classifier import OUTSIDE

VERDICTS = {"ok", "low_counts", "mixed", "unknown", "ill"}
ALL = ["powder", "computed", "paper"]


@pytest.fixture(params=ALL)
def classifier(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def sample(powder_shapes):
    """Good spectra with their labels, and bad ones: (n, n_channels), (n,)."""
    rng = np.random.default_rng(11)
    rows, labels = [], []
    for label, shape in enumerate(powder_shapes.values(), start=1):
        rows += list(rng.poisson(1.2e5 * shape, (20, len(shape))) + rng.poisson(2.0, (20, len(shape))))
        labels += [label] * 20
    rows += list(rng.poisson(20.0, (20, 2040)))
    return np.array(rows), np.array(labels + [UNCLASSIFIED] * 20)


def test_classifier_fits_the_protocol(classifier):
    assert isinstance(classifier, Classifier)
    assert isinstance(classifier, HasPosterior) == (classifier.kind == "likelihood")
    assert classifier.phases == ("CaO", "LaO", "Si", "C")
    assert classifier.n_channels == 2040
    assert len(classifier.sha256) == 64


def test_classifier_good_spectra_get_their_phase_and_ill_ones_none(classifier, sample):
    spectra, labels = sample
    if classifier.kind == "likelihood":  # trained without the paper's background: subtract its mean
        spectra = spectra.copy()
        spectra[labels > 0] = np.maximum(spectra[labels > 0] - 2, 0)
        return_labels = np.array([classifier.posterior(row)[:-1].argmax() + 1 for row in spectra[labels > 0]])
        np.testing.assert_array_equal(return_labels, labels[labels > 0])
        ill = classifier.classify_batch(spectra[labels == UNCLASSIFIED])
        assert set(ill[0]) == {UNCLASSIFIED}
        assert set(ill[2]) == {"ill"}
    else:
        np.testing.assert_array_equal(classifier.classify_batch(spectra)[0], labels)


def test_answers_are_labels_probabilities_and_verdicts(classifier, sample):
    labels, probability, verdicts = classifier.classify_batch(sample[0])
    assert labels.dtype == np.uint8
    assert labels.max() <= len(classifier.phases)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert set(verdicts) <= VERDICTS
    assert (labels[verdicts == "ok"] > 0).all()
    assert (labels[np.isin(verdicts, ["unknown", "ill"])] == UNCLASSIFIED).all()


def test_one_by_one_and_in_batches_are_the_same(classifier, sample):
    spectra = sample[0][::7]
    labels, probability, verdicts = classifier.classify_batch(spectra)
    for i, row in enumerate(spectra):
        one = classifier.classify(row)
        assert (one.label, one.verdict) == (labels[i], verdicts[i])
        assert one.probability == pytest.approx(probability[i], abs=1e-5)


def test_the_dtype_and_layout_of_counts_do_not_matter(classifier, sample):
    row = sample[0][3]
    expected = classifier.classify(row)
    for other in (
        row.astype(np.int32),
        row.astype(np.uint16),
        row.astype(np.float32),
        np.repeat(row, 2)[::2],
    ):
        got = classifier.classify(other)
        assert got[::2] == expected[::2]
        assert got.probability == pytest.approx(expected.probability, abs=1e-5)


def test_classifying_changes_nothing(classifier, sample):
    row = sample[0][30].copy()
    before, first = classifier.sha256, classifier.classify(row)
    classifier.classify(sample[0][-1])
    assert classifier.classify(row) == first
    assert classifier.sha256 == before
    np.testing.assert_array_equal(row, sample[0][30])


def test_threads_do_not_disturb_one_another(classifier, sample):
    spectra = sample[0][::5]
    expected = [classifier.classify(row) for row in spectra]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert list(pool.map(classifier.classify, spectra)) == expected


def test_an_empty_batch_is_empty(classifier):
    labels, probability, verdicts = classifier.classify_batch(np.empty((0, 2040)))
    assert len(labels) == len(probability) == len(verdicts) == 0


def test_saved_and_loaded_it_is_the_same(classifier, sample, tmp_path):
    path = tmp_path / "model.safetensors"
    classifier.save(path)
    again = load_classifier(path)
    assert type(again) is type(classifier)
    assert again.sha256 == classifier.sha256
    assert again.phases == classifier.phases
    assert again.axis == classifier.axis
    for mine, theirs in zip(
        again.classify_batch(sample[0]), classifier.classify_batch(sample[0]), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("counts", "culprit"),
    [
        (np.ones(2039), "2039"),
        (np.ones((2, 2040)), "shape"),
        (-np.ones(2040), "negative"),
        (np.full(2040, np.nan), "finite"),
        (np.where(np.arange(2040) == 7, np.inf, 1.0), "finite"),
        (np.array(["a"] * 2040), "numbers"),
    ],
)
def test_no_spectrum_is_refused_by_what_is_wrong(classifier, counts, culprit):
    with pytest.raises(DataError, match=culprit):
        classifier.classify(counts)
    with pytest.raises(DataError):
        classifier.classify_batch(counts if counts.ndim == 2 and counts.shape[1] != 2040 else counts[None])


def test_files_that_are_none_are_refused(classifier, tmp_path):
    path = tmp_path / "model"
    with pytest.raises(ModelFileError, match="no such"):
        load_classifier(path)
    classifier.save(path)
    whole = path.read_bytes()
    for broken in (b"", whole[:50], whole[: len(whole) // 2], b"\x00" * 100, b"PK\x03\x04" + whole):
        path.write_bytes(broken)
        with pytest.raises(ModelFileError, match="model"):
            load_classifier(path)
    changed = bytearray(whole)
    changed[-1] ^= 1
    path.write_bytes(bytes(changed))
    with pytest.raises(ModelFileError, match="changed"):
        load_classifier(path)


def test_a_newer_file_and_another_kind_are_refused(paper, powder, tmp_path, monkeypatch):
    path = tmp_path / "model"
    powder.save(path)
    with pytest.raises(ModelFileError, match="kind 'likelihood'"):
        PaperClassifier.load(path)
    monkeypatch.setattr(PhaseClassifier, "version", 99)
    powder.save(path)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="newer"):
        load_classifier(path)


def test_a_file_without_our_header_is_refused(tmp_path):
    path = tmp_path / "foreign"
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelFileError, match="not a model of this program"):
        load_classifier(path)


def test_a_folder_that_is_not_there_is_named(classifier, tmp_path):
    with pytest.raises(ConfigError, match="cannot write"):
        classifier.save(tmp_path / "nowhere" / "model")


@pytest.mark.parametrize("train", [PhaseClassifier.from_spectra, train_paper_classifier])
def test_training_spectra_that_cannot_be_are_refused_by_phase(train, axis):
    good = np.ones((6, 2040))
    with pytest.raises(DataError, match="'b'"):
        train({"a": good, "b": good[:, :-1]}, axis)
    with pytest.raises(DataError, match=r"'b'.*negative"):
        train({"a": good, "b": -good}, axis)
    with pytest.raises(DataError, match=r"'b'.*no counts"):
        train({"a": good, "b": 0 * good}, axis)
    with pytest.raises(ConfigError, match="name"):
        train({"a": good, " ": good}, axis)
    with pytest.raises(ConfigError, match="phases"):
        train({}, axis)


def test_log_likelihoods_with_the_priors_give_the_posterior(alloy, alloy_shapes):
    rng = np.random.default_rng(11)
    prior = np.append(np.full(2, (1 - OUTSIDE) / 2), OUTSIDE)
    for counts in (3, 40, 3000):
        spectrum = rng.multinomial(counts, alloy_shapes["Sn"] / alloy_shapes["Sn"].sum())
        weighed = alloy.log_likelihoods(spectrum)
        assert weighed.shape == (3,)
        assert weighed.max() == 0.0
        product = prior * np.exp(weighed)
        np.testing.assert_allclose(product / product.sum(), alloy.posterior(spectrum), atol=1e-9)
