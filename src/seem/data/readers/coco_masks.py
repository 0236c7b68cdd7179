"""Masks of COCO rows in every notation that tools write, and whether `bbox` and `area` agree with them.

COCO's own notations are a list of polygons and a run-length code. Besides those there are: one polygon without the
list around it, corners in pairs, lists in lists, lists of codes, sizes and counts as floating-point numbers, counts
that Python printed as bytes.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from seem.data.coco_rle import RleMask, RleSizeError, parse_rle, polygons_to_rle
from seem.data.polygons import check_polygon
from seem.data.readers.shapes import PolygonShape, unite_rles
from seem.data.records import DataError, FlawKind

Box: TypeAlias = "tuple[float, float, float, float]"

_MAX_DEPTH = 4  # lists in lists
_BOX_TOLERANCE = 2.0  # pixels between a box and the mask that it was taken from,
_BOX_TOLERANCE_SHARE = 0.03  # and this share of the longer side
_MIN_BOX_IOU = 0.5  # of a box with the box of its mask
_MAX_AREA_RATIO = 1.5  # of an area and the pixels of its mask


@dataclass(frozen=True, slots=True)
class ParsedMask:
    """The mask of a row.

    `lost_rings` says which of its polygons are left out, `inner_rings` what a polygon inside of another one is taken
    for; both are empty if there is none.
    """

    rle: RleMask
    lost_rings: str = ""
    inner_rings: str = ""


def parse_mask(segmentation: Any, hw: tuple[int, int], area: Any = None) -> ParsedMask:
    """Read the segmentation of a row; a polygon that is none is left out as long as another one is good.

    A polygon inside of another one is filled, as COCO's tools do, unless the `area` of the row says that it is a hole.

    Raises:
        DataError: there is no mask, or none that can be read.
    """
    if not segmentation:
        raise DataError("it has a box at most; masks are needed", FlawKind.NO_MASK)
    try:
        if isinstance(segmentation, Mapping):
            return ParsedMask(_parse_code(segmentation, hw))
        if not _is_list(segmentation):
            raise ValueError("its segmentation is neither polygons nor a run-length code")
        if all(isinstance(part, Mapping) for part in segmentation):
            return ParsedMask(unite_rles([_parse_code(part, hw) for part in segmentation]))
        return _parse_polygons(list_rings(segmentation), hw, area)
    except RleSizeError as error:
        raise DataError(str(error), FlawKind.WRONG_SIZE) from error
    except ValueError as error:
        raise DataError(str(error), FlawKind.UNREADABLE_ROW) from error


def list_rings(segmentation: Any, depth: int = 0) -> list[Any]:
    """Return the polygons of a segmentation, each as flat as it can be made; they may be malformed."""
    if not _is_list(segmentation) or not any(map(_is_list, segmentation)):
        return [segmentation]
    if all(map(_is_pair, segmentation)):
        return [[number for pair in segmentation for number in pair]]
    if depth == _MAX_DEPTH:
        raise ValueError(f"its polygons are lists in more than {_MAX_DEPTH} lists")
    rings = []
    for part in segmentation:
        rings += list_rings(part, depth + 1)
    return rings


def _parse_polygons(rings: Sequence[Any], hw: tuple[int, int], area: Any) -> ParsedMask:
    good, errors = [], []
    for ring in rings:
        error = _error_of_ring(ring)
        if error is None:
            good.append(ring)
        else:
            errors.append(error)
    if not good:
        raise errors[0]
    lost = f"{len(errors)} of {len(rings)}: {errors[0]}" if errors else ""
    filled = polygons_to_rle(good, hw)
    if not _has_box_inside_another(good):
        return ParsedMask(filled, lost)
    with_holes = PolygonShape(tuple(good)).to_rle(hw)
    if with_holes.area >= filled.area:
        return ParsedMask(filled, lost)
    if _is_nearer(area, with_holes.area, filled.area):
        return ParsedMask(with_holes, lost, "it is read as a hole, as the area of the object says")
    return ParsedMask(filled, lost, "it is filled, as COCO's tools do; holes need run-length codes")


def _has_box_inside_another(rings: Sequence[Sequence[float]]) -> bool:
    """Whether the bounding box of a polygon lies inside of that of another one."""
    boxes = np.array([PolygonShape((ring,)).bounds() for ring in rings])
    low, high = boxes[:, :2], boxes[:, 2:]
    begins_inside = (low[:, None] > low).all(axis=2)
    ends_inside = (high[:, None] < high).all(axis=2)
    return bool((begins_inside & ends_inside).any())


def _is_nearer(area: Any, first: int, second: int) -> bool:
    """Whether a written area is nearer to the first of two numbers of pixels; not if none is written."""
    return _is_finite_number(area) and abs(area - first) < abs(area - second)


def _error_of_ring(ring: Any) -> ValueError | None:
    try:
        check_polygon(ring)
    except ValueError as error:
        return error
    return None


def _parse_code(code: Mapping[str, Any], hw: tuple[int, int]) -> RleMask:
    """Read a run-length code; without a size it has that of the image."""
    size = list(hw)
    if code.get("size") is not None:
        size = _as_integers(code["size"])
    return parse_rle({"size": size, "counts": _as_counts(code.get("counts"))}, hw)


def _as_counts(counts: Any) -> Any:
    """Return counts as text or whole numbers, as far as they can be made so."""
    is_text = isinstance(counts, str)
    if is_text and counts.startswith(("b'", 'b"')):  # no code holds a quotation mark
        return _evaluate_bytes(counts)
    if _is_list(counts) and len(counts) == 1 and _is_list(counts[0]):
        counts = counts[0]
    return _as_integers(counts)


def _evaluate_bytes(text: str) -> Any:
    """Read what Python printed of bytes; the text itself if it is none of that."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _as_integers(numbers: Any) -> Any:
    if not _is_list(numbers):
        return numbers
    return list(map(_as_integer, numbers))


def _as_integer(number: Any) -> Any:
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number


def _is_pair(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and not any(map(_is_list, value))


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


# --- Boxes and areas --------------------------------------------------------------------------------------------------


def parse_box(bbox: Any) -> Box | None:
    """Turn COCO's x, y, width, height to corners xyxy; None where a row has no box.

    Raises:
        DataError: it is no box.
    """
    if bbox is None or (_is_list(bbox) and not bbox):
        return None
    try:
        x, y, w, h = map(float, bbox)
    except (TypeError, ValueError):
        raise DataError(
            f"its bbox is {bbox!r}, not x, y, width, height", FlawKind.BAD_BOX
        ) from None
    is_finite = all(map(math.isfinite, (x, y, w, h)))
    if not is_finite or min(w, h) < 0:
        raise DataError(f"its bbox is {bbox!r}", FlawKind.BAD_BOX)
    return (x, y, x + w, y + h)


def describe_box_conflict(box: Box, rle: RleMask) -> str:
    """Say how the box of a row contradicts its mask; empty if it does not.

    A box around more than the mask (of an object that is partly hidden) is no contradiction.
    """
    if _agrees(box, rle.box):
        return ""
    written = _with_size(box)
    for notation, other in _other_readings(written, rle.hw).items():
        if _agrees(other, rle.box):
            return f"its bbox is {_numbers(written)}, which is its mask's as {notation}"
    if _box_iou(box, rle.box) >= _MIN_BOX_IOU or _contains(box, rle.box):
        return ""
    return f"its bbox is {_numbers(written)}, that of its mask {_numbers(_with_size(rle.box))}"


def _with_size(box: Box) -> Box:
    """Turn corners xyxy to COCO's x, y, width, height."""
    x0, y0, x1, y1 = box
    return x0, y0, x1 - x0, y1 - y0


def describe_area_conflict(area: Any, rle: RleMask) -> str:
    """Say how the area of a row contradicts its mask; empty if it does not, or if there is none."""
    if not _is_finite_number(area) or rle.area == 0:
        return ""
    x0, y0, x1, y1 = rle.box
    width, height = x1 - x0, y1 - y0
    low, high = sorted((area, rle.area))
    if high <= _MAX_AREA_RATIO * max(low, 0) or high - low <= 2 * (width + height):
        return ""
    is_of_box = abs(area - width * height) <= _BOX_TOLERANCE * (width + height)
    origin = ", which is its box's" if is_of_box else ""
    return f"its area is {area:g}{origin}, its mask has {rle.area} pixels"


def _is_finite_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _other_readings(numbers: Box, hw: tuple[int, int]) -> dict[str, Box]:
    """Read four numbers in the other notations for boxes."""
    a, b, c, d = numbers
    from_corner = (a, b, a + c, b + d)
    half_c, half_d = c / 2, d / 2
    from_centre = (a - half_c, b - half_d, a + half_c, b + half_d)
    return {
        "x0, y0, x1, y1": numbers,
        "y, x, height, width": (b, a, b + d, a + c),
        "y0, x0, y1, x1": (b, a, d, c),
        "centre, width, height": from_centre,
        "fractions x, y, width, height": _scale_box(from_corner, hw),
        "fractions x0, y0, x1, y1": _scale_box(numbers, hw),
        "fractions of centre, width, height": _scale_box(from_centre, hw),
    }


def _scale_box(box: Box, hw: tuple[int, int]) -> Box:
    """Turn fractions of the image to pixels."""
    height, width = hw
    x0, y0, x1, y1 = box
    return x0 * width, y0 * height, x1 * width, y1 * height


def _agrees(box: Box, other: Box) -> bool:
    x0, y0, x1, y1 = other
    longer = max(x1 - x0, y1 - y0)
    tolerance = max(_BOX_TOLERANCE, _BOX_TOLERANCE_SHARE * longer)
    return bool(np.abs(np.subtract(box, other)).max() <= tolerance)


def _contains(box: Box, inner: Box) -> bool:
    begins = np.subtract(inner[:2], box[:2])
    ends = np.subtract(box[2:], inner[2:])
    return bool(min(*begins, *ends) >= -_BOX_TOLERANCE)


def _box_iou(box: Box, other: Box) -> float:
    low = np.maximum(box[:2], other[:2])
    high = np.minimum(box[2:], other[2:])
    common = float(np.prod((high - low).clip(0)))
    union = _box_area(box) + _box_area(other) - common
    return common / union if union else 0.0


def _box_area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
