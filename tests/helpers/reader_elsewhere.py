"""A reader of a Tiled server without this program: ``python reader_elsewhere.py tiled|databroker ADDRESS KEY UID``.

Prints as JSON what it found. Only the named client, bluesky and suitcase-msgpack, with what they require, are to be
seen.
"""

import json
import sys
import tempfile
from pathlib import Path

from hidden_packages import hide_all_but


def documents_of(run):
    """The run's documents, the way that the client offers."""
    if hasattr(run, "documents"):
        return [(name, dict(doc)) for name, doc in run.documents()]
    # tiled alone knows no documents; its server writes them, a line each
    file = Path(tempfile.mkdtemp()) / "run.jsonl"
    run.export(str(file), format="application/json-seq")
    lines = file.read_text().replace("\x1e", "\n").splitlines()
    return [(line["name"], line["doc"]) for line in map(json.loads, filter(str.strip, lines))]


def count_points(documents):
    """Events of the stream primary, as a callback of bluesky's sees them."""
    from bluesky.callbacks import CallbackBase
    from event_model import unpack_event_page

    class Points(CallbackBase):
        n, primary = 0, ""

        def descriptor(self, doc):
            if doc["name"] == "primary":
                self.primary = doc["uid"]

        def event(self, doc):
            self.n += doc["descriptor"] == self.primary

        def event_page(self, doc):
            for event in unpack_event_page(doc):
                self.event(event)

    points = Points()
    for name, doc in documents:
        points(name, doc)
    return points.n


def serialize(documents):
    """Bytes that a suitcase serializer makes of them."""
    from suitcase.msgpack import Serializer

    with tempfile.TemporaryDirectory() as folder:
        with Serializer(folder) as serializer:
            for name, doc in documents:
                serializer(name, doc)
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def main(kind, address, key, uid):
    hide_all_but(f"{kind}[client]", "bluesky", "suitcase-msgpack", "packaging")
    from tiled.client import from_uri

    try:
        import slads_bluesky  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        raise SystemExit("this program is to be seen")
    run = from_uri(address, api_key=key)[uid]
    spectra = run["primary"]["eds_spectrum"]
    documents = documents_of(run)
    found = {
        "client": type(run).__module__.partition(".")[0],
        "sample": run.metadata["start"].get("sample"),
        "dims": list(spectra.dims or ()),
        "shape": list(spectra.shape),
        "counts": int(spectra.read().sum()),
        "pixels": [int(pixel) for pixel in run["primary"]["scan_pixel"].read()],
        "names": sorted({name for name, _ in documents}),
        "order": [documents[0][0], documents[-1][0]],
        "points": count_points(documents),
        "serialized": serialize(documents),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
