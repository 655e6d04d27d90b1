"""Net intensity of each line family in each measured pixel, by the shapes that the phase's sum has shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...spectra.physics.composition import Composition, atomic_number
from ..quantification.columns import model_columns
from ..quantification.geometry import Conditions
from ..quantification.result import Quantification

__all__ = ["Extraction", "extraction_of"]

Family = tuple[int, str]


@dataclass(frozen=True, eq=False)
class Extraction:
    """A linear estimator of net counts, F families.

    Parameters
    ----------
    families : tuple of (int, str)
    filters : (F, n_channels) float64
        Net counts of each family are ``filters @ spectrum``.
    lines : (F, n_channels) float64
        Shape of each family, of sum 1.
    shape : (n_channels,) float64
        Fitted spectrum of the phase in the channels of the fit, in parts of its whole.
    """

    families: tuple[Family, ...]
    filters: NDArray[np.float64]
    lines: NDArray[np.float64]
    shape: NDArray[np.float64]

    def counts(self, spectra: NDArray[np.generic]) -> NDArray[np.float64]:
        """Net counts (n, F) of spectra (n, channels)."""
        n = self.filters.shape[1]
        return np.asarray(spectra[:, :n], dtype=np.float64) @ self.filters.T

    def variance(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance (n, F) of the net counts of spectra of the phase with so many counts (n,)."""
        one = (self.filters**2) @ self.shape
        return np.asarray(np.maximum(totals, 1.0)[:, None] * one[None, :])


def extraction_of(found: Quantification, conditions: Conditions) -> Extraction:
    """Make the weighted least-squares estimator of a phase.

    Line families have the shapes of the phase's composition; all else of its fitted sum (continuum, tails,
    pile-up) is one more column. Channels are weighted by the fitted sum, so that few counts per channel do no harm.

    Parameters
    ----------
    found : Quantification
        Of the phase's sum.
    conditions : Conditions
    """
    fit = found.fit
    numbers = sorted({family[0] for family in fit.families})
    known = {atomic_number(e.symbol): max(e.mass_fraction, 1e-5) for e in found.elements}
    values = {z: known.get(z, 1e-3) for z in numbers} | {z: f for z, f in known.items() if z not in numbers}
    order = sorted(values)
    total = sum(values.values())
    material = Composition(tuple(order), tuple(values[z] / total for z in order))
    columns = model_columns(material, fit.axis, fit.resolution_ev, conditions)
    families = tuple((f.z, f.shell) for f in columns.families)
    lines = columns.lines / columns.counts[:, None]
    place = {family: i for i, family in enumerate(fit.families)}
    net = np.array([fit.counts[place[f]] if f in place else 0.0 for f in families])
    rest = np.maximum(fit.model - np.maximum(net, 0.0) @ lines, 0.0)
    rest /= max(float(rest.sum()), 1e-300)
    use = fit.used
    floor = 1e-3 * float(fit.model[use].mean())
    weight = 1.0 / np.maximum(fit.model[use], floor)
    x = np.vstack([lines, rest[None, :]])[:, use]
    information = (x * weight) @ x.T
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    inverse = np.linalg.pinv(information / np.outer(scale, scale), rcond=1e-8, hermitian=True)
    filters = np.zeros((len(families), len(use)))
    filters[:, use] = ((inverse / np.outer(scale, scale)) @ (x * weight))[:-1]
    shape = np.where(use, np.maximum(fit.model, 0.0), 0.0)
    return Extraction(families, filters, lines, shape / max(float(fit.model.sum()), 1e-300))
