"""Segment anything in a picture by saying, clicking or showing what you mean."""

__version__ = "0.1.0.dev0"
