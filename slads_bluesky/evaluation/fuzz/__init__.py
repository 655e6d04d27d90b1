"""Hostile input: valid files changed at random, and whether every reader refuses them with one line."""
