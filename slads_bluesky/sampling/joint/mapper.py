"""The evidence network at work: log-likelihoods of all pixels to what lies around says of each.

Maps of any size are cut into tiles whose margins exceed the cap on distances, so that memory stays bounded.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..learned.inference import Precision, resolve_precision
from ..learned.network import MULTIPLE, LabelNet
from .evidence import one_against_rest_ratio
from .model import JointModel
from .planes import evidence_planes, strength
from .reference import JointPosterior, combine

__all__ = ["EvidenceMapper"]

_TILE, _MARGIN = 512, 112


class EvidenceMapper:
    """Maps evidence to a posterior with a model's network.

    Parameters
    ----------
    model : JointModel
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the network; see `learned.inference.NetworkMapper`.

    Examples
    --------
    Two halves of a map, seen at one pixel in sixteen:

    >>> import numpy as np
    >>> from slads_bluesky.sampling.joint.model import shipped_joint_model
    >>> evidence = np.zeros((32, 32, 2))
    >>> evidence[::4, :16:4, 1] = evidence[::4, 16::4, 0] = -8.0
    >>> found = EvidenceMapper(shipped_joint_model(), "float32")(evidence)
    >>> bool((found.labels[:, :12] == 1).all()), bool((found.labels[:, 20:] == 2).all())
    (True, True)
    """

    def __init__(self, model: JointModel, precision: Precision = "auto") -> None:
        self.model = model
        self.precision = resolve_precision(precision)
        self._dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        net = LabelNet(model.widths)
        net.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in model.weights.items()})
        self._net = net.to(dtype=self._dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def __call__(self, log_likelihood: NDArray[np.floating]) -> JointPosterior:
        """Return the posterior of every pixel.

        Parameters
        ----------
        log_likelihood : (rows, columns, L) float array
            0 where nothing was measured.
        """
        prior = self.log_prior(log_likelihood)
        return JointPosterior(combine(prior, log_likelihood), np.nan, np.nan)

    def log_prior(self, log_likelihood: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return what the network adds to the evidence of each pixel, (rows, columns, L), up to a constant."""
        rows, columns, n = log_likelihood.shape
        out = np.zeros((rows, columns, n), np.float32)
        if n == 1:
            return out
        step_r = _TILE if rows > _TILE + _MARGIN else rows
        step_c = _TILE if columns > _TILE + _MARGIN else columns
        for top in range(0, rows, step_r):
            for left in range(0, columns, step_c):
                bottom, right = min(rows, top + step_r), min(columns, left + step_c)
                first_r, first_c = max(0, top - _MARGIN), max(0, left - _MARGIN)
                window = log_likelihood[first_r : bottom + _MARGIN, first_c : right + _MARGIN]
                inner = np.s_[top - first_r : bottom - first_r, left - first_c : right - first_c]
                out[top:bottom, left:right] = self._window(window)[inner]
        return out

    def _window(self, evidence: NDArray[np.floating]) -> NDArray[np.float32]:
        rows, columns, n = evidence.shape
        height, width = (-(-size // MULTIPLE) * MULTIPLE for size in (rows, columns))
        logits = np.zeros((rows, columns, n), np.float32)
        s = np.zeros((height, width), np.float32)
        for phase in range(1 if n == 2 else n):
            s[:rows, :columns] = strength(one_against_rest_ratio(evidence, phase))
            planes = torch.from_numpy(evidence_planes(s)[None]).to(dtype=self._dtype)
            with torch.inference_mode():
                found = self._net(planes.to(memory_format=torch.channels_last))
            logits[..., phase] = found[0, 0].float().numpy()[:rows, :columns]
        if n > 2:  # one against the rest each: their logarithms of probabilities
            logits = -np.logaddexp(np.float32(0.0), -logits)
        return np.asarray(logits, np.float32)
