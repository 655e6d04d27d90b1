"""A session at the microscope: `ipython --profile-dir=profile`, or a queue server's worker.

What it is made of stands in instrument.yml beside this folder (or in the file that SLADS_INSTRUMENT names).
"""

from pathlib import Path

from bluesky import plan_stubs as bps
from bluesky import plans as bp

from slads_bluesky.instrument import open_session, prepare_prompt
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.plans.queue import queue_plans
from slads_bluesky.plans.raster import list_map

prepare_prompt()  # %wa, %mov, %movr; errors in one line; windows that stay alive

# everything; where a part is missing, a message and the other parts (in a queue server's worker: an error)
session = open_session(Path(__file__).resolve().parents[1] / "instrument.yml", partial=True)

# RunEngine, catalog, live table
RE, db, bec = session.RE, session.db, session.bec

# the microscope; x and y are the beam's axes one by one: %mov x 10 y -5
beam, eds, sem = session.beam, session.eds, session.sem
x, y = session.x, session.y

# who decides, and the records of earlier runs
make_agent = session.make_agent
load, verify, replay = session.records.load, session.records.verify, session.records.replay
save_phases = session.records.save_phases  # what collect_spectra took, for `slads-bluesky train classifier`

# before a map: what it would take and whether it fits, what stands in its way; and both for the queue's clients
estimate, doctor = session.estimate, session.doctor
check_map, check_instrument = session.check_map, session.check_instrument

# the phases of a map that finds them: name_phase(2, "quartz"), merge_phases(3, 1), split_phase(2), forbid_phase(4)
phases = session.phases
phases_found, name_phase, merge_phases = phases.found, phases.name, phases.merge
split_phase, forbid_phase, allow_phase = phases.split, phases.forbid, phases.allow

# plans with plain arguments, for prompt and queue alike: RE(map_sample("steel 3", fraction=0.1))
map_sample, resume_map, raster_map, collect_spectra = queue_plans(session)
