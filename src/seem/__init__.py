"""Segment anything in a picture by saying, clicking or showing what you mean."""

from seem import startup  # first: it ends a command line that is interrupted here
from seem.encoded_image import EncodedImage
from seem.errors import SeemError
from seem.exporting.export import export
from seem.loading import load
from seem.model import Model
from seem.prompts import Audio, Box, Mask, Point, Polygon, Reference, Scribble, Stroke, Text
from seem.results import Results
from seem.results.datasets import save_dataset, save_tracks
from seem.session import Session
from seem.version import __version__
from seem.vocabulary import Vocabulary
from seem.zoo import list_models

startup.resume_garbage_collection()

__all__ = [
    "Audio",
    "Box",
    "EncodedImage",
    "Mask",
    "Model",
    "Point",
    "Polygon",
    "Reference",
    "Results",
    "Scribble",
    "SeemError",
    "Session",
    "Stroke",
    "Text",
    "Vocabulary",
    "__version__",
    "export",
    "list_models",
    "load",
    "save_dataset",
    "save_tracks",
]
