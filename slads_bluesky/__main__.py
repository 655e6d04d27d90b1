"""``python -m slads_bluesky``: the command line."""

from .cli import main

main()
