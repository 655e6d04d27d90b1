"""What all counts so far say of the whole map: evidence instead of labels, and one posterior for all pixels."""
