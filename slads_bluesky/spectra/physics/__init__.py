"""The expected spectrum of a composition, from electrons to counts."""
