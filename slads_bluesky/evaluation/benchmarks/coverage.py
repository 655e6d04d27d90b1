"""How often the interval of the total distortion contained the truth, on images that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["coverage"]


def coverage(looks: Mapping[tuple[str, str], Sequence[bool]]) -> list[dict[str, Any]]:
    """Share of intervals that contained the truth, for each group and for each sampler over all of its groups.

    Parameters
    ----------
    looks : mapping
        (sampler, images) to whether each interval contained the truth.

    Returns
    -------
    list of dict
        ``group``, ``looks`` and ``coverage``; empty groups are left out.
    """
    groups = {f"{name}, {images}": list(held) for (name, images), held in looks.items()}
    for name in dict.fromkeys(name for name, _ in looks):
        groups[f"{name}, all"] = [v for (own, _), held in looks.items() if own == name for v in held]
    return [
        {"group": group, "looks": len(held), "coverage": sum(held) / len(held)}
        for group, held in groups.items()
        if held
    ]
