"""Simulated objects with a known truth."""
