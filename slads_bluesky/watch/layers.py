"""What a map panel can show: one entry a layer, each from the followed map to a picture with its colours.

A further layer is one more entry in `LAYERS`; panels and page ask for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..analysis.elements.maps import ElementMaps
from ..export.colours import PHASE_COLOURS
from ..protocols import UNCLASSIFIED
from .analyst import Snapshot
from .following import FollowedMap

__all__ = ["LAYERS", "UNCLASSIFIED_COLOUR", "Layer", "Picture", "Sight", "phase_colour"]

UNCLASSIFIED_COLOUR = "#e0218a"
OUTSIDE, EMPTY, NO_VOTE = 0, 1, 2
"""Codes of a picture of labels; label l is ``l + 2``."""
_GREYS = {"light": ("#c7ced6", "#eceff1"), "dark": ("#20262e", "#4a5462")}
"""By theme: outside the region of interest, and not measured."""
ON_DARK = {"#1b2a41": "#a9bbd6"}
"""Colours of phases that a dark ground would swallow, and what stands for them there."""
LARGEST = 1024
"""Sides of a picture above this are thinned: no panel has more pixels than that."""


class Picture(NamedTuple):
    """An image with its colours."""

    image: NDArray[np.uint8] | NDArray[np.float32]
    """(rows, columns): codes, or values with NaN where there is none."""
    palette: tuple[str, ...]
    low: float
    high: float
    """Values of the palette's ends."""
    scale: str
    """What the values are; empty for a picture of labels."""
    n: int
    """Points that it rests on."""
    rgba: NDArray[np.uint8] | None = None
    """(rows, columns, 4): colours themselves, instead of `image` and `palette`."""
    choices: tuple[str, ...] = ()
    """What else the layer can show, such as each element."""
    chosen: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    """Name and colour of what `rgba` mixes."""


class Sight(NamedTuple):
    """What a layer is drawn from."""

    state: FollowedMap
    now: Snapshot | None
    theme: str
    elements: ElementMaps | None = None
    element: str = ""
    """The one to show; empty: several, over each other."""


Draw = Callable[[Sight], Picture | None]


@dataclass(frozen=True)
class Layer:
    """One kind of picture."""

    name: str
    title: str
    help: str
    draw: Draw


def phase_colour(label: int, theme: str = "light") -> str:
    """Colour of a label, the same in every picture of this program; in dark, one that shows on a dark ground."""
    if label <= UNCLASSIFIED:
        return UNCLASSIFIED_COLOUR
    colour = PHASE_COLOURS[(label - 1) % len(PHASE_COLOURS)]
    return ON_DARK.get(colour, colour) if theme == "dark" else colour


def _labels(state: FollowedMap, labels: NDArray[np.integer], theme: str, n: int) -> Picture:
    """Picture of labels: -1 where unmeasured, 0 unclassified."""
    codes = (np.asarray(labels, np.int16) + 2).astype(np.uint8)
    if state.grid.roi is not None:
        codes[~np.asarray(state.grid.roi, bool)] = OUTSIDE
    phases = tuple(phase_colour(label, theme) for label in range(1, state.n_labels + 1))
    palette = (*_GREYS[theme], UNCLASSIFIED_COLOUR, *phases)
    return Picture(_thinned(codes), palette, -0.5, len(palette) - 0.5, "", n)


def _measured(sight: Sight) -> Picture | None:
    state = sight.state
    return _labels(state, state.measured, sight.theme, state.n_measured)


def _reconstruction(sight: Sight) -> Picture | None:
    state, now, theme = sight[:3]
    if now is not None and now.n >= state.reconstructed_at:
        return _labels(state, now.reconstruction, theme, now.n)
    if state.reconstruction is not None:
        return _labels(state, state.reconstruction, theme, state.reconstructed_at)
    return None


def _probability(sight: Sight) -> Picture | None:
    state = sight.state
    return Picture(
        _thinned(state.probability),
        _palette("Cividis256"),
        0.5,
        1.0,
        "probability of the label",
        state.n_measured,
    )


def _expected_error(sight: Sight) -> Picture | None:
    now = sight.now
    if now is None or now.expected_error is None:
        return None
    error = now.expected_error
    if now.kind == "probability":
        return Picture(
            _thinned(error), _palette("Inferno256"), 0.0, min(max(float(error.max()), 0.01), 0.5),
            "probability of a wrong label", now.n,
        )  # fmt: skip
    return Picture(
        _thinned(error), _palette("Inferno256"), 0.0, max(float(error.max()), 1e-6),
        "expected reduction in distortion, pixels", now.n,
    )  # fmt: skip


def _order(sight: Sight) -> Picture | None:
    state = sight.state
    n = state.points.n
    out = np.full(state.grid.shape, np.nan, np.float32)
    out.flat[state.points.column("pixel", n)] = np.arange(1, n + 1)
    return Picture(_thinned(out), _palette("Viridis256"), 1.0, max(n, 2.0), "order of measurement", n)


OVERLAY = "overlay"


def _elements(sight: Sight) -> Picture | None:
    maps = sight.elements
    if maps is None:
        return None
    n, choices = int(maps.measured.sum()), (OVERLAY, *maps.elements)
    if sight.element in maps.elements:
        mass = 100 * np.nan_to_num(maps.mass_fraction[maps.index(sight.element)]).astype(np.float32)
        return Picture(
            _thinned(mass), _palette("Viridis256"), 0.0, max(float(mass.max()), 1e-3),
            f"{sight.element}, % by mass", n, choices=choices, chosen=sight.element,
        )  # fmt: skip
    from ..export.element_panels import composite

    mixed, legend = composite(maps)
    every = -(-max(mixed.shape[:2]) // LARGEST)
    colours = np.full((*mixed[::every, ::every].shape[:2], 4), 255, np.uint8)
    colours[..., :3] = np.clip(255 * mixed[::every, ::every], 0, 255)
    nothing = np.zeros(colours.shape[:2], np.uint8)
    return Picture(
        nothing,
        ("#000000",),
        0.0,
        1.0,
        "",
        n,
        rgba=colours,
        choices=choices,
        chosen=OVERLAY,
        legend=tuple(legend),
    )


LAYERS: dict[str, Layer] = {
    layer.name: layer
    for layer in (
        Layer("measured", "Measured", "Measured points by phase", _measured),
        Layer("reconstruction", "Map", "The whole map, as the sampler infers it", _reconstruction),
        Layer("probability", "Probability", "Probability of each measured point's phase", _probability),
        Layer("error", "Error", "Where the map is still uncertain", _expected_error),
        Layer("order", "Order", "When each point was measured", _order),
        Layer(
            "elements",
            "Elements",
            "Elements by mass, from the phases' spectra and their variation",
            _elements,
        ),
    )
}
"""By name, in the order of the page."""


def _palette(name: str) -> tuple[str, ...]:
    from bokeh import palettes

    return tuple(getattr(palettes, name))


def _thinned(image: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8] | NDArray[np.float32]:
    from ..callbacks.live.figure import thinned

    return image if max(image.shape) <= LARGEST else thinned(image, OUTSIDE)
