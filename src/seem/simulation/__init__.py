"""The simulated user: strokes and next clicks, for training and evaluation alike."""
