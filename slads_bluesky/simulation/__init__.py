"""One map of a simulated specimen: models and run."""
