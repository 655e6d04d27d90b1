"""The web page of the maps: follows runs as they grow, shows those on record, and steers a queue server.

Nothing here takes part in a run: the page reads the record's journal in a process of its own.
"""
