"""Phrases to token ids to vectors."""
