"""Consumers of documents: progress, live map."""
