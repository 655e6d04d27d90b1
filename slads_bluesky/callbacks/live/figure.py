"""The picture of a growing map: six panels, of which only what changed is drawn again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ...export.colours import PHASE_COLOURS
from ...export.element_panels import COMPOSITE_COLOURS
from ...protocols import UNCLASSIFIED, UNMEASURED
from .state import MapState

__all__ = ["OUTSIDE", "MapFigure", "new_window", "thinned"]

OUTSIDE = -2
"""In the panels of labels: a pixel outside the region of interest."""
LARGEST = 512
"""Sides of a map above this are thinned: a panel has no more pixels than that."""
_GREY = {OUTSIDE: "#9aa0a6", UNMEASURED: "#eceff1", UNCLASSIFIED: "#e0218a"}
SIZE = (13.0, 7.4)


def thinned(image: NDArray[Any], empty: Any) -> NDArray[Any]:
    """Reduce an image to at most 512 pixels a side, each the largest of its block, so that no sample is lost.

    Parameters
    ----------
    image : (rows, columns) array
    empty : scalar
        Stands for nothing, in an image of floats NaN.

    Returns
    -------
    array
        The image itself if it is small enough.
    """
    step = math.ceil(max(image.shape) / LARGEST)
    if step == 1:
        return image
    lowest = -np.inf if image.dtype.kind == "f" else empty
    filled = np.where(np.isnan(image), lowest, image) if image.dtype.kind == "f" else image
    rows, columns = (-(-n // step) * step for n in image.shape)
    padded = np.full((rows, columns), lowest, filled.dtype)
    padded[: image.shape[0], : image.shape[1]] = filled
    out: NDArray[Any] = padded.reshape(rows // step, step, columns // step, step).max(axis=(1, 3))
    return np.where(np.isinf(out), np.float32(np.nan), out) if image.dtype.kind == "f" else out


class MapFigure:
    """Panels of a map: measured, reconstruction, stop curve; ERD, probability, newest spectrum.

    Parameters
    ----------
    figure : matplotlib.figure.Figure, optional
        Where to draw; what is on it is removed. By default one of its own, without a window.
    templates : (L, channels) array, optional
        Expected shape of each phase's spectrum; by default the mean of the map's own spectra.
    """

    def __init__(self, figure: Figure | None = None, templates: NDArray[np.float64] | None = None) -> None:
        self.figure = figure if figure is not None else _plain_figure()
        self._templates = templates
        self._background: Any = None
        self._state: MapState | None = None
        self._n_labels = 0
        self._has_image = False
        self._limits: dict[str, float] = {}
        self.figure.canvas.mpl_connect("draw_event", self._drawn)

    def show(self, state: MapState) -> None:
        """Draw a map as it stands."""
        changed = state is not self._state or state.n_labels != self._n_labels
        if changed or (state.image is not None) != self._has_image:
            self._lay_out(state)
        self._update(state)
        canvas: Any = self.figure.canvas
        if self._background is None or not canvas.supports_blit:
            canvas.draw()
        else:
            canvas.restore_region(self._background)
            self._draw_moving()
        if canvas.manager is not None:  # a window
            canvas.blit(self.figure.bbox)
            _redraw(canvas)

    def save(self, path: Any, **options: Any) -> None:
        """Write the picture into a file of a type that matplotlib writes."""
        self.figure.savefig(path, **options)

    def _drawn(self, _: Any) -> None:
        """Keep what was drawn as the background of the next pictures."""
        canvas: Any = self.figure.canvas
        if self._state is None or canvas.is_saving() or not canvas.supports_blit:
            self._background = None
            return
        self._background = canvas.copy_from_bbox(self.figure.bbox)
        self._draw_moving()

    def _draw_moving(self) -> None:
        for artist in self._moving:
            artist.axes.draw_artist(artist)

    # ---- once a map

    def _lay_out(self, state: MapState) -> None:
        figure = self.figure
        figure.clear()
        # places by hand: a layout engine takes longer than all the drawing
        places = {"left": 0.045, "right": 0.985, "top": 0.9, "bottom": 0.115, "wspace": 0.3, "hspace": 0.36}
        (measured, rebuilt, curve), (erd, probability, spectrum) = figure.subplots(2, 3, gridspec_kw=places)
        self.axes = {
            "measured": measured,
            "reconstruction": rebuilt,
            "curve": curve,
            "erd": erd,
            "probability": probability,
            "spectrum": spectrum,
        }
        self._state, self._n_labels, self._background, self._limits = state, state.n_labels, None, {}
        norm, colours = _label_colours(state.n_labels)
        blank = np.full((1, 1), UNMEASURED)
        above = colours
        self._has_image = state.image is not None
        if state.image is not None:
            # the image that guides the map, seen where nothing is measured
            low, high = (float(v) for v in np.percentile(state.image, [1, 99]))
            shade = Normalize(low, max(high, low + 1e-9))
            self._image(state, "measured", thinned(state.image, np.nan), cmap="gray", norm=shade)
            above = _see_through(colours, float(norm(UNMEASURED)))
        self.images = {
            "measured": self._image(state, "measured", blank, cmap=above, norm=norm),
            "reconstruction": self._image(state, "reconstruction", blank, cmap=colours, norm=norm),
            "erd": self._image(
                state, "erd", blank * np.nan, cmap=_with_gaps("magma"), norm=Normalize(0.0, 1.0)
            ),
            "probability": self._image(
                state, "probability", blank * np.nan, cmap=_with_gaps("viridis"), norm=Normalize(0, 1)
            ),
        }
        for name in ("erd",) if state.elements is not None else ("erd", "probability"):
            mappable = ScalarMappable(self.images[name].norm, self.images[name].cmap)
            figure.colorbar(mappable, ax=self.axes[name], fraction=0.046, pad=0.03)
        erd.set_title("Expected reduction in distortion, pixels")
        probability.set_title("Probability of the label")
        if state.elements is not None:
            self.images["elements"] = self._image(state, "probability", np.zeros((1, 1, 3)))
            probability.set_title("Elements, counts/s; darker where inferred")
            colours_of = zip(state.elements.symbols, COMPOSITE_COLOURS, strict=False)
            probability.legend(
                handles=[Patch(facecolor=colour, label=symbol) for symbol, colour in colours_of],
                loc="upper right", fontsize="small", framealpha=0.8,
            )  # fmt: skip
        self._texts = {
            name: axes.text(0.5, 1.025, "", transform=axes.transAxes, ha="center", fontsize="large")
            for name, axes in self.axes.items()
            if name in ("measured", "reconstruction", "spectrum")
        }
        self._texts["status"] = measured.text(
            0.01, 0.992, "", transform=figure.transFigure, va="top", fontsize="large", clip_on=False
        )
        self._lay_out_lines(state, curve, spectrum)
        self._moving = [*self.images.values(), *self.lines.values(), *self._texts.values()]
        for artist in self._moving:
            artist.set_animated(True)
        handles = [
            Patch(facecolor=colours(norm(i)), label=state.phase(i)) for i in range(1, state.n_labels + 1)
        ]
        handles += [Patch(facecolor=_GREY[UNCLASSIFIED], label="unclassified")]
        if state.grid.roi is not None:
            handles.append(Patch(facecolor=_GREY[OUTSIDE], label="outside the region"))
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False)

    def _image(self, state: MapState, name: str, blank: NDArray[Any], **how: Any) -> Any:
        """An image in µm, the first row on top, pixels as wide and high as they are."""
        (y0, y1), (x0, x1) = state.grid.extents_um
        dy, dx = state.grid.step_um
        step = math.ceil(max(state.grid.shape) / LARGEST)
        rows, columns = (-(-n // step) * step for n in state.grid.shape)
        left, top = x0 - dx / 2, y0 - dy / 2
        axes = self.axes[name]
        image = axes.imshow(
            blank, extent=(left, left + columns * dx, top + rows * dy, top), interpolation="nearest", **how
        )
        axes.set_xlim(left, x1 + dx / 2)
        axes.set_ylim(y1 + dy / 2, top)
        axes.locator_params(nbins=4)
        axes.set_xlabel("x, µm")
        if name in ("measured", "erd"):
            axes.set_ylabel("y, µm")
        return image

    def _lay_out_lines(self, state: MapState, curve: Any, spectrum: Any) -> None:
        self.lines = {
            "curve": curve.plot([], [], "o-", color="#1b2a41", markersize=3)[0],
            "template": spectrum.plot([], [], color="#d1495b", lw=2.5, alpha=0.6)[0],
            "spectrum": spectrum.plot([], [], color="#1b2a41", lw=0.8)[0],
        }
        self._floor = 0.1 / state.grid.n_pixels
        curve.set_yscale("log")
        curve.set_ylim(self._floor, 1.0)
        curve.minorticks_off()
        curve.locator_params(axis="x", nbins=5)
        curve.set_title("Estimated distortion")
        curve.set_xlabel("pixels measured")
        curve.grid(alpha=0.3)
        self._widest = state.n_wanted or state.grid.n_pixels
        curve.set_xlim(0, self._widest * 1.02)
        if state.n_wanted is not None:
            curve.axvline(state.n_wanted, color="#9aa0a6", ls="--", label="wanted")
        if state.stop_at is not None:
            curve.axhline(state.stop_at, color="#d1495b", ls="--", label="stops")
        spectrum.set_xlabel("energy, keV" if state.energy_kev else "channel")
        spectrum.set_ylabel("counts")
        spectrum.locator_params(nbins=5)

    # ---- every time

    def _update(self, state: MapState) -> None:
        roi = state.grid.roi
        seen = state.measured
        rebuilt = seen if state.reconstruction is None else np.where(seen > 0, seen, state.reconstruction)
        for name, labels in (("measured", seen), ("reconstruction", rebuilt)):
            shown = labels if roi is None else np.where(roi, labels, OUTSIDE)
            self.images[name].set_data(thinned(shown, OUTSIDE))
        self.images["erd"].set_data(thinned(state.erd, np.nan))
        self.images["probability"].set_data(thinned(state.probability, np.nan))
        if state.elements is not None:
            self.images["elements"].set_data(state.elements.picture(state.reconstruction))
        largest = float(np.nanmax(state.erd, initial=0.0))
        self._limit("erd", largest, lambda top: self.images["erd"].set_clim(0.0, top))
        self._update_curve(state)
        self._update_spectrum(state)
        n, total = state.n_measured, state.grid.n_pixels
        self._texts["measured"].set_text(f"Measured: {n} of {total}")
        made = "none yet" if state.reconstruction is None else f"of {state.reconstructed_at} pixels"
        self._texts["reconstruction"].set_text(f"Reconstruction {made}")
        self._texts["status"].set_text(_status(state))

    def _limit(self, what: str, largest: float, change: Any) -> None:
        """Change an axis only when it must: everything is drawn again then."""
        limit = self._limits.get(what, 0.0)
        if largest > 0 and not limit / 8 <= largest <= limit:
            self._limits[what] = 2.0 ** math.ceil(math.log2(largest))
            change(self._limits[what])
            self._background = None

    def _update_curve(self, state: MapState) -> None:
        points = list(state.curve)
        self.lines["curve"].set_data(
            [n for n, _ in points], [max(distortion, self._floor) for _, distortion in points]
        )
        if state.n_measured > self._widest * 1.02:
            self._widest = min(2 * self._widest, state.grid.n_pixels)
            self.axes["curve"].set_xlim(0, self._widest * 1.02)
            self._background = None

    def _update_spectrum(self, state: MapState) -> None:
        newest = state.newest
        if newest is None or newest.spectrum is None:
            return
        counts = np.asarray(newest.spectrum, np.float64)
        offset, width = state.energy_kev or (0.0, 1.0)
        energies = offset + width * np.arange(counts.size)
        self.lines["spectrum"].set_data(energies, counts)
        template, source = self._template(state, newest.label, counts)
        self.lines["template"].set_data(
            energies if template is not None else [], [] if template is None else template
        )
        row, column = divmod(newest.pixel, state.grid.shape[1])
        self._texts["spectrum"].set_text(
            f"Row {row}, column {column}: {state.phase(newest.label)}, {newest.verdict}"
            + (f", p = {newest.probability:.3f}" if math.isfinite(newest.probability) else "")
            + (f"\nred: {source}" if source else "")
        )
        if "spectrum x" not in self._limits:
            self._limits["spectrum x"] = 1.0
            self.axes["spectrum"].set_xlim(energies[0], energies[-1])
            self._background = None
        axes = self.axes["spectrum"]
        self._limit("spectrum", 1.05 * float(counts.max(initial=0.0)), lambda top: axes.set_ylim(0, top))

    def _template(self, state: MapState, label: int, counts: NDArray[Any]) -> tuple[NDArray[Any] | None, str]:
        """The phase's template, scaled to the spectrum's counts."""
        given = self._templates
        if given is not None and 1 <= label <= len(given) and given.shape[1] == counts.size:
            return given[label - 1] * counts.sum() / given[
                label - 1
            ].sum(), f"template of {state.phase(label)}"
        mean = state.mean_spectrum(label)
        if mean is None or not mean[0].sum() > 0:
            return None, ""
        return mean[0] * counts.sum() / mean[0].sum(), f"mean of {mean[1]} spectra of {state.phase(label)}"


def new_window() -> Figure:
    """Open a window by matplotlib's interactive backend; in the main thread only."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=SIZE)
    figure.show()
    return figure


def _redraw(canvas: Any) -> None:
    """Show what was blitted, and process no other events.

    ``canvas.flush_events()`` would: called from a timer inside IPython's input hook, it takes the event that a key
    was pressed, which the prompt then never gets. Tk shows a changed picture when it is idle; other toolkits repaint
    by themselves.
    """
    if canvas.required_interactive_framework == "tk":
        canvas.get_tk_widget().update_idletasks()


def _plain_figure() -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = Figure(figsize=SIZE)
    FigureCanvasAgg(figure)
    return figure


def _label_colours(n_labels: int) -> tuple[BoundaryNorm, ListedColormap]:
    phases = [PHASE_COLOURS[i % len(PHASE_COLOURS)] for i in range(n_labels)]
    edges = np.arange(OUTSIDE, n_labels + 2) - 0.5
    return BoundaryNorm(edges, n_labels + 3), ListedColormap([*_GREY.values(), *phases])


def _with_gaps(name: str) -> Any:
    import matplotlib

    return matplotlib.colormaps[name].with_extremes(bad=_GREY[UNMEASURED])


def _status(state: MapState) -> str:
    start = state.start_doc
    if not state.uid:
        return "waiting for a map"
    parts = [f"run {state.uid[:8]}"]
    if start.get("scan_id") is not None:
        parts[0] += f", scan {start['scan_id']}"
    if start.get("sample"):
        parts.append(str(start["sample"]))
    parts.append(f"{state.n_measured / state.grid.n_pixels:.2%} measured")
    if state.curve:
        parts.append(f"distortion ≈ {state.curve[-1][1]:.4f} at {state.curve[-1][0]} pixels")
    if state.n_failed:
        parts.append(f"{state.n_failed} points failed")
    if state.stop_doc:
        parts.append(f"{state.stop_doc.get('exit_status')}: {state.stop_doc.get('reason') or 'ended'}")
    return "   ·   ".join(parts)


def _see_through(colours: ListedColormap, index: float) -> ListedColormap:
    """Return a colour map with one of its colours transparent."""
    table = np.array(colours(np.arange(colours.N)))
    table[int(index), 3] = 0.0
    return ListedColormap(table)
