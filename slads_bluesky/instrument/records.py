"""Earlier runs, at the prompt: loaded, verified, replayed, resumed, exported as training files."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agent import SladsAgent
from ..discovering_agent import UNNAMED
from ..errors import RecordError
from .parts import MapModels

if TYPE_CHECKING:
    from ..analysis.run_data import RunData
    from ..record.runs import RecordedRun
    from ..record.verify import Verification

__all__ = ["Records"]

_log = logging.getLogger(__name__)


class Records:
    """The runs in a record, together with the models of a session.

    Wherever a run is asked for: a uid or its beginning, a scan_id, or -1 for the latest run of this session (of the
    record, before the session's first); -2 is the run before that one on record, whose ever it is.

    Parameters
    ----------
    directory : path
        Of the record.
    models : MapModels
    shown : callable
        Document callback that a replayed run is shown to.
    own : sequence of str
        Uids of the session's runs, the newest last; it may grow.
    """

    def __init__(
        self,
        directory: Path,
        models: MapModels,
        shown: Callable[[str, Any], Any],
        own: Sequence[str] = (),
    ) -> None:
        self._directory, self._models, self._shown, self._own = directory, models, shown, own

    def resumed_agent(self, run: str | int) -> tuple[SladsAgent, dict[str, Any], dict[str, Any]]:
        """Make the agent of an interrupted map, in the state of its last event.

        Parameters
        ----------
        run : str or int
            A uid or its beginning, a scan_id, or -1 for the latest run.

        Returns
        -------
        SladsAgent
            Knows all that was measured.
        dict
            For the start document of the new run: which run it resumes, its sample and operator.
        dict
            The run's dwell and error, for `prepare_map`.

        Raises
        ------
        RecordError
            If there is no such run, it is being taken, is complete, or had another classifier than this session.
        """
        from ..record.journal.writing import is_being_taken
        from ..record.resume import find_sampler_model, rebuild_agent

        chain, data = self._map(run)
        if is_being_taken(chain[-1].source):
            raise RecordError(f"run {data.uid[:8]} is still being taken by another process")
        start, classifier = data.start, self._models.classifier
        had = start.get("model_hashes", {}).get("classifier")
        if had != UNNAMED and (classifier is None or had != classifier.sha256):
            raise RecordError(
                f"run {data.uid[:8]} had the classifier {str(had)[:12]}, this session has "
                f"{classifier.sha256[:12] if classifier else 'none'}"
            )
        model = self._models.sampler
        if model is None or start["model_hashes"].get("sampler") != model.sha256:
            model = find_sampler_model(start, self._directory / "models")
        agent = rebuild_agent(start, model)
        data.teach(agent)
        if agent.should_stop():
            raise RecordError(f"run {data.uid[:8]} is complete: {agent.stop_reason}")
        kept: dict[str, Any] = {"resumes": data.uid}
        kept.update((key, start[key]) for key in ("sample", "operator") if key in start)
        arguments, rule = start.get("plan_args", {}), start.get("sequential") or {}
        return agent, kept, {"dwell_s": arguments.get("dwell_s"), "error": rule.get("error", 0.0)}

    def run(self, run: str | int = -1) -> RecordedRun:
        """Find one run."""
        from ..record.runs import find_run, list_runs

        key = str(run)
        if self._own and re.fullmatch(r"-[1-9]\d*", key):
            runs = list_runs(self._where)
            newest = next((i for i, found in enumerate(runs) if found.uid == self._own[-1]), len(runs) - 1)
            if newest + 1 + int(key) < 0:
                raise RecordError(f"{newest + 1} runs up to this session's newest, none is number {key}")
            return runs[newest + 1 + int(key)]
        return find_run(key, self._where)

    def load(self, run: str | int = -1) -> RunData:
        """Load a map as arrays: itself and the runs that it resumes; `run` as in `resumed_agent`."""
        return self._map(run, spectra=True)[1]

    def verify(self, run: str | int = -1) -> Verification:
        """Classify and decide again all that a run recorded, and compare; `run` as in `resumed_agent`.

        The classifier and the sampler of the session are taken; that they are not those of the run is a
        RecordError.
        """
        from ..record.resume import rebuild_agent
        from ..record.verify import verify

        data = self.load(run)
        ours = {"sampler": self._models.sampler, "classifier": self._models.classifier}
        for what, wanted in data.start.get("model_hashes", {}).items():
            have = getattr(ours.get(what), "sha256", "none")
            if wanted != have and wanted != UNNAMED:
                raise RecordError(
                    f"run {data.uid[:8]} had the {what} {wanted[:12]}, this session has {have[:12]}; "
                    f"`slads-bluesky replay {data.uid[:8]} --verify` finds the run's own"
                )
        return verify(data, rebuild_agent(data.start, self._models.sampler), self._models.classifier)

    def replay(self, run: str | int = -1, speed: float | None = None) -> int:
        """Show a run again as it was shown when it was taken; `speed` times as fast as it came, None: at once.

        Returns
        -------
        int
            Documents shown.
        """
        from ..record.replay import replay

        return replay(self.run(run).documents(), [self._shown], speed)

    def save_phases(self, directory: str | Path, runs: Sequence[str | int] | None = None) -> Path:
        """Write what ``collect_spectra`` took as files for ``slads-bluesky train classifier --phases``.

        Parameters
        ----------
        directory : path
            For one file a spectrum, and ``phases.yml``.
        runs : sequence of str or int, optional
            As in `resumed_agent`; by default all runs of ``collect_spectra`` on record.

        Returns
        -------
        Path
            Of ``phases.yml``. Spectra that look like another phase than their own are named by a warning.
        """
        from ..record.runs import list_runs
        from .collected import collected_spectra, flagged_spectra, write_phases

        chosen = list_runs(self._where) if runs is None else [self.run(run) for run in runs]
        collected = collected_spectra([run for run in chosen if run.exit_status == "success"])
        for text in flagged_spectra(collected.spectra):
            _log.warning("%s", text)
        return write_phases(collected, Path(directory).expanduser())

    def _map(self, run: str | int, spectra: bool = False) -> tuple[list[Any], RunData]:
        from ..agents import looks_at_spectra
        from ..analysis.load import load_map
        from ..record.runs import map_runs

        chain = map_runs(self.run(run), self._where)
        wanted = spectra or looks_at_spectra(chain[0].start.get("agent") or {})
        return chain, load_map([one.documents for one in chain], spectra=wanted)

    @property
    def _where(self) -> str:
        return str(self._directory)
