"""Labels on small dark plates, each on its object or beside it, never over each other and never over a click."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seem.mask_codec import PackedMask
from seem.rasterize import PixelBox
from seem.visualize.prompt_marks import SUPERSAMPLING, WHITE, line_width
from seem.vocabulary import Colour

PLATE_COLOUR = (18, 20, 24, 215)
MAX_HIDDEN_RATIO = 0.15  # of the image, by plates
MAX_PLATE_RATIO = 3  # of a plate's area to its object's; on smaller objects there is no plate
MIN_VISIBLE_RATIO = (
    2  # of an object's visible area to the plate's, from which the plate may lie on the object
)
MIN_INSIDE_RATIO = 0.6  # of a plate that lies on its object
TIED_RATIO = 0.25  # of a plate on its object, up to which a line ties it to the object
FONT_SIZES_PER_SIDE = 44
MIN_FONT_SIZE = 11
GRID_SIDE = 64  # spots that are tried inside a mask, along each side
CENTRE_WEIGHT = (
    0.25  # of the distance from the object's middle, against the part of the plate that lies inside
)


def draw_label_plates(
    image: Image.Image,
    top_mask: NDArray[np.int32],
    labels: Sequence[str],
    colours: Sequence[Colour],
    masks: Sequence[PackedMask],
    clicks: Sequence[PixelBox],
) -> None:
    """Write each label on a plate, large objects first.

    `top_mask` (H, W) has the index of the mask on top at each pixel. A plate beside its object is tied to it by a line,
    or it would name its neighbour. Left out is a plate without a free spot, one that is far larger than its object, and
    one that would hide too much of the image.
    """
    num_pixels = image.width * image.height
    font_size = max(MIN_FONT_SIZE, round(math.sqrt(num_pixels) / FONT_SIZES_PER_SIDE))
    occupied = list(clicks)
    hidden = 0
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].area):
        plate = _make_plate(labels[index], colours[index], font_size)
        area = plate.width * plate.height
        is_too_large = masks[index].area < area / MAX_PLATE_RATIO
        hides_too_much = hidden > 0 and hidden + area > MAX_HIDDEN_RATIO * num_pixels
        if is_too_large or hides_too_much:
            continue
        visible = _visible_part(top_mask, index, masks[index].box)
        box = _find_spot(plate.size, visible, masks[index].box, top_mask.shape, occupied)
        if box is None:
            continue
        if _inside_ratio(top_mask, index, box) <= TIED_RATIO:
            _draw_tie(image, box, visible, masks[index].box, colours[index])
        image.paste(plate, box[:2], plate)
        occupied.append(box)
        hidden += area


def _visible_part(top_mask: NDArray[np.int32], index: int, box: PixelBox) -> NDArray[np.bool_]:
    """Return which pixels of a mask's box show the mask."""
    x0, y0, x1, y1 = box
    visible: NDArray[np.bool_] = top_mask[y0:y1, x0:x1] == index
    return visible


def _inside_ratio(top_mask: NDArray[np.int32], index: int, plate: PixelBox) -> float:
    """Return how much of a plate lies on its object."""
    return float(_visible_part(top_mask, index, plate).mean())


def _make_plate(label: str, colour: Colour, font_size: int) -> Image.Image:
    """Draw white text on a dark plate with a stripe of the object's colour at its left end."""
    font = ImageFont.load_default(font_size)
    margin, stripe = max(2, font_size // 3), max(2, font_size // 4)
    left, _, right, _ = font.getbbox(label)
    width = math.ceil(right - left) + 2 * margin + stripe
    height = font_size + margin
    large = Image.new("RGBA", (width * SUPERSAMPLING, height * SUPERSAMPLING), (0, 0, 0, 0))
    outline = (0, 0, large.width - 1, large.height - 1)
    radius = margin * SUPERSAMPLING
    ImageDraw.Draw(large).rounded_rectangle(outline, radius=radius, fill=PLATE_COLOUR)

    rounded = Image.new("L", large.size, 0)
    ImageDraw.Draw(rounded).rounded_rectangle(outline, radius=radius, fill=255)
    left_end = (0, 0, stripe * SUPERSAMPLING, large.height)
    large.paste((*colour, 255), left_end, rounded.crop(left_end))

    plate = large.reduce(SUPERSAMPLING)
    position = (stripe + margin - left, height / 2)
    ImageDraw.Draw(plate).text(position, label, font=font, fill=WHITE, anchor="lm")
    return plate


def _draw_tie(
    image: Image.Image, plate: PixelBox, visible: NDArray[np.bool_], box: PixelBox, colour: Colour
) -> None:
    """Draw a line from a plate to the pixel of its object that is nearest to the object's middle."""
    rows, columns = np.nonzero(visible)
    if not len(rows):
        return
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    x, y = box[0] + int(columns[nearest]), box[1] + int(rows[nearest])
    x0, y0, x1, y1 = plate
    start = (min(max(x, x0), x1 - 1), min(max(y, y0), y1 - 1))
    draw, width = ImageDraw.Draw(image), line_width(image)
    for breadth, shade in ((2 * width + 1, WHITE), (width, colour)):
        draw.line([start, (x, y)], fill=shade, width=breadth)
        reach = breadth / 2 + width
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=shade)


# --- Where a plate goes -----------------------------------------------------------------------------------------------


def _find_spot(
    plate_wh: tuple[int, int],
    visible: NDArray[np.bool_],
    box: PixelBox,
    image_hw: tuple[int, ...],
    occupied: Sequence[PixelBox],
) -> PixelBox | None:
    """Find the best free spot: well inside the visible mask, else beside the object; None if neither is free."""
    width, height = plate_wh
    image_height, image_width = image_hw
    if width > image_width or 2 * height > image_height:
        return None
    if np.count_nonzero(visible) > MIN_VISIBLE_RATIO * width * height:
        inside = _best_spot_inside(visible, (box[0], box[1]), plate_wh, image_hw, occupied)
        if inside is not None:
            return inside
    for x, y in _corners_beside(box, plate_wh):
        spot = (x, y, x + width, y + height)
        is_in_image = x >= 0 and y >= 0 and spot[2] <= image_width and spot[3] <= image_height
        if is_in_image and not any(_overlap(spot, other) for other in occupied):
            return spot
    return None


def _corners_beside(box: PixelBox, plate_wh: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Return the top left corners of a plate above, below, to the right and to the left of a box."""
    (x0, y0, x1, y1), (width, height) = box, plate_wh
    centred_x, centred_y = (x0 + x1 - width) // 2, (y0 + y1 - height) // 2
    yield centred_x, y0 - height - 1
    yield centred_x, y1 + 1
    yield x1 + 1, centred_y
    yield x0 - width - 1, centred_y


def _overlap(one: PixelBox, other: PixelBox) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _best_spot_inside(
    visible: NDArray[np.bool_],
    corner: tuple[int, int],
    plate_wh: tuple[int, int],
    image_hw: tuple[int, ...],
    occupied: Sequence[PixelBox],
) -> PixelBox | None:
    """Try a grid of spots over a mask: as much of the plate on the mask as possible, then near its middle.

    `visible` is the visible part of the mask, whose top left pixel is `corner`.
    """
    (width, height), (x0, y0) = plate_wh, corner
    xs = _grid(x0, visible.shape[1], width, image_hw[1])
    ys = _grid(y0, visible.shape[0], height, image_hw[0])
    if len(xs) == 0 or len(ys) == 0:
        return None
    step = max(1, height // 8)  # one pixel in so many is counted: precise enough to place a plate
    cells = visible[::step, ::step]
    x_spans = ((xs - x0) // step, (xs + width - x0) // step)
    y_spans = ((ys - y0) // step, (ys + height - y0) // step)
    inside_ratio = _count_in_boxes(cells, x_spans, y_spans) * step * step / (width * height)

    rows, columns = cells.shape
    num_cells = max(int(np.count_nonzero(cells)), 1)
    middle_x = cells.sum(axis=0) @ np.arange(columns) / num_cells
    middle_y = cells.sum(axis=1) @ np.arange(rows) / num_cells
    away_x = ((xs + width / 2 - x0) / step - middle_x) / columns
    away_y = ((ys + height / 2 - y0) / step - middle_y) / rows

    quality = inside_ratio - CENTRE_WEIGHT * np.hypot(away_x[None, :], away_y[:, None])
    for other in occupied:
        overlaps_x = (xs < other[2]) & (other[0] < xs + width)
        overlaps_y = (ys < other[3]) & (other[1] < ys + height)
        quality[np.ix_(overlaps_y, overlaps_x)] = -np.inf
    quality[inside_ratio < MIN_INSIDE_RATIO] = -np.inf
    row, column = np.unravel_index(int(quality.argmax()), quality.shape)
    if not np.isfinite(quality[row, column]):
        return None
    x, y = int(xs[column]), int(ys[row])
    return x, y, x + width, y + height


def _grid(start: int, length: int, plate_length: int, image_length: int) -> NDArray[np.int64]:
    """Return where plates over a span may begin so that they end in the image."""
    first = max(start - plate_length // 2, 0)
    last = min(start + length, image_length) - 1
    spots = np.unique(np.linspace(first, last, GRID_SIDE, dtype=np.int64))
    return spots[spots + plate_length <= image_length]


def _count_in_boxes(
    cells: NDArray[np.bool_],
    x_spans: tuple[NDArray[np.int64], NDArray[np.int64]],
    y_spans: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Count the set cells in boxes: (rows, columns) for all pairs of a span along y and a span along x.

    Spans (starts, ends) are cut at the border. The counts are differences of a summed-area table.
    """
    num_rows, num_columns = cells.shape
    table = np.zeros((num_rows + 1, num_columns + 1), dtype=np.int64)
    table[1:, 1:] = cells.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    left, right = (np.clip(edge, 0, num_columns) for edge in x_spans)
    top, bottom = (np.clip(edge, 0, num_rows)[:, None] for edge in y_spans)
    counts: NDArray[np.int64] = (
        table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    )
    return counts
