"""A run taken elsewhere: figures, files, reports."""
