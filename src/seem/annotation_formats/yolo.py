"""YOLO for segmentation, as Ultralytics reads it: a text file an image, a line of corners an object.

    data.yaml            names, and where the images are
    images/a.jpg         a copy of the image, where Ultralytics looks for it
    labels/a.txt         class x y x y ..., as fractions of the image; empty for an image without objects

A line is one polygon: holes are reached by a bridge of zero width, parts are joined by a line there and back, as the
converters of Ultralytics join them. Holes stay holes under every way of filling; those that fill the border too
(OpenCV) draw the line between parts, one pixel wide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.outlines import Outline, join_outlines, trace_outlines
from seem.annotation_formats.writer import WriterSettings

DECIMALS = 7  # a hundredth of a pixel at 100,000 pixels a side


class YoloWriter:
    """Writes text files of polygons, and copies the images."""

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._classes = ClassTable()
        self._num_joined = 0

    @property
    def notes(self) -> list[str]:
        """How many objects are in several parts."""
        if not self._num_joined:
            return []
        return [
            f"yolo: {self._num_joined} objects in several parts have lines between them; a line of YOLO is one polygon."
        ]

    def add(self, image: AnnotatedImage) -> None:
        """Copy an image and write its text file."""
        self._classes.add_all(image.classes)
        lines = []
        for one in image.objects:
            if one.mask.area:
                lines.append(self._line(one, image.hw))
        image.copy_to(self._settings.folder / "images")
        name = Path(f"{image.stem}.txt")
        self._settings.write_texts(
            f"labels/{name.parent.as_posix()}", {name.name: "\n".join(lines)}
        )

    def finish(self) -> tuple[Path, ...]:
        """Write data.yaml."""
        lines = [
            "# The same images are named for training and for validation: divide them before scores mean anything.",
            "train: images",
            "val: images",
            "names:",
        ]
        for number, name in enumerate(self._classes.names):
            lines.append(f"  {number}: {json.dumps(name, ensure_ascii=False)}")
        return self._settings.write_texts("", {"data.yaml": "\n".join(lines)})

    def _line(self, one: AnnotatedObject, hw: tuple[int, int]) -> str:
        outlines = trace_outlines(one.mask)
        self._num_joined += len(outlines) > 1
        return to_yolo_line(outlines, hw, self._classes.index(one.class_name))


def to_yolo_line(outlines: Sequence[Outline], hw: tuple[int, int], class_index: int) -> str:
    """Return the line of an object: its class, then the corners of one polygon as fractions of the image."""
    height, width = hw
    fractions = join_outlines(outlines) / (width, height)
    numbers = [f"{number:.{DECIMALS}f}" for number in fractions.ravel().tolist()]
    return " ".join([str(class_index), *numbers])
