"""The record: journal, embedded databroker catalog, replay."""
