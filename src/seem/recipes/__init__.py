"""Training runs, whole: each states command, hardware, hours and score."""
