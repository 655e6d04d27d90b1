"""Colours of the phases, the same in every picture of this program."""

__all__ = ["PHASE_COLOURS"]

PHASE_COLOURS = ("#1b2a41", "#f2c14e", "#2a9d8f", "#d1495b", "#7b5ea7", "#8ab17d", "#e08e45", "#5f8dd3")
"""Distinct in print and for readers who do not distinguish red and green; repeated beyond eight phases."""
