"""All readers against changed inputs, each in processes that may crash or hang."""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...errors import ConfigError, InstrumentError
from ...progress import Progress, no_progress
from ..figures import Figure, at_least, equal, measured
from .readers import READERS, Reader
from .worker import HANG_S

__all__ = ["BAD", "fuzz_figures", "measure_fuzz"]

BAD = ("traceback", "several lines", "unnamed", "memory", "hang", "crash")
"""Outcomes that no input may have."""
START_S = 60.0
STARVED = 6
"""So often a worker may be silent that gets no processor time; one that waits for something is given up then."""


def measure_fuzz(
    names: Sequence[str] | None,
    minutes: float,
    *,
    seed: int = 0,
    keep: Path | None = None,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Give every reader changed inputs for some time.

    Parameters
    ----------
    names : sequence of str, optional
        Words in the names of `READERS`; all without them.
    minutes : float
        For each reader.
    seed : int
        Of the changes.
    keep : Path, optional
        Folder for the first input of each kind of finding.
    progress : callable, optional
        Called with the reader and the fraction of them that is done.

    Returns
    -------
    list of dict
        For each reader ``inputs``, the number of each outcome, and ``findings``: outcome, what, where, how often.

    Raises
    ------
    ConfigError
        Naming a word that fits no reader.
    """
    for name in names or ():
        if not any(name.casefold() in reader.name.casefold() for reader in READERS):
            known = ", ".join(reader.name for reader in READERS)
            raise ConfigError(f"no reader is named like '{name}'; known: {known}")
    chosen = [
        reader
        for reader in READERS
        if names is None or any(name.casefold() in reader.name.casefold() for name in names)
    ]
    out = []
    for i, reader in enumerate(chosen):
        progress(reader.name, i / len(chosen))
        out.append(_fuzz(reader, 60 * minutes, seed, keep))
    return out


def _fuzz(reader: Reader, seconds: float, seed: int, keep: Path | None) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    kinds: dict[tuple[str, str, str], dict[str, Any]] = {}
    left, run = seconds, 0
    while left > 0 and run < 20:
        with tempfile.TemporaryDirectory(prefix="slads-fuzz-") as scratch:
            took = _one_process(reader, Path(scratch), seed + 1000 * run, left, counts, kinds)
        left -= took
        run += 1
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for i, kind in enumerate(kinds.values()):
            name = f"{reader.name.replace(' ', '-')}-{i}-{kind['outcome'].replace(' ', '-')}"
            (keep / f"{name}-{Path(reader.file).name}").write_bytes(bytes.fromhex(kind.get("input", "")))
    findings = [{k: v for k, v in kind.items() if k != "input"} for kind in kinds.values()]
    return {
        "reader": reader.name,
        "inputs": sum(counts.values()),
        **{outcome: counts[outcome] for outcome in ("read", "refused", *BAD)},
        "findings": sorted(findings, key=lambda kind: -kind["n"]),
    }


def _one_process(
    reader: Reader,
    scratch: Path,
    seed: int,
    seconds: float,
    counts: Counter[str],
    kinds: dict[tuple[str, str, str], dict[str, Any]],
) -> float:
    """Run one worker until its time is over, it crashes or it hangs; return the seconds that it used up."""
    command = [
        sys.executable,
        "-m",
        f"{__package__}.worker",
        reader.name,
        str(scratch),
        str(seed),
        str(seconds),
    ]
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    latest: dict[str, int] = {}

    def note(outcome: str, what: str, where: str, data: str) -> None:
        # lengths and positions differ from input to input, the kind of error does not
        key = (outcome, "".join(c for c in what if not c.isdigit())[:60], where)
        kind = kinds.setdefault(
            key, {"outcome": outcome, "what": what, "where": where, "n": 0, "input": data}
        )
        kind["n"] += 1

    with (scratch / "stderr").open("wb") as errors, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        stream = process.stdout
        threading.Thread(target=_pass_on, args=(stream, lines), daemon=True).start()
        patience, most, hung, silent, cpu = START_S, START_S, False, 0, 0.0
        while True:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                silent += 1
                if silent < STARVED and _cpu_s(process.pid) - cpu < most:
                    continue  # a busy machine does not let it run
                hung = True
                process.kill()
                break
            patience, most, silent, cpu = 2 * HANG_S, HANG_S, 0, _cpu_s(process.pid)
            if not line:
                break
            said = json.loads(line)
            if "counts" in said:
                latest = said["counts"]
            else:
                note(said["outcome"], said["what"], said["where"], said["input"])
        code = process.wait()
    counts.update(latest)
    if code == 0:
        return seconds
    path = scratch / reader.file
    data = path.read_bytes().hex() if path.exists() else ""
    last = (scratch / "stderr").read_text(errors="replace").strip().splitlines()
    if not hung and code > 0:
        raise InstrumentError(f"fuzzing {reader.name}: {last[-1] if last else 'no message'}")
    outcome = "hang" if hung else "crash"
    counts[outcome] += 1
    note(outcome, f"no answer in {2 * HANG_S:g} s" if hung else f"signal {-code}", "", data)
    return max(1.0, seconds / 4)


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far, s; infinite for one that is gone."""
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return math.inf
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _pass_on(stream: Iterable[str], lines: queue.SimpleQueue[str]) -> None:
    """Put each line of a stream into a queue, and an empty one at its end."""
    for line in stream:
        lines.put(line)
    lines.put("")


def fuzz_figures(found: Sequence[dict[str, Any]], minutes: float) -> list[Figure]:
    """Return the figures of the issue on trust, from the results of `measure_fuzz` with so many minutes a reader."""
    figures = [
        at_least("minutes for each reader", minutes, 10.0),
        measured("readers", len(found)),
        at_least("inputs", sum(row["inputs"] for row in found), 1),
    ]
    for outcome, name in (
        ("traceback", "inputs that end in a traceback"),
        ("crash", "inputs that crash the process"),
        ("hang", f"inputs that take more than {HANG_S:g} s"),
        ("memory", "inputs that take more than ten times the file"),
        ("several lines", "inputs whose error is more than one line"),
        ("unnamed", "inputs whose error names no file"),
    ):
        figures.append(equal(name, sum(row[outcome] for row in found), 0))
    return figures
