"""Where to measure for element maps: what another spectrum would take off their expected error."""
