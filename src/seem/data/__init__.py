"""Readers of annotated photos."""
