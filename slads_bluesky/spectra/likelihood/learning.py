"""Templates of phases, some from measured spectra and others from compositions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ..axis import EnergyAxis
from ..counts import check_phases, check_training
from ..physics.composition import Composition
from ..physics.detector import Detector
from ..physics.spectrum import expected_counts
from .kernel import bin_starts
from .settings import ClassifierSettings
from .templates import Templates, build_templates

__all__ = ["learn_templates"]


def learn_templates(
    spectra: Mapping[str, NDArray[Any]],
    compositions: Mapping[str, str | Mapping[str, float] | Composition],
    axis: EnergyAxis,
    settings: ClassifierSettings,
    *,
    order: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[tuple[str, ...], Templates]:
    """Names of the phases, in the order of their labels, and their templates.

    Parameters
    ----------
    spectra : phase name to (M, n_channels) counts
    compositions : phase name to formula or mass fractions
    axis : EnergyAxis
    settings : ClassifierSettings
    order : sequence of str, optional
        The labels' order; without it, measured phases come first.
    seed : int
        Of the noise that ``noise_lambda`` adds to the measured spectra.

    Raises
    ------
    ConfigError, DataError
        If a phase is named twice, `order` names others, or a phase is not what it may be.
    """
    named = check_phases([*spectra, *compositions])
    phases = check_phases(order) if order is not None else named
    if sorted(phases) != sorted(named):
        raise ConfigError(f"classifier: order {list(phases)} does not name the phases {list(named)}")
    checked = check_training(spectra, axis.n_channels, least=1) if spectra else {}
    starts = bin_starts(axis, settings.resolution_ev)
    rng = np.random.default_rng([seed, 0x11E])
    binned: dict[str, NDArray[np.float64]] = {}
    for name, table in checked.items():
        noisy = table + rng.poisson(settings.noise_lambda, table.shape)
        binned[name] = np.add.reduceat(noisy, starts[:-1], axis=1)
    for name, value in compositions.items():
        binned[name] = np.add.reduceat(_computed(name, value, axis, settings), starts[:-1])[None]
    templates = build_templates(
        [binned[name] for name in phases],
        np.array([name in compositions for name in phases]),
        starts,
        axis,
        settings,
    )
    return phases, templates


def _computed(
    name: str,
    composition: str | Mapping[str, float] | Composition,
    axis: EnergyAxis,
    settings: ClassifierSettings,
) -> NDArray[np.float64]:
    try:
        return expected_counts(
            composition,
            axis,
            beam_energy_kev=settings.beam_energy_kev,
            takeoff_deg=settings.takeoff_deg,
            detector=Detector(resolution_ev=settings.resolution_ev),
            total_counts=1.0,
        )
    except ConfigError as error:
        raise ConfigError(f"phase {name!r}: {error}") from error
