"""Map a simulated specimen by a Bluesky plan, record it, and load the map from the record.

``python examples/map_a_simulated_specimen.py [FOLDER]``; the record is written to FOLDER, or to ``record``.
The devices simulate a microscope in this process; with EPICS devices the plan is the same.
"""

import sys

from bluesky import RunEngine

from slads_bluesky import (
    LearnedSampler,
    PhaseClassifier,
    ScanGrid,
    SladsAgent,
    adaptive_map,
    find_run,
    load_map,
)
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.images import total_distortion
from slads_bluesky.phantom import make_object
from slads_bluesky.record import Journal, journal_directory


def main() -> None:
    """Map 10 % of the pixels with 1 s a spectrum."""
    folder = sys.argv[1] if len(sys.argv) > 1 else "record"

    # who says which phase a spectrum is of: computed from the compositions, no measured spectrum needed
    classifier = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
    # what is mapped, and with what
    specimen = make_object("pbsn-64")
    beam, eds, sem = soft_microscope(specimen, classifier)
    # who decides where to measure
    grid = ScanGrid(specimen.shape)
    agent = SladsAgent(grid, LearnedSampler(grid.shape, labels=2), n_labels=2, fraction=0.1)

    engine = RunEngine()
    with Journal(journal_directory(folder)) as journal:
        engine.subscribe(journal)
        engine(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=1.0, md={"sample": "solder"}))

    data = load_map(find_run("-1", folder))
    assert data.reconstruction is not None
    wrong = total_distortion(data.reconstruction, specimen.truth)
    print(f"run {data.uid[:8]}: {data.n_measured} of {grid.n_pixels} pixels, {data.dose_nc.sum():.0f} nC")
    print(f"{wrong:.4f} of the map is wrong")


if __name__ == "__main__":
    main()
