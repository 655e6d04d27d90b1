"""Blocks of the documents that are not run, each with the reason; their commands are parsed all the same."""

SHOWN = ("text",)
"""Languages of blocks that show something and ask for nothing."""

_INSTALL = "an installation from nothing, which .ci/run makes"
_CHECKS = "what .ci/run runs"

NOT_RUN = {
    "$ python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e . && .venv/bin/slads-bluesky demo":
    f"{_INSTALL}; test_demo.py runs the demo",
    "$ python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest -n 3 "
    "--dist loadfile":
    "these very tests; .ci/run takes the command from the README",
    "$ python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e . && . .venv/bin/activate": _INSTALL,
    "$ python3 -m venv .venv": _INSTALL,
    "$ .venv/bin/pytest -n 3 --dist loadfile            # everything": "these very tests",
    "$ .venv/bin/ruff format . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports": _CHECKS,
    "$ .venv/bin/slads-bluesky bench coverage     # lines of the runtime that the tests reach, at least 90 %":
    "all tests again, two times; each command has a test that runs it on less",
    "$ slads-bluesky paper --quick --markdown table.md": "minutes and hours; test_paper.py runs the command on less",
    "$ slads-bluesky bench point --points 200": "minutes each; each benchmark has a test that runs it on less",
    "from bluesky.callbacks.zmq import RemoteDispatcher": "it receives until it is stopped; test_publish.py runs it",
    "from bluesky_kafka import RemoteDispatcher": "it receives until it is stopped; see test_kafka.py",
    "$ slads-bluesky watch": "serves until it is stopped; see units/watch/test_page.py",
    "$ slads-bluesky serve": "serves until it is stopped; see units/record/test_serve.py",
    "$ slads-bluesky watch --queue tcp://127.0.0.1:60615": "likewise; integration/test_queue_server.py steers one",
    "import databroker": "needs the profile of the block before; see units/record/test_profile.py",
    "from tiled.client import from_profile": "likewise",
    "$ slads-bluesky doctor --server https://tiled.facility.example/api/v1": "a facility's server",
}  # fmt: skip
