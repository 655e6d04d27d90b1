"""Bluesky plans; they know protocols only."""
