"""Segment anything in a picture by saying, clicking or showing what you mean."""

from seem.api import EncodedImage, Model, Session
from seem.errors import SeemError
from seem.loading import load
from seem.prompts import Box, Mask, Point, Polygon, Scribble, Stroke, Text
from seem.results import Results
from seem.version import __version__
from seem.vocabulary import Vocabulary
from seem.zoo import list_models

__all__ = [
    "Box",
    "EncodedImage",
    "Mask",
    "Model",
    "Point",
    "Polygon",
    "Results",
    "Scribble",
    "SeemError",
    "Session",
    "Stroke",
    "Text",
    "Vocabulary",
    "__version__",
    "list_models",
    "load",
]
