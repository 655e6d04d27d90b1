"""Backscatter coefficient by atomic number: what the grey of a backscatter image means.

Reuter, Proc. 6th Int. Conf. X-ray Optics and Microanalysis (1972) 121, a polynomial fitted at 20 kV, which hardly
depends on the beam energy; of a compound the mean over its mass fractions (Castaing, Adv. Electron. Electron Phys.
13 (1960) 317).
"""

from __future__ import annotations

from collections.abc import Mapping

from .composition import Composition

__all__ = ["backscatter_coefficient"]


def backscatter_coefficient(composition: Composition | str | Mapping[str, float]) -> float:
    """Part of the beam's electrons that a thick specimen throws back, at normal incidence.

    Parameters
    ----------
    composition : Composition, str or mapping
        Formula, or mass fraction of each element.

    Examples
    --------
    >>> round(backscatter_coefficient("Si"), 3), round(backscatter_coefficient("Sn"), 3)
    (0.164, 0.413)
    """
    found = Composition.parse(composition)
    return sum(
        fraction * (-0.0254 + 0.016 * z - 1.86e-4 * z**2 + 8.3e-7 * z**3)
        for z, fraction in zip(found.z, found.mass_fraction, strict=True)
    )
