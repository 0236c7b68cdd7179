"""Queries that read the image and the prompts under a declared attention policy."""
