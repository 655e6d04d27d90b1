"""The one place that uses a private class of bluesky-tiled-plugins: the writer of a run, with a flush of its own.

`TiledWriter`, which is public, writes by numbers of events only: a slow run would stay invisible for hours. The class
that it makes for each run has what a flush needs.
A test fails when the package has another version
than those of `TESTED`.
"""

from __future__ import annotations

from typing import Any

from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer, _RunWriter

__all__ = ["TESTED", "FlushingRunWriter"]

TESTED = ("2.0.12",)
"""Versions of bluesky-tiled-plugins whose ``_RunWriter`` is as this module expects it."""
SPECTRUM = "_spectrum"
"""How the data keys of spectra end."""


class FlushingRunWriter:
    """Document callback that writes one run into a catalog: arrays to zarr, scalars to tables.

    Parameters
    ----------
    catalog : databroker client
        Where to write.
    batch : int
        Events of a stream to write at once.
    """

    def __init__(self, catalog: Any, batch: int) -> None:
        self._writer = _RunWriter(catalog.include_data_sources(), batch_size=batch, max_array_size=0)
        self._normalizer = RunNormalizer()
        self._normalizer.subscribe(self._writer)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        if name == "descriptor":
            self._name_energy(doc)
        self._normalizer(name, doc)

    def _name_energy(self, doc: dict[str, Any]) -> None:
        """Call the channels of a stream's spectra ``energy``, where Tiled's writer would number the dimension."""
        for key, about in doc.get("data_keys", {}).items():
            shape: tuple[Any, ...] = tuple(about.get("shape") or ())
            if key.endswith(SPECTRUM) and len(shape) == 1 and shape[0]:
                self._writer._int_dims_names[str(doc.get("name"))][int(shape[0])] = "energy"

    def flush(self) -> None:
        """Write what was taken."""
        writer = self._writer
        for stream, rows in writer._internal_data_cache.items():
            if rows:
                writer._write_internal_data(rows, desc_node=writer._desc_nodes[stream])
                rows.clear()
        for doc in list(writer._external_data_cache.values()):
            writer._write_external_data(doc)
        writer._external_data_cache.clear()

    def update_metadata(self, metadata: dict[str, Any]) -> None:
        """Add to the metadata of the run, if its start document was written."""
        if self._writer.root_node is not None:
            self._writer.root_node.update_metadata(metadata, drop_revision=True)
