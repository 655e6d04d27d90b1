"""Templates of phases, some from measured spectra and others from compositions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...threads import one_thread
from ..axis import EnergyAxis
from ..counts import check_phases, check_training
from ..physics.composition import Composition
from ..physics.detector import Detector
from ..physics.spectrum import expected_counts
from .computed import DetectorCalibration, computed_phase
from .kernel import binned as sum_bins
from .nuisance import (
    Nuisance,
    build_nuisance,
    join_nuisances,
    library_families,
)
from .scatter import measured_directions
from .settings import ClassifierSettings
from .tempering import retempered
from .templates import Templates, assumed_tempering, build_templates

__all__ = ["add_nuisance", "learn_templates"]


@one_thread()
def learn_templates(
    spectra: Mapping[str, NDArray[Any]],
    compositions: Mapping[str, str | Mapping[str, float] | Composition],
    axis: EnergyAxis,
    settings: ClassifierSettings,
    *,
    order: Sequence[str] | None = None,
    seed: int = 0,
    calibration: DetectorCalibration | None = None,
) -> tuple[tuple[str, ...], Templates, Nuisance | None]:
    """Names of the phases, in the order of their labels, their templates, and what may differ from them.

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
    calibration : DetectorCalibration, optional
        Of the detector, for phases given as compositions.

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
    starts = settings.bin_starts(axis)
    rng = np.random.default_rng([seed, 0x11E])
    binned: dict[str, NDArray[np.float64]] = {}
    for name, table in checked.items():
        noisy = table + rng.poisson(settings.noise_lambda, table.shape)
        binned[name] = sum_bins(noisy, starts)
    computed = {}
    for name, value in compositions.items():
        if settings.model == 1:
            binned[name] = sum_bins(_computed(name, value, axis, settings), starts)[None]
            continue
        try:
            computed[name] = computed_phase(value, axis, starts, settings, calibration)
        except ConfigError as error:
            raise ConfigError(f"phase {name!r}: {error}") from error
        binned[name] = computed[name].shape[None]
    rows = [binned[name] for name in phases]
    is_computed = np.array([name in compositions for name in phases])
    templates = build_templates(rows, is_computed, starts, axis, settings)
    if settings.model == 1:
        return phases, templates, None
    library = library_families(
        axis,
        starts,
        settings.beam_energy_kev,
        settings.takeoff_deg,
        Detector(resolution_ev=settings.resolution_ev),
    )
    found = []
    for name, shape in zip(phases, templates.shape, strict=True):
        if name in compositions:
            found.append(computed[name].directions(shape, starts, axis))
        else:
            found.append(measured_directions(binned[name], shape, library, starts, axis, settings))
    nuisance = build_nuisance(found, len(starts) - 1)
    templates = retempered(templates, nuisance, rows, is_computed, starts, assumed_tempering(settings))
    return phases, templates, nuisance


@one_thread()
def add_nuisance(
    nuisance: Nuisance,
    rows: NDArray[np.float64],
    shape: NDArray[np.float64],
    starts: NDArray[np.int32],
    axis: EnergyAxis,
    settings: ClassifierSettings,
) -> Nuisance:
    """Add the directions of a phase with binned spectra (M, n_bins) and the shape (n_bins,) learnt from them."""
    library = library_families(
        axis,
        starts,
        settings.beam_energy_kev,
        settings.takeoff_deg,
        Detector(resolution_ev=settings.resolution_ev),
    )
    new = build_nuisance([measured_directions(rows, shape, library, starts, axis, settings)], len(shape))
    return join_nuisances(nuisance, new)


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
