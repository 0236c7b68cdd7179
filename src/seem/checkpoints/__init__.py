"""Weights on disk: official key names, safe loading, download."""
