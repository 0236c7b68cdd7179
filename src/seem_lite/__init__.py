"""Exported nano without PyTorch: NumPy, Pillow and ONNX Runtime are all that it needs.

`seem export --model nano --out FOLDER` writes the folder, `seem_lite.load(FOLDER)` reads it:

    photo = seem_lite.load("FOLDER").encode("photo.jpg")
    photo.segment(points=[(320, 200)]).mask      # bool, height x width of the photo
    photo.segment(phrases=["red car"])           # None where the photo does not show one
    photo.panoptic().segments

The answers are those of `seem.load("nano")`. Start with `model.py`.
"""

from seem_lite.folder import FolderError
from seem_lite.model import Answer, Model, Panoptic, Photo, Segment, load

__all__ = ["Answer", "FolderError", "Model", "Panoptic", "Photo", "Segment", "load"]
