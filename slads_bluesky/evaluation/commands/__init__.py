"""The commands ``bench …`` and ``paper``."""
