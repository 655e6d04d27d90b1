"""Classifiers made once for all tests of the spectrum side, and the folder with real spectra, if it is there."""

import os
from pathlib import Path

import numpy as np
import pytest

from slads_bluesky.spectra import EnergyAxis, PhaseClassifier, expected_counts, train_paper_classifier

POWDER = {"CaO": "CaO", "LaO": "LaO", "Si": "Si", "C": "C"}
ALLOY = {"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"}


@pytest.fixture(scope="session")
def axis():
    return EnergyAxis.phenom()


@pytest.fixture(scope="session")
def powder_shapes(axis):
    return {name: expected_counts(spec, axis, total_counts=1.0) for name, spec in POWDER.items()}


@pytest.fixture(scope="session")
def alloy_shapes(axis):
    return {name: expected_counts(spec, axis, total_counts=1.0) for name, spec in ALLOY.items()}


def draws(shapes, counts, n, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.poisson(counts * shape, (n, len(shape))) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def powder(axis, powder_shapes):
    """The default classifier, trained on 24 spectra a phase of 1.2e5 counts."""
    return PhaseClassifier.from_spectra(draws(powder_shapes, 1.2e5, 24, 1), axis, live_time_s=10.0)


@pytest.fixture(scope="session")
def alloy(axis, alloy_shapes):
    return PhaseClassifier.from_spectra(draws(alloy_shapes, 1.2e5, 24, 2), axis)


@pytest.fixture(scope="session")
def computed(axis):
    """The default classifier from compositions alone."""
    return PhaseClassifier.from_compositions(POWDER, axis)


@pytest.fixture(scope="session")
def paper(axis, powder_shapes):
    """The paper's two networks."""
    return train_paper_classifier(draws(powder_shapes, 1.2e5, 24, 3), axis)


@pytest.fixture(scope="session")
def real_data():
    """Folder with nist_msa/ and p45_dacite.npz."""
    default = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("SLADS_TEST_DATA", default))
    if not (folder / "nist_msa").is_dir():
        pytest.skip(f"no real spectra in {folder}; set SLADS_TEST_DATA")
    return folder
