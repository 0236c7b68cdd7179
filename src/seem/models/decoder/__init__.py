"""Queries that read the picture and the prompts under a declared attention policy."""
