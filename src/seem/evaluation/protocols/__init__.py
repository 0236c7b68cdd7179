"""Protocols: each defines the items of a data set, prompts the model about them, and updates the metrics."""
