"""Draws the pictures of the explanation with the program itself, when the site is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtr
from sphinx.application import Sphinx

from slads_bluesky.phantom import make_labels
from slads_bluesky.phantom.interaction import mixed_abundances
from slads_bluesky.sampling.deconvolution import boundary_distance

SIGMA = 2.0
"""Standard deviation of the interaction volume that is shown, pixels."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", _draw_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _draw_all(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "explanation" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mixed-spectrum.png"
    if not path.exists():
        mixed_spectrum(path)


def mixed_spectrum(path: Path) -> None:
    """What a mixed spectrum says about a boundary: abundance against distance, and samples on a map."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    curve, image = figure.subplots(1, 2)
    distance = np.linspace(-3.0 * SIGMA, 3.0 * SIGMA, 200)
    curve.plot(distance, ndtr(distance / SIGMA), color="black", label="straight boundary: α = Φ(d / σ)")
    for part, sd, name in ((0.8, 0.127, "200 counts"), (0.3, 0.04, "2,000 counts")):
        near, far = boundary_distance(np.array([part - sd, part + sd]), SIGMA)
        (line,) = curve.plot([near, far], [part, part], linewidth=4, label=name)
        curve.fill_betweenx([0.0, part], near, far, color=line.get_color(), alpha=0.15)
    curve.set(
        xlabel="distance d of the boundary, pixels", ylabel="abundance α of the phase inside", ylim=(0, 1)
    )
    curve.legend(loc="upper left", fontsize="small", frameon=False)

    truth = make_labels("pbsn", 128, 1)[40:72, 40:72]
    parts = mixed_abundances(truth, SIGMA, 2)
    image.imshow(parts[0], cmap="gray", vmin=0, vmax=1)
    image.contour(truth == 1, levels=[0.5], colors="tab:orange", linewidths=1.0)
    angle = np.linspace(0.0, 2.0 * np.pi, 60)
    for row in range(3, 32, 6):
        for column in range(3, 32, 6):
            reach = float(boundary_distance(np.array([float(parts[0, row, column])]), SIGMA)[0])
            if abs(reach) < 2.0 * SIGMA:
                x, y = column + abs(reach) * np.cos(angle), row + abs(reach) * np.sin(angle)
                image.plot(x, y, color="tab:blue", linewidth=0.8)
                image.plot(column, row, ".", color="tab:blue")
    image.set(xlim=(-0.5, 31.5), ylim=(31.5, -0.5), xticks=[], yticks=[])
    image.set_title(f"abundance (grey), true boundary, samples (σ = {SIGMA:g} px)", fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    mixed_spectrum(Path("mixed-spectrum.png"))
