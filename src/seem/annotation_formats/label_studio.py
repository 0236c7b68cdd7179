"""Label Studio: tasks with predictions as JSON, and the labelling interface that shows them.

    tasks.json            a task an image; its prediction holds a region an object
    label_config.xml      polygons and brush masks with the same classes, for Settings > Labeling Interface

An object in one part without holes is a polygon, in percent of the image; any other a brush mask. The image of a task
is addressed as Label Studio serves local files, by its path below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.cvat import row_run_lengths
from seem.annotation_formats.outlines import Outline, trace_outlines
from seem.annotation_formats.writer import WriterSettings, to_json
from seem.coco_format import CocoCategory

LOCAL_FILES = "/data/local-files/?d="
DECIMALS = 5  # of percentages: a tenth of a pixel at a million

# Label Studio's run-length code: 32 bits for the number of values, 5 for the bits of a value (less 1), 4 x 4 for the
# bits of a run's length (less 1); then for each run a 1, the number of its width, its length less 1 and its value.
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_NUM_CHANNELS = 4  # every pixel is red, green, blue, alpha


class LabelStudioWriter:
    """Writes all tasks into one file, at the end."""

    def __init__(self, settings: WriterSettings) -> None:
        self.notes: list[str] = []
        self._settings = settings
        self._classes = ClassTable()
        self._tasks: list[dict[str, Any]] = []

    def add(self, image: AnnotatedImage) -> None:
        """Take an image; it is copied to images/ if that was asked for."""
        self._classes.add_all(image.classes)
        path = image.file_name
        if self._settings.copies_images:
            image.copy_to(self._settings.folder / "images")
            path = f"images/{image.copy_name}"
        regions = []
        for number, one in enumerate(image.objects, 1):
            if one.mask.area:
                self._classes.named(one.class_name)
                regions.append(to_label_studio_region(one, number))
        prediction: dict[str, Any] = {"model_version": f"seem {image.model}", "result": regions}
        if regions:
            scores = [region["score"] for region in regions]
            prediction["score"] = round(sum(scores) / len(scores), 6)
        task = {"data": {"image": f"{LOCAL_FILES}{quote(path)}"}, "predictions": [prediction]}
        self._tasks.append(task)

    def finish(self) -> tuple[Path, ...]:
        """Write the tasks and the labelling interface."""
        categories = self._classes.categories
        lines = ["<View>", '  <Image name="image" value="$image" zoom="true"/>']
        for tag, name in (("PolygonLabels", "polygon"), ("BrushLabels", "brush")):
            lines.append(f'  <{tag} name="{name}" toName="image">')
            lines += [_label_element(category) for category in categories]
            lines.append(f"  </{tag}>")
        lines.append("</View>")
        texts = {"tasks.json": to_json(self._tasks), "label_config.xml": "\n".join(lines)}
        return self._settings.write_texts("", texts)


def to_label_studio_region(one: AnnotatedObject, number: int) -> dict[str, Any]:
    """Return the region of an object whose mask is not empty."""
    outlines = trace_outlines(one.mask)
    height, width = one.mask.image_hw
    kind, value = "brush", {"format": "rle", "rle": to_brush_code(one.mask.decode())}
    if len(outlines) == 1 and not outlines[0].num_holes:
        kind, value = "polygon", polygon_value(outlines[0], (height, width))
    return {
        "id": f"object-{number}",
        "type": f"{kind}labels",
        "from_name": kind,
        "to_name": "image",
        "image_rotation": 0,
        "original_width": width,
        "original_height": height,
        "score": round(one.score, 6),
        "value": {**value, f"{kind}labels": [one.class_name]},
    }


def polygon_value(outline: Outline, hw: tuple[int, int]) -> dict[str, Any]:
    """Return the value of a polygon region: corners in percent of an image of height and width `hw`."""
    height, width = hw
    percent = (outline.corners * 100 / (width, height)).round(DECIMALS)
    return {"points": percent.tolist(), "closed": True}


def to_brush_code(mask: NDArray[np.bool_]) -> list[int]:
    """Encode an (H, W) mask as Label Studio does: the bytes of its run-length code, 0 or 255 in 4 channels."""
    bits = [f"{mask.size * _NUM_CHANNELS:032b}", f"{_VALUE_BITS - 1:05b}"]
    bits += [f"{width - 1:04b}" for width in _LENGTH_BITS]
    value = 0
    for length in row_run_lengths(mask):
        bits += _run_bits(length * _NUM_CHANNELS, value)
        value = 255 - value
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def _run_bits(length: int, value: int) -> list[str]:
    """Return the bits of a run, as several where it is longer than a length can say."""
    bits = []
    while length > 0:
        index = 0
        while index < len(_LENGTH_BITS) - 1 and length > 2 ** _LENGTH_BITS[index]:
            index += 1
        width = _LENGTH_BITS[index]
        part = min(length, 2**width)
        bits.append(f"1{index:02b}{part - 1:0{width}b}{value:0{_VALUE_BITS}b}")
        length -= part
    return bits


def _label_element(category: CocoCategory) -> str:
    red, green, blue = category["color"]
    return f'    <Label value={quoteattr(category["name"])} background="#{red:02x}{green:02x}{blue:02x}"/>'
