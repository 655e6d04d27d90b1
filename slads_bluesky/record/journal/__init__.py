"""The journal: every document of a run in one append-only file, with checksums."""
