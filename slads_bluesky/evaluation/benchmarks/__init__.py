"""What ``slads-bluesky bench …`` measures: figures of this project, as plain dictionaries. No printing."""
