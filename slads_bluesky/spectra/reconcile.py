"""Measured spectra on the energy scale that is wanted, or a message that says why not."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from ..errors import DataError
from .axis import EnergyAxis
from .io.measured import MeasuredSpectra
from .rebin import rebinned, same_detector

__all__ = ["on_axis"]

logger = logging.getLogger(__name__)


def on_axis(
    measured: MeasuredSpectra, axis: EnergyAxis, what: str, *, force: bool = False, seed: int = 0
) -> MeasuredSpectra:
    """Return the spectra on this axis, rebinned with counts conserved where their own differs.

    Scales that differ as one detector's do from day to day (`rebin.same_detector`) are brought together, which is
    logged; others only with `force`.

    Parameters
    ----------
    measured : MeasuredSpectra
    axis : EnergyAxis
    what : str
        File and phase, for the message.
    force : bool
    seed : int
        Of the random placing of counts (`rebin.rebinned`); spectra that are not whole are shared by expectation.

    Raises
    ------
    DataError
        If the scales are of different detectors and `force` is not set.
    """
    if measured.axis == axis:
        return measured
    if not (force or same_detector(measured.axis, axis)):
        axis.require(measured.axis, what)
    whole = bool((measured.counts == np.round(measured.counts)).all())
    counts = rebinned(
        measured.counts, measured.axis, axis, np.random.default_rng([seed, 0x8EB1]) if whole else None
    )
    if not counts.any():
        raise DataError(f"{what}: no counts lie within the energy range of {axis.n_channels} channels")
    logger.info(
        "%s: rebinned from %.4g eV + i × %.6g eV to %.4g eV + i × %.6g eV",
        what,
        measured.axis.offset_kev * 1e3,
        measured.axis.width_kev * 1e3,
        axis.offset_kev * 1e3,
        axis.width_kev * 1e3,
    )
    return replace(measured, counts=counts, axis=axis)
