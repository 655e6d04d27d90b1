"""Follow a map from another process, over bluesky's 0MQ proxy.

``python examples/follow_over_zmq.py HOST:PORT`` follows the runs that a session publishes (``publishers:`` in
``instrument.yml``). Without an address the script starts a proxy and a simulated map of its own to follow.
"""

import subprocess
import sys
from pathlib import Path

from slads_bluesky.callbacks.publish import ZMQListener
from slads_bluesky.devices.sim.ports import free_port


def follow(address: str) -> None:
    """Print a line at each fifty points, until the run ends."""
    points, primary = 0, ""
    with ZMQListener(address) as listener:
        while True:
            received = listener.next(timeout_s=60)
            if received is None:
                raise SystemExit(f"{address}: no document for a minute")
            name, doc = received
            if name == "start":
                print(f"run {doc['uid'][:8]} of {doc.get('sample', 'a sample')} begins")
            elif name == "descriptor" and doc["name"] == "primary":
                primary = doc["uid"]
            elif name == "event" and doc["descriptor"] == primary:
                points += 1
                if points % 50 == 0:
                    print(f"{points} points; the last is {doc['data']['eds_verdict']}")
            elif name == "stop":
                print(f"{points} points: {doc['exit_status']}")
                return


def publish(port: str) -> None:
    """Map a simulated specimen and send every document to the proxy."""
    from bluesky import RunEngine

    from slads_bluesky import LearnedSampler, PhaseClassifier, ScanGrid, SladsAgent, adaptive_map
    from slads_bluesky.callbacks.publish import ZMQPublisher
    from slads_bluesky.devices.sim.soft import soft_microscope
    from slads_bluesky.phantom import make_object

    grid = ScanGrid((32, 32))
    classifier = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
    beam, eds, _ = soft_microscope(make_object("pbsn-32"), classifier)
    agent = SladsAgent(grid, LearnedSampler(grid.shape, labels=2), n_labels=2, fraction=0.2)
    engine = RunEngine()
    with ZMQPublisher(f"127.0.0.1:{port}", patience_s=60) as publisher:
        engine.subscribe(publisher)
        engine(adaptive_map(beam, eds, agent, dwell_s=1.0, md={"sample": "solder"}))


def main() -> None:
    """Follow an address, or a map of our own."""
    if sys.argv[1:2] == ["publish"]:
        publish(sys.argv[2])
    elif len(sys.argv) > 1:
        follow(sys.argv[1])
    else:
        into, out = str(free_port()), str(free_port())
        proxy = Path(sys.executable).with_name("bluesky-0MQ-proxy")
        ends = ["--in-address", f"127.0.0.1:{into}", "--out-address", f"127.0.0.1:{out}"]
        with subprocess.Popen([proxy, *ends]) as serving:
            with subprocess.Popen([sys.executable, __file__, "publish", into]):
                follow(f"127.0.0.1:{out}")
            serving.terminate()


if __name__ == "__main__":
    main()
