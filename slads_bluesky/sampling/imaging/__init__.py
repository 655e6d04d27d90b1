"""What a grey-level frame of the field says about the phases, as the measured pixels teach it."""
