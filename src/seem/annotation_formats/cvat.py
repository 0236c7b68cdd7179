"""CVAT for images 1.1: one XML file for all images.

An object in one part without holes is a polygon, any other a mask: run lengths of its box row by row, the first
outside. Scores are left out, CVAT's shapes have none.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.outlines import trace_outlines
from seem.annotation_formats.writer import WriterSettings
from seem.coco_format import CocoCategory


class CvatWriter:
    """Writes one XML file, at the end."""

    def __init__(self, settings: WriterSettings) -> None:
        self.notes: list[str] = []
        self._settings = settings
        self._classes = ClassTable()
        self._images: list[str] = []

    def add(self, image: AnnotatedImage) -> None:
        """Take an image; it is copied to images/ if that was asked for."""
        self._classes.add_all(image.classes)
        file_name = image.file_name
        if self._settings.copies_images:
            image.copy_to(self._settings.folder / "images")
            file_name = image.copy_name
        height, width = image.hw
        attributes = f'id="{len(self._images)}" name={quoteattr(file_name)}'
        lines = [f'  <image {attributes} width="{width}" height="{height}">']
        for one in image.objects:
            if one.mask.area:
                self._classes.named(one.class_name)
                lines.append(f"    {to_cvat_shape(one)}")
        self._images.append("\n".join([*lines, "  </image>"]))

    def finish(self) -> tuple[Path, ...]:
        """Write annotations.xml."""
        lines = [
            '<?xml version="1.0" encoding="utf-8"?>',
            "<annotations>",
            "  <version>1.1</version>",
            "  <meta><task><labels>",
            *(_label_element(category) for category in self._classes.categories),
            "  </labels></task></meta>",
            *self._images,
            "</annotations>",
        ]
        return self._settings.write_texts("", {"annotations.xml": "\n".join(lines)})


def to_cvat_shape(one: AnnotatedObject) -> str:
    """Return the element of an object whose mask is not empty."""
    outlines = trace_outlines(one.mask)
    attributes = f'label={quoteattr(one.class_name)} source="auto" occluded="0" z_order="0"'
    if len(outlines) == 1 and not outlines[0].num_holes:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outlines[0].corners.tolist())
        return f'<polygon {attributes} points="{points}"></polygon>'
    x0, y0, x1, y1 = one.mask.box
    rle = ", ".join(map(str, row_run_lengths(one.mask.crop())))
    box = f'left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}"'
    return f'<mask {attributes} rle="{rle}" {box}></mask>'


def row_run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Return how many pixels are outside, inside, outside, ... row by row; the first number may be 0."""
    pixels = mask.ravel()
    changes = np.flatnonzero(np.diff(pixels, prepend=False))  # begins inside: a change at 0
    ends = np.diff(changes, prepend=0, append=pixels.size)
    lengths: list[int] = ends.tolist()
    return lengths


def _label_element(category: CocoCategory) -> str:
    red, green, blue = category["color"]
    name = f"<name>{escape(category['name'])}</name>"
    colour = f"<color>#{red:02x}{green:02x}{blue:02x}</color>"
    return f"    <label>{name}{colour}<attributes></attributes></label>"
