"""What is known of a phase that a map found, in words: composition, and what it may be by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["candidates_in_words", "composition_in_words", "phase_in_words"]

ELEMENTS_SHOWN = 4


def composition_in_words(about: Mapping[str, Any]) -> str:
    """Return the composition of a phase that was found, the most abundant elements first.

    Parameters
    ----------
    about : mapping
        Of the phase, as `DiscoveringAgent.phases_data` records it: ``composition`` holds for each element its mass
        fraction and the standard deviation of that.

    Returns
    -------
    str
        Empty while there is none.

    Examples
    --------
    >>> composition_in_words({"composition": {"Pb": [0.408, 0.04], "Sn": [0.592, 0.04]}})
    'Sn 59 ± 4 %, Pb 41 ± 4 % by mass'
    """
    elements = sorted((about.get("composition") or {}).items(), key=lambda item: -item[1][0])[:ELEMENTS_SHOWN]
    parts = [f"{element} {100 * mass:.0f} ± {100 * sd:.0f} %" for element, (mass, sd) in elements]
    return ", ".join(parts) + " by mass" if parts else ""


def candidates_in_words(about: Mapping[str, Any]) -> str:
    """Return what a phase that was found may be, with probabilities, or why nobody knows.

    Parameters
    ----------
    about : mapping
        Of the phase: ``candidates``, each with ``name`` and ``probability``, or ``why_not``.

    Examples
    --------
    >>> table = [{"name": "quartz", "probability": 0.9}, {"name": "", "probability": 0.1}]
    >>> candidates_in_words({"candidates": table})
    'quartz 90 %, none of the table 10 %'
    """
    found = about.get("candidates") or []
    parts = [f"{one['name'] or 'none of the table'} {100 * one['probability']:.0f} %" for one in found]
    return ", ".join(parts) or str(about.get("why_not", ""))


def phase_in_words(about: Mapping[str, Any]) -> str:
    """Return counts, composition and candidates of a phase that was found, as far as they are known.

    Parameters
    ----------
    about : mapping
        See `composition_in_words`; ``counts`` of its spectra.

    Examples
    --------
    >>> phase_in_words({"counts": 893595, "composition": {"Sn": [0.97, 0.02]}})
    '893595 counts · Sn 97 ± 2 % by mass'
    """
    counts = f"{about['counts']} counts" if "counts" in about else ""
    return " · ".join(filter(None, (counts, composition_in_words(about), candidates_in_words(about))))
