"""A client of bluesky's queue server: maps are checked before they are queued, and actions become documents."""
