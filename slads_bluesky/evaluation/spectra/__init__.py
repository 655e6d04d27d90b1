"""How good the classifiers are, on simulated and on measured spectra."""
