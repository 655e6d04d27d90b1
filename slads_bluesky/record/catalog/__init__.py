"""The databroker catalog: the only code that knows databroker and Tiled."""
