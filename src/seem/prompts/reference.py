"""A prompt by example: a region of another image."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, cast, runtime_checkable
from weakref import WeakKeyDictionary

from PIL import Image

from seem.deprecation import renamed_attributes
from seem.prompts.arguments import Json
from seem.prompts.marks import Box, Mask, Polygon, Scribble, Stroke, VisualPrompt
from seem.prompts.phrases import Audio, Text

Cached = TypeVar("Cached")


@runtime_checkable
class EncodedImageLike(Protocol):
    """What prompts need of an image that a model has encoded; `EncodedImage` is one."""

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width as shown."""
        ...

    @property
    def name(self) -> str | None:
        """The file's name."""
        ...

    @property
    def image(self) -> Image.Image:
        """The image itself, upright."""
        ...


@renamed_attributes({"photo": "image"})
@dataclass(frozen=True, slots=True, eq=False, init=False)
class Reference:
    """The object in another image that `prompts` mark there: `Reference("other.jpg", Box(30, 40, 300, 400))`.

    `image` is an encoded image, or whatever `Model.encode` takes; the model that is asked then encodes it, once. A Box,
    Polygon, Mask, Stroke or Scribble marks the region itself (negative strokes cut out of it); with a Point or a phrase
    among the prompts, the other image is segmented first.

    Raises `ValueError` for no prompt, negative prompts alone, a reference in a reference, and prompts outside an
    encoded image.
    """

    image: object
    prompts: tuple[Prompt, ...]
    _cache: WeakKeyDictionary[Any, Any] = field(repr=False)
    _lock: threading.Lock = field(repr=False)

    def __init__(self, image: object, *prompts: Prompt) -> None:
        _check_reference(image, prompts)
        object.__setattr__(self, "image", image)
        object.__setattr__(self, "prompts", prompts)
        object.__setattr__(self, "_cache", WeakKeyDictionary())
        object.__setattr__(self, "_lock", threading.Lock())

    def __reduce__(self) -> tuple[type[Reference], tuple[object, ...]]:
        """Pickle the image itself, not what a model of this process has computed from it."""
        image = self.image.image if isinstance(self.image, EncodedImageLike) else self.image
        return Reference, (image, *self.prompts)

    @property
    def marks_region(self) -> bool:
        """Whether the prompts are the region themselves; else the other image has to be segmented first."""
        return all(
            isinstance(prompt, (Stroke, Scribble, Polygon, Box, Mask)) for prompt in self.prompts
        )

    def cached(self, owner: Any, make: Callable[[], Cached]) -> Cached:
        """Return what `owner` (a model) computes from this reference: once, and kept as long as the owner."""
        with self._lock:
            if owner not in self._cache:
                self._cache[owner] = make()
            return cast("Cached", self._cache[owner])

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file: the other image's name, and what was marked there."""
        return {
            "kind": "reference",
            "photo": _image_name(self.image),
            "prompts": [prompt.to_dict() for prompt in self.prompts],
        }


Prompt: TypeAlias = VisualPrompt | Text | Reference | Audio


def _check_reference(image: object, prompts: Sequence[object]) -> None:
    if isinstance(image, Prompt):
        raise ValueError(
            f"A Reference begins with the other image, got {image!r}; write Reference(image, prompt)."
        )
    if not prompts:
        raise ValueError(
            "A Reference needs prompts that mark a region of the other image, e.g. a Box."
        )
    for prompt in prompts:
        if not isinstance(prompt, Prompt):
            raise ValueError(
                f"{prompt!r} is no prompt; a Reference is an image, then Box(...), Point(...) or the like."
            )
        if isinstance(prompt, Reference):
            raise ValueError(
                "A Reference holds no other Reference; mark the region in its own image."
            )
    marks = [prompt for prompt in prompts if isinstance(prompt, VisualPrompt)]
    has_phrase = len(marks) < len(prompts)
    if not has_phrase and not any(mark.positive for mark in marks):
        raise ValueError(
            "All prompts of the Reference are negative; add at least one that marks the object."
        )
    if isinstance(image, EncodedImageLike):
        for mark in marks:
            mark.check_inside(image.hw)


def _image_name(image: object) -> str | None:
    if isinstance(image, EncodedImageLike):
        return image.name
    source = getattr(image, "filename", None) if isinstance(image, Image.Image) else image
    return Path(source).name if isinstance(source, (str, os.PathLike)) and source else None
