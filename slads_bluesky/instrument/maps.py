"""What a map takes from ``instrument.yml``, unless the caller says otherwise: grid, agent, image, dose, stop rule."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agent import SladsAgent
from ..agent_settings import LEAST_INTERACTION_PX, LIST_OVERHEAD_S, POINT_OVERHEAD_S, AgentSettings
from ..agents import agent_from_settings, element_target
from ..errors import ConfigError
from ..grid import ScanGrid
from ..protocols import StopRule
from ..sampling.factory import image_network_of
from ..spectra.dwell_counts import CountTarget
from .parts import Devices, MapModels
from .settings import InstrumentSettings
from .unknown import discovering_agent

__all__ = ["MapMaker"]


class MapMaker:
    """Makes what a map needs of one instrument.

    Parameters
    ----------
    settings : InstrumentSettings
    devices : Devices
    models : MapModels
    """

    def __init__(self, settings: InstrumentSettings, devices: Devices, models: MapModels) -> None:
        self.settings, self.devices, self.models = settings, devices, models
        self.beam, self.eds, self.sem = devices.beam, devices.eds, devices.sem
        self.flyer, self.bse = devices.flyer, devices.bse

    @property
    def grid(self) -> ScanGrid:
        """The grid of ``instrument.yml``."""
        return self.settings.grid.grid()

    @property
    def defaults(self) -> dict[str, Any]:
        """Fraction, seed, dwell and error of ``instrument.yml``."""
        sampler = self.settings.sampler
        dose = self.settings.dose
        return {
            "fraction": sampler.fraction, "seed": sampler.seed, "dwell_s": dose.dwell_s, "error": dose.error,
            "phases": "discover" if self.discovers("auto") else "known",
        }  # fmt: skip

    def discovers(self, phases: str = "auto") -> bool:
        """Whether a map finds its phases on the way: ``known``, ``discover``, or as ``instrument.yml`` says."""
        if phases not in ("auto", "known", "discover"):
            raise ConfigError(f"phases must be known, discover or auto, not '{phases}'")
        wanted = self.settings.classifier.phases if phases == "auto" else phases
        return wanted == "discover" or (wanted == "auto" and self.models.classifier is None)

    def make_grid(
        self,
        *,
        shape: Sequence[int] | None = None,
        step_um: float | Sequence[float] | None = None,
        centre_um: Sequence[float] | None = None,
        roi: NDArray[np.bool_] | None = None,
    ) -> ScanGrid:
        """Make a grid; what is not given is that of ``instrument.yml``. (y, x) throughout, µm."""
        usual = self.grid
        step = usual.step_um if step_um is None else np.broadcast_to(step_um, 2)
        rows, columns = usual.shape if shape is None else shape
        y, x = usual.centre_um if centre_um is None else centre_um
        return ScanGrid(
            (int(rows), int(columns)), (float(step[0]), float(step[1])), (float(y), float(x)), roi
        )

    def new_agent(
        self,
        fraction: float | None = None,
        *,
        seed: int | None = None,
        initial: float | None = None,
        stop_at: float | None = None,
        confidence: float | None = None,
        smallest_feature: int | None = None,
        minimise: str | None = None,
        phases: str = "auto",
        every_phase_over: float | None = None,
        **region: Any,
    ) -> SladsAgent:
        """Make an agent, with the arguments of `Session.make_agent`, and keep nothing for it."""
        classifier, usual, judge = self.models.classifier, self.settings.sampler, self.settings.classifier
        grid, model = self.make_grid(**region), self.models.sampler
        wanted: dict[str, Any] = {
            "sampler": usual.name,
            "fraction": usual.fraction if fraction is None else fraction,
            "seed": usual.seed if seed is None else seed,
            "initial": usual.initial if initial is None else initial,
            "stop_at": usual.stop_at if stop_at is None else stop_at,
            "confidence": usual.confidence if confidence is None else confidence,
            "smallest_feature": usual.smallest_feature if smallest_feature is None else smallest_feature,
        }
        if self.discovers(phases):
            part = judge.every_phase_over if every_phase_over is None else every_phase_over
            counts = None
            if judge.counts is not None:
                counts = (judge.first_counts or 4 * judge.counts, judge.counts)
            return discovering_agent(
                grid,
                self.eds,
                self.sem,
                model,
                most=judge.most_phases,
                part=part,
                counts=counts,
                image_network=image_network_of(usual.name),
                **wanted,
            )
        if classifier is None:
            raise ConfigError(
                "no classifier yet, so no map of known phases: let them be found (phases: discover), or take spectra "
                "with collect_spectra, train one with `slads-bluesky train classifier`, and name it as "
                "classifier.file in instrument.yml"
            )
        interaction_px = self._interaction_px(grid) if self.reads_mixtures else None
        settings = AgentSettings.for_models(
            grid,
            classifier,
            model,
            interaction_px=interaction_px,
            image_network=image_network_of(usual.name, interaction_px),
            more=element_target(usual.elements, classifier),
            **wanted,
            **self._cost(minimise),
        )
        return agent_from_settings(settings, model)

    @property
    def reads_mixtures(self) -> bool:
        """Whether spectra are read as mixtures: the interaction volume is known, and so are the phases."""
        return self.settings.sampler.interaction_um is not None and self.models.classifier is not None

    def _interaction_px(self, grid: ScanGrid) -> float | None:
        """Standard deviation of the interaction volume, pixels; None where it is too small to matter."""
        width = (self.settings.sampler.interaction_um or 0.0) / min(grid.step_um)
        return width if width >= LEAST_INTERACTION_PX else None

    def _cost(self, minimise: str | None) -> dict[str, Any]:
        """What the sampler ``joint`` minimises, and what a visit costs besides its dwell; nothing for others."""
        usual = self.settings.sampler
        wanted = usual.minimise if minimise is None else minimise
        if usual.name != "joint" or wanted is None:
            return {} if wanted is None else {"minimise": wanted}  # refused where the sampler is another
        pace = POINT_OVERHEAD_S if self.flyer is None else LIST_OVERHEAD_S
        return {"minimise": wanted, "overhead_s": pace if usual.overhead_s is None else usual.overhead_s}

    @property
    def acquisition(self) -> dict[str, Any]:
        """More arguments of `adaptive_map`: the flyer and its batch with ``acquisition: list``, else none."""
        if self.flyer is None:
            return {}
        lists = self.settings.lists
        return {"flyer": self.flyer, "batch": lists.batch, "quantum_s": lists.quantum_s}

    def map_image(
        self, image: str, *, shape: Sequence[int], step_um: float, pixel_um: float | None = None
    ) -> Any:
        """Return what `adaptive_map` takes as its image.

        Parameters
        ----------
        image : str
            Empty for none; ``bse`` to scan a frame; else the file of a frame that there is already.
        shape : (int, int)
            Rows and columns of the map.
        step_um : float
            Distance between its pixels.
        pixel_um : float, optional
            Of the frame in the file; by default it shows the field of the map, no more and no less.

        Raises
        ------
        ConfigError
            If there is no backscatter detector.
        DataError
            Naming the file, if it is no frame.
        """
        from ..images.frames import fit_frame, read_frame
        from ..plans.frame import GivenFrame

        if not image:
            return None
        if image == "bse":
            if self.bse is None:
                raise ConfigError(
                    "image: there is no backscatter detector; devices.bse of instrument.yml names one"
                )
            return self.bse
        frame = read_frame(Path(image).expanduser())
        scale = None if pixel_um is None else (step_um / pixel_um, step_um / pixel_um)
        return GivenFrame(fit_frame(frame, (int(shape[0]), int(shape[1])), scale=scale), Path(image).name)

    def prepare_map(
        self,
        *,
        dwell_s: float | None = None,
        error: float | None = None,
        run_nc: float | None = None,
        pixel_nc: float | None = None,
        phases: str | None = None,
    ) -> dict[str, Any]:
        """Return keyword arguments for `adaptive_map`, its stop rule included; what is not given is as in the file.

        Parameters
        ----------
        dwell_s : float, optional
            Live time of each spectrum, s; with an `error`, at most.
        error : float, optional
            Accepted probability of a wrong phase, at which an acquisition ends; 0: the dwell is fixed.
        run_nc, pixel_nc : float, optional
            Dose that a run and a pixel may take, nC.
        phases : {"known", "discover"}, optional
            As of the agent: a map that finds its phases has none to be sure of, and `error` is not looked at.

        Raises
        ------
        ConfigError
            If the classifier gives no posterior to stop by.
        """
        from ..plans.budget import DoseBudget
        from ..plans.suspend import beam_suspenders

        usual = self.settings.dose
        discovers = self.discovers() if phases is None else self.discovers(phases)
        dwell = usual.dwell_s if dwell_s is None else dwell_s
        most = [
            next((limit for limit in limits if limit is not None), inf)
            for limits in ((run_nc, usual.run_nc), (pixel_nc, usual.pixel_nc))
        ]  # fmt: skip
        out: dict[str, Any] = {
            "baseline": [] if self.sem is None else [self.sem],
            "dwell_s": dwell,
            "stop_rule": self._rule_without_phases(dwell)
            if discovers
            else self._stop_rule(usual.error if error is None else error, dwell),
            "max_failed_points": usual.max_failed_points,
            "budget": DoseBudget(*most),
        }
        if usual.minimum_na is not None and hasattr(getattr(self.beam, "current", None), "subscribe"):
            out["suspenders"] = beam_suspenders(self.beam, minimum_na=usual.minimum_na)
        return out

    def _rule_without_phases(self, cap_s: float) -> StopRule | None:
        """Make what ends the acquisitions of a map that finds its phases; None: the dwell is fixed."""
        counts = self.settings.classifier.counts
        return None if counts is None else CountTarget(counts, cap_s)

    def _stop_rule(self, error: float, cap_s: float) -> StopRule | None:
        """Make what ends each acquisition as soon as its phase is certain enough; None, with no error allowed."""
        from ..spectra.dwell import adaptive_dwell
        from ..spectra.dwell_mixed import mixture_dwell

        make = mixture_dwell if self.reads_mixtures else adaptive_dwell
        return make(self.models.classifier, error, cap_s)
