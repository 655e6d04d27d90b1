"""What a recorded map says: run data, area fractions, summary, cost."""
