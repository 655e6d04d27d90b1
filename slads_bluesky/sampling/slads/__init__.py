"""The paper's sampler: SLADS for labelled images."""
