"""Spectra, maps and phase files: reading and writing."""
