"""A frame beside a growing map: registered, validated and turned into evidence, as the measured pixels allow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...images.frames import check_frame, grey_planes
from ...images.registration import Displacement, label_displacement
from ..masks import check_allowed
from .evidence import AlignedPlanes, ImageEvidence, Term, align, make_evidence
from .mask import guided_pixels
from .selection import NETWORK, Predict, choose_terms

__all__ = ["EXPONENT", "GuideState", "ImageGuide"]

Seeing = Callable[[AlignedPlanes], Predict]
"""From planes as they lie under the map to what a network says that sees them."""

HALF_CERTAIN = 4.0
"""Least gain of a displacement in half of the labels; see `images.registration.CERTAIN`."""
HALVES_AGREE = 2.0
"""Largest difference of their displacements, pixels along each axis."""
EXPONENT = 0.5
"""Of the distance in the score of a pick where an image is used: what is left to find is small then."""


class ImageGuide:
    """The planes of one frame.

    Parameters
    ----------
    frame : (rows, columns) array
        Grey levels, on the grid of the map.
    shape : (int, int)
        Of the map.
    seed : int
        Decides, with the number of labels, which of them a validation hides.

    Raises
    ------
    DataError
        If the frame is not usable, or of another shape.
    """

    def __init__(self, frame: NDArray[np.float32], shape: tuple[int, int], seed: int) -> None:
        self.planes = grey_planes(check_frame(frame, shape))
        self._seed = seed

    def initial_pixels(self, fraction: float, allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
        """First pixels of the map, flat; see `mask.guided_pixels`."""
        plane = self.planes["median"]
        mask = check_allowed((plane.shape[0], plane.shape[1]), allowed)
        return guided_pixels(plane, fraction, seed=self._seed, allowed=mask)

    def validated(
        self, predict: Predict, measured: NDArray[np.int16], seeing: Seeing | None = None
    ) -> GuideState:
        """Register the frame with the labels and decide by hold-out validation how it is used.

        Parameters
        ----------
        predict : callable
            What the labels alone say; see `selection.Predict`.
        measured : (rows, columns) int16
            Labels, 0 where unclassified, -1 where unmeasured.
        seeing : callable, optional
            Returns, for planes as they lie under the map, what a network says that sees them.
        """
        pixels = np.flatnonzero(measured.reshape(-1) > 0)
        labels = measured.reshape(-1)[pixels].astype(np.int64)
        known: dict[bytes, tuple[NDArray[np.uint8], NDArray[np.float32]]] = {}

        def once(
            seen: NDArray[np.int16], hidden: NDArray[np.int64]
        ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
            key = hidden.tobytes()
            if key not in known:
                known[key] = predict(seen, hidden)
            return known[key]

        still = Displacement(0.0, 0.0, 0.0)
        found = self._displacement(pixels, labels)
        best: GuideState | None = None
        # a displacement that the labels suggest must predict hidden ones better, too
        for where in (still, found) if found != still else (still,):
            aligned = align(self.planes, pixels, labels, where)
            rng = np.random.default_rng([self._seed, pixels.size, 0x1A])
            state = GuideState(aligned, *choose_terms(once, measured, aligned, rng))
            if best is None or state.gain > best.gain:
                best = state
        assert best is not None
        if seeing is None or not best.used:
            return best
        rng = np.random.default_rng([self._seed, pixels.size, 0x1A])
        network = seeing(best.aligned)
        return GuideState(best.aligned, *choose_terms(once, measured, best.aligned, rng, network))

    def _displacement(self, pixels: NDArray[np.int64], labels: NDArray[np.int64]) -> Displacement:
        """Displacement of the frame that all labels and two halves of them agree on; none if they do not.

        The best of many displacements explains some of the grey by chance, but not the same one in both halves.
        """
        plane = self.planes["smooth"]
        found = label_displacement(plane, pixels, labels)
        order = np.random.default_rng([self._seed, pixels.size, 0x2A]).permutation(pixels.size)
        for half in (order[::2], order[1::2]):
            other = label_displacement(plane, pixels[half], labels[half], certain=HALF_CERTAIN)
            if max(abs(other.y - found.y), abs(other.x - found.x)) > HALVES_AGREE:
                return Displacement(0.0, 0.0, 0.0)
        return found


class GuideState:
    """How a frame is used, by one validation."""

    def __init__(self, aligned: AlignedPlanes, terms: tuple[Term, ...], gain: float) -> None:
        self.terms = terms
        """Planes and weights; empty where the frame is not used."""
        self.gain = gain
        """Mean gain in the logarithm of the probability of a hidden label."""
        self.displacement: Displacement = aligned.displacement
        """Between the frame and the map."""
        self.aligned = aligned
        """The frame's planes as they lie under the map."""

    @property
    def used(self) -> bool:
        """Whether the frame is used."""
        return bool(self.terms)

    @property
    def network_weight(self) -> float:
        """Weight of a network that sees the frame, against that of the labels alone; 0 … 1."""
        return sum(term.weight for term in self.terms if term.plane == NETWORK)

    def evidence(self, measured: NDArray[np.int16]) -> ImageEvidence | None:
        """What the frame says, learnt from all labels of `measured`; None where it is not used."""
        pixels = np.flatnonzero(measured.reshape(-1) > 0)
        planes = [term for term in self.terms if term.plane != NETWORK]
        if not planes or pixels.size == 0:
            return None
        return make_evidence(self.aligned, planes, pixels, measured.reshape(-1)[pixels].astype(np.int64))
