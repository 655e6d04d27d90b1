"""From a spectrum to a composition: fit, standards, matrix correction, uncertainties."""
