"""The paper's experiments, repeated and compared with ours: trials, their curves, the table."""
