"""Element maps from few pixels: intensities, their variation inside phases, and the expected spectrum everywhere."""
