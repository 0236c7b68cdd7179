"""Regions of Label Studio: read as prompts, written from masks."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.annotation_formats.label_studio import polygon_value, to_brush_code
from seem.annotation_formats.outlines import trace_editable_outlines
from seem.mask_codec import PackedMask
from seem.prompts import Box, Point, Polygon, Prompt
from seem.server.label_studio.label_config import LabelConfig, RegionTag

MAX_PROMPTS = 1000


def to_marks(regions: Sequence[Mapping[str, Any]], hw: tuple[int, int]) -> list[Prompt]:
    """Read what a person has drawn with smart tools on an image of height and width `hw`, as prompts about one object.

    Keypoints become points, rectangles boxes (polygons, where they are turned); other regions are passed over.
    """
    marks: list[Prompt] = []
    for region in regions[:MAX_PROMPTS]:
        match str(region.get("type", "")).removesuffix("labels"):
            case "keypoint":
                is_positive = bool(region.get("is_positive", True))
                marks.append(to_point(region_value(region), hw, is_positive))
            case "rectangle":
                marks.append(to_box(region_value(region), hw))
    return marks


def region_value(region: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the value of a region; `ValueError` for one that is turned with its image, or has none."""
    value = region.get("value")
    if not isinstance(value, Mapping):
        raise ValueError(f"The region {region.get('id')!r} has no value.")
    if region.get("image_rotation"):
        raise ValueError(
            "The image is turned in Label Studio; turn it back before you use a smart tool."
        )
    return value


def number_of(value: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """Return a finite number of a region; `ValueError` where there is none."""
    number = value.get(key, default)
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not is_number or not math.isfinite(number):
        raise ValueError(f"A region has {key} = {str(number)[:40]!r}, which is no number.")
    return float(number)


def to_point(value: Mapping[str, Any], hw: tuple[int, int], is_positive: bool) -> Point:
    """Return the pixel that a keypoint, in percent of the image, lies on."""
    height, width = hw
    x = math.floor(number_of(value, "x") * width / 100)
    y = math.floor(number_of(value, "y") * height / 100)
    return Point(min(max(x, 0), width - 1), min(max(y, 0), height - 1), is_positive)


def to_box(value: Mapping[str, Any], hw: tuple[int, int]) -> Box | Polygon:
    """Return a rectangle in percent of the image as a box, or, turned about its first corner, as a polygon."""
    height, width = hw
    x, y = number_of(value, "x") * width / 100, number_of(value, "y") * height / 100
    w, h = number_of(value, "width") * width / 100, number_of(value, "height") * height / 100
    angle = math.radians(number_of(value, "rotation", 0.0))
    if angle == 0:
        return Box(max(x, 0), max(y, 0), min(x + w, width), min(y + h, height))
    along, down = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    corners = []
    for right, below in ((0, 0), (w, 0), (w, h), (0, h)):
        corner_x = x + right * along[0] + below * down[0]
        corner_y = y + right * along[1] + below * down[1]
        corners.append((min(max(corner_x, 0), width), min(max(corner_y, 0), height)))
    return Polygon(corners)


def selected_label(regions: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the label that a person has chosen for what smart tools draw; None for none."""
    for region in reversed(regions):
        value = region.get("value")
        if not isinstance(value, Mapping):
            continue
        labels = value.get(region.get("type"))
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return None


def to_regions(
    mask: PackedMask, score: float, label: str | None, tag: RegionTag, config: LabelConfig
) -> list[dict[str, Any]]:
    """Write a mask as regions of a tag: one, or a polygon for each part; none for an empty mask."""
    if mask.area == 0:
        return []
    height, width = mask.image_hw
    labels = {}
    if label is not None:
        labels[f"{tag.kind}labels"] = [label]
    common = {
        "type": f"{tag.kind}labels",
        "from_name": tag.name,
        "to_name": config.image_name,
        "image_rotation": 0,
        "original_width": width,
        "original_height": height,
        "score": round(score, 6),
    }
    return [{**common, "value": {**value, **labels}} for value in region_values(mask, tag.kind)]


def region_values(mask: PackedMask, kind: str) -> list[dict[str, Any]]:
    """Return the values of the regions of a mask that is not empty."""
    if kind == "brush":
        return [{"format": "rle", "rle": to_brush_code(mask.decode())}]
    if kind == "bitmask":
        return [{"imageDataURL": to_bitmask_address(mask.decode())}]
    if kind == "polygon":
        outlines = trace_editable_outlines(mask)
        return [polygon_value(outline, mask.image_hw) for outline in outlines]
    x0, y0, x1, y1 = mask.box
    height, width = mask.image_hw
    corner = {"x": x0 * 100 / width, "y": y0 * 100 / height}
    size = {"width": (x1 - x0) * 100 / width, "height": (y1 - y0) * 100 / height}
    return [{**corner, **size, "rotation": 0}]


def to_bitmask_address(mask: NDArray[np.bool_]) -> str:
    """Return a mask as the data: address of a PNG file, opaque black inside and transparent outside."""
    pixels = np.zeros((*mask.shape, 4), dtype=np.uint8)
    pixels[mask] = (0, 0, 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
