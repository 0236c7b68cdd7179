"""Losses, matching and the training loop."""
