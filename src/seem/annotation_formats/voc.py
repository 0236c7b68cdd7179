"""Pascal VOC's layout for segmentation: two palette maps an image, and boxes in XML.

    JPEGImages/a.jpg                     a copy of the image
    SegmentationClass/a.png              the number of the class at each pixel, 0 for none
    SegmentationObject/a.png             the number of the object at each pixel, from 1 in every image
    Annotations/a.xml                    boxes: corners count from 1 and lie on pixels of the object
    ImageSets/Segmentation/train.txt     the names of all images, without suffix
    labelmap.txt                         the classes by their numbers, with the colours of the palette (CVAT, Datumaro)

A pixel belongs to one object: where masks overlap, to that of the highest score. A map of 8 bits has 254 numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.coco_panoptic import flat_map
from seem.annotation_formats.video import contested_notes, davis_palette
from seem.annotation_formats.writer import WriterSettings
from seem.writing import png_writer

MAX_NUMBER = 254  # 255 is void
LIST_FOLDER = "ImageSets/Segmentation"
SEPARATOR = ":"  # of the fields of labelmap.txt
REPLACEMENT = "_"


class VocWriter:
    """Writes maps and boxes, and copies the images."""

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._classes = ClassTable()
        self._stems: list[str] = []
        self._num_contested = 0
        self._num_left_out = 0

    @property
    def notes(self) -> list[str]:
        """What the maps do not show, and names that labelmap.txt cannot hold."""
        notes = contested_notes("voc", self._num_contested)
        if self._num_left_out:
            notes.append(
                f"voc: {self._num_left_out} objects were left out; a map has {MAX_NUMBER} objects, "
                "those of the highest scores."
            )
        renamed = [name for name in self._classes.names if SEPARATOR in name]
        if renamed:
            notes.append(
                f"voc: {renamed[0]!r} stands as {_safe_name(renamed[0])!r} in labelmap.txt."
            )
        return notes

    def add(self, image: AnnotatedImage) -> None:
        """Copy an image and write its maps and boxes; `ValueError` for more classes than a map has numbers."""
        self._classes.add_all(image.classes)
        objects = self._drawable(image)
        numbers = [self._classes.index(one.class_name) + 1 for one in objects]
        if len(self._classes) > MAX_NUMBER:
            raise ValueError(
                f"VOC's maps have {MAX_NUMBER} classes at most, got {len(self._classes)}; "
                "name fewer classes, or choose another format, such as coco."
            )
        ids, num_contested = flat_map(objects, image.hw)
        self._num_contested += num_contested
        object_map = np.zeros(image.hw, dtype=np.uint8)
        class_map = np.zeros(image.hw, dtype=np.uint8)
        for row, (one, number) in enumerate(zip(objects, numbers, strict=True)):
            visible = ids == one.id
            object_map[visible] = row + 1
            class_map[visible] = number
        image.copy_to(self._settings.folder / "JPEGImages")
        name = Path(f"{image.stem}.png")
        for folder, numbers_map in (
            ("SegmentationClass", class_map),
            ("SegmentationObject", object_map),
        ):
            self._settings.write(
                f"{folder}/{name.parent.as_posix()}", {name.name: _map_writer(numbers_map)}
            )
        boxes = name.with_suffix(".xml")
        self._settings.write_texts(
            f"Annotations/{boxes.parent.as_posix()}", {boxes.name: to_voc_boxes(image, objects)}
        )
        self._stems.append(image.stem)

    def finish(self) -> tuple[Path, ...]:
        """Write the list of images and labelmap.txt."""
        colours = np.array(davis_palette()).reshape(-1, 3)
        lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
        for number, name in enumerate(self._classes.names, start=1):
            red, green, blue = colours[number].tolist()
            lines.append(f"{_safe_name(name)}:{red},{green},{blue}::")
        parts = {"train.txt": "\n".join(self._stems)}
        legend = {"labelmap.txt": "\n".join(lines)}
        listed = self._settings.write_texts(LIST_FOLDER, parts)
        return listed + self._settings.write_texts("", legend)

    def _drawable(self, image: AnnotatedImage) -> list[AnnotatedObject]:
        """Return the objects that a map can hold, those of the highest scores; empty masks are none."""
        objects = [one for one in image.objects if one.mask.area]
        best = sorted(objects, key=lambda one: -one.score)[:MAX_NUMBER]
        self._num_left_out += len(objects) - len(best)
        chosen = {one.id for one in best}
        return [one for one in objects if one.id in chosen]


def to_voc_boxes(image: AnnotatedImage, objects: list[AnnotatedObject]) -> str:
    """Return the XML text of an image's boxes."""
    height, width = image.hw
    lines = [
        "<annotation>",
        "  <folder>JPEGImages</folder>",
        f"  <filename>{escape(image.copy_name)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "  <segmented>1</segmented>",
    ]
    for one in objects:
        x0, y0, x1, y1 = one.mask.box
        corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        lines.append(
            f"  <object><name>{escape(one.class_name)}</name><pose>Unspecified</pose>"
            f"<truncated>0</truncated><difficult>0</difficult><bndbox>{corners}</bndbox></object>"
        )
    return "\n".join([*lines, "</annotation>"])


def _map_writer(numbers: NDArray[np.uint8]) -> Callable[[Path], None]:
    def draw() -> Image.Image:
        image = Image.fromarray(numbers).convert("P")
        image.putpalette(davis_palette())
        return image

    return png_writer(draw)


def _safe_name(name: str) -> str:
    return " ".join(name.replace(SEPARATOR, REPLACEMENT).splitlines())
