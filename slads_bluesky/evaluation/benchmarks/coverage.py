"""How often the interval of the distortion held the truth, on images that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["coverage"]


def coverage(looks: Mapping[tuple[str, str], Sequence[bool]]) -> list[dict[str, Any]]:
    """Share of looks that held, of each group and of each sampler over all of its groups.

    Parameters
    ----------
    looks : mapping
        (sampler, images) to whether the interval held the truth, look by look.

    Returns
    -------
    list of dict
        ``group``, ``looks`` and ``coverage``; groups without a look are left out.
    """
    groups = {f"{name}, {images}": list(held) for (name, images), held in looks.items()}
    for name in dict.fromkeys(name for name, _ in looks):
        groups[f"{name}, all"] = [v for (own, _), held in looks.items() if own == name for v in held]
    return [
        {"group": group, "looks": len(held), "coverage": sum(held) / len(held)}
        for group, held in groups.items()
        if held
    ]
