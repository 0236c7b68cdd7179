"""Segment anything in a picture by saying, clicking or showing what you mean."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from seem import startup  # first: it ends a command line that is interrupted here
from seem.errors import SeemError
from seem.version import __version__

if TYPE_CHECKING:
    from seem.encoded_image import EncodedImage
    from seem.exporting.export import export
    from seem.loading import load
    from seem.model import Model
    from seem.prompts import Audio, Box, Mask, Point, Polygon, Reference, Scribble, Stroke, Text
    from seem.results import Results
    from seem.results.datasets import save_dataset, save_tracks
    from seem.session import Session
    from seem.vocabulary import Vocabulary
    from seem.zoo import list_models

_MODULES = {
    "Audio": "prompts",
    "Box": "prompts",
    "EncodedImage": "encoded_image",
    "Mask": "prompts",
    "Model": "model",
    "Point": "prompts",
    "Polygon": "prompts",
    "Reference": "prompts",
    "Results": "results",
    "Scribble": "prompts",
    "Session": "session",
    "Stroke": "prompts",
    "Text": "prompts",
    "Vocabulary": "vocabulary",
    "export": "exporting.export",
    "list_models": "zoo",
    "load": "loading",
    "save_dataset": "results.datasets",
    "save_tracks": "results.datasets",
}
"""Modules that are imported when a name of theirs is first used: exported models run without PyTorch."""


def __getattr__(name: str) -> Any:
    """Import a public name, or a module of the package, when it is first used."""
    if name in _MODULES:
        try:
            value = getattr(import_module(f"seem.{_MODULES[name]}"), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise SeemError(
                f"seem.{name} needs PyTorch, which is not installed: pip install torch "
                "(seem_lite runs exported graphs without)"
            ) from None
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"seem.{name}") is not None:
        return import_module(f"seem.{name}")
    raise AttributeError(f"module 'seem' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


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
