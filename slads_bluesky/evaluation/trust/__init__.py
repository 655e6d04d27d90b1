"""Faults on purpose: a session and an instrument of its own, and whether what was promised is what was seen."""
