"""The learned sampler: a network as policy and reconstruction."""
