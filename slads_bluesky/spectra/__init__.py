"""What was measured: the energy axis, a physics model, detection and classification of EDS spectra."""
