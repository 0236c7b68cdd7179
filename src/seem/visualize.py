"""Pictures of a result: objects tinted and named over the photo, and cut out of it.

The file reads in this order: the whole picture, then its layers from below: colours and masks, prompts, labels.
"""

from __future__ import annotations

import colorsys
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seem.mask_codec import PackedMask
from seem.prompts import Audio, Box, Mask, Point, Polygon, Prompt, Reference, Scribble, Stroke, Text
from seem.rasterize import Coordinates, PixelBox, clip_segments, polyline_segments
from seem.vocabulary import Category, Colour, distinct_colours

_PLATE = (18, 20, 24, 215)
_MOST_HIDDEN = 0.15  # of the photo, by plates
_WHITE = (255, 255, 255)
_POSITIVE, _NEGATIVE = (34, 197, 94), (239, 68, 68)
_SMOOTHING = 4  # small shapes are drawn this much larger, then reduced


def draw_overlay(
    photo: NDArray[np.uint8],
    masks: Sequence[PackedMask],
    categories: Sequence[Category | None],
    captions: Sequence[str] | None,
    prompts: Sequence[Prompt],
    alpha: float,
) -> Image.Image:
    """Draw masks over an H x W x 3 photo, large ones first, with a caption each (None: no captions) and the prompts.

    `alpha` (0-1) is the strength of the colours; `ValueError` for another one.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must be between 0 (photo alone) and 1 (colours alone).")
    colours = _object_colours(categories)
    picture, owner = _paint(photo, masks, colours, alpha)
    for prompt in prompts:
        _draw_prompt(picture, prompt)
    if captions is not None:
        clicks = [_click_bounds(picture, prompt) for prompt in prompts if isinstance(prompt, Point)]
        _draw_plates(picture, owner, captions, colours, masks, clicks)
    return picture


def cut_out(pixels: NDArray[np.uint8], mask: PackedMask) -> Image.Image:
    """Cut one object out along its mask: RGBA, as large as its box; 1 x 1 and transparent for an empty mask."""
    if mask.area == 0:
        return Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    opacity = mask.crop().view(np.uint8) * np.uint8(255)
    return Image.fromarray(np.dstack([pixels[mask.window], opacity]))


def _object_colours(categories: Sequence[Category | None]) -> list[Colour]:
    """Choose a colour for each object: its category's, turned a little for every further thing of that category.

    Objects without a category get colours of their own.
    """
    seen: Counter[int] = Counter()
    spare = iter(distinct_colours(len(categories)))
    colours = []
    for category in categories:
        if category is None:
            colours.append(next(spare))
            continue
        colours.append(_vivid(category.colour, turn=0.13 * seen[category.id]))
        seen[category.id] += category.is_thing
    return colours


def _vivid(colour: Colour, turn: float) -> Colour:
    """Turn the hue (1 = once round) and keep away from black and white, which cannot be told from shadow and glare."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    rgb = colorsys.hls_to_rgb((hue + turn) % 1.0, min(max(lightness, 0.42), 0.75), saturation)
    return (round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2]))


def _paint(
    photo: NDArray[np.uint8], masks: Sequence[PackedMask], colours: Sequence[Colour], alpha: float
) -> tuple[Image.Image, NDArray[np.int32]]:
    """Tint each mask and draw its inner edge, large masks first; also return which mask is on top (-1: none)."""
    owner = np.full(photo.shape[:2], -1, dtype=np.int32)
    edge = np.zeros(photo.shape[:2], dtype=np.bool_)
    thickness = max(1, round(math.sqrt(photo.shape[0] * photo.shape[1]) / 350))
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].area):
        mask, crop = masks[index], masks[index].crop()
        owner[mask.window][crop] = index
        np.copyto(edge[mask.window], ~_eroded(mask, crop, thickness), where=crop)
    paints = np.array(colours, dtype=np.float64).reshape(-1, 3)
    levels = np.arange(256.0)
    canvas = np.empty_like(photo)
    for channel in range(3):
        tints = (1 - alpha) * levels + alpha * paints[:, channel, None]
        table = np.rint(np.vstack([tints, levels])).astype(np.uint8)  # the last row, owner -1, is the photo itself
        canvas[..., channel] = table[owner, photo[..., channel]]
    canvas[edge] = np.rint(0.75 * paints + 0.25 * 255).astype(np.uint8)[owner[edge]]
    return Image.fromarray(canvas), owner


def _eroded(mask: PackedMask, crop: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Keep pixels whose whole neighbourhood is inside; the border of the photo is no edge."""
    (x0, y0, x1, y1), (height, width) = mask.box, mask.image_hw
    if mask.area == 0:
        return crop
    padded: NDArray[np.bool_] = np.pad(crop, reach, mode="edge")
    padded[:reach] &= y0 == 0
    padded[len(padded) - reach :] &= y1 == height
    padded[:, :reach] &= x0 == 0
    padded[:, padded.shape[1] - reach :] &= x1 == width
    kept: NDArray[np.bool_] = _all_within(_all_within(padded, 2 * reach + 1).T, 2 * reach + 1).T
    return kept


def _all_within(mask: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Say for each run of `length` rows whether all are set; runs of 1, 2, 4, ... are joined from shorter ones."""
    covered = 1
    while covered < length:
        shift = min(covered, length - covered)
        joined: NDArray[np.bool_] = mask[shift:] & mask[:-shift]
        mask, covered = joined, covered + shift
    return mask


def _line_width(picture: Image.Image) -> int:
    return max(1, round(math.sqrt(picture.width * picture.height) / 250))


def _draw_prompt(picture: Image.Image, prompt: Prompt) -> None:
    """Show what was asked with: green means "this", red "not this". Masks, phrases and references are not drawn."""
    draw = ImageDraw.Draw(picture)
    width = _line_width(picture)
    match prompt:
        case Point():
            _draw_click(picture, prompt)
        case Stroke():
            _draw_line(draw, prompt.positions, prompt.positive, width)
        case Scribble():
            for positions in prompt.positions:
                _draw_line(draw, positions, prompt.positive, width)
        case Polygon():
            _draw_line(draw, (*prompt.positions, prompt.positions[0]), prompt.positive, width)
        case Box():
            corners = ((prompt.x0, prompt.y0), (prompt.x1, prompt.y0), (prompt.x1, prompt.y1), (prompt.x0, prompt.y1))
            _draw_line(draw, (*corners, corners[0]), prompt.positive, width)
        case Mask() | Text() | Reference() | Audio():
            pass


def _draw_line(draw: ImageDraw.ImageDraw, positions: Sequence[Coordinates], positive: bool, width: int) -> None:
    for breadth, colour in ((3 * width, _WHITE), (width, _POSITIVE if positive else _NEGATIVE)):
        for piece in _pieces_near(positions, draw.im.size, 2 * width):
            draw.line(piece, fill=colour, width=breadth, joint="curve")


def _pieces_near(positions: Sequence[Coordinates], size: tuple[int, int], margin: int) -> Iterator[list[Coordinates]]:
    """Leave out what lies far outside of the picture, along which Pillow would walk pixel by pixel."""
    width, height = size
    far = max(width, height)
    if all(-far <= x <= width + far and -far <= y <= height + far for x, y in positions):
        yield list(positions)
        return
    room = (height + 2 * margin, width + 2 * margin)
    for (x0, y0), (x1, y1) in (clip_segments(polyline_segments(positions) + margin, room) - margin).tolist():
        yield [(x0, y0), (x1, y1)]


def _draw_click(picture: Image.Image, point: Point) -> None:
    """Draw a disc with a white rim, and a plus or a minus on it."""
    left, top, right, _ = _click_bounds(picture, point)
    big = (right - left) * _SMOOTHING
    tile = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    draw = ImageDraw.Draw(tile)
    draw.ellipse((0, 0, big - 1, big - 1), fill=(*_WHITE, 255))
    rim = big * 0.12
    draw.ellipse((rim, rim, big - 1 - rim, big - 1 - rim), fill=(*(_POSITIVE if point.positive else _NEGATIVE), 255))
    near, far, low, high = big * 0.28, big * 0.72, big * 0.44, big * 0.56
    draw.rectangle((near, low, far, high), fill=(*_WHITE, 255))
    if point.positive:
        draw.rectangle((low, near, high, far), fill=(*_WHITE, 255))
    tile = tile.reduce(_SMOOTHING)
    picture.paste(tile, (left, top), tile)


def _click_bounds(picture: Image.Image, point: Point) -> PixelBox:
    radius = max(2, 3 * _line_width(picture))
    x, y = int(point.position[0]), int(point.position[1])
    return x - radius, y - radius, x + radius + 1, y + radius + 1


def _draw_plates(
    picture: Image.Image,
    owner: NDArray[np.int32],
    captions: Sequence[str],
    colours: Sequence[Colour],
    masks: Sequence[PackedMask],
    clicks: Sequence[PixelBox],
) -> None:
    """Write each caption on a small dark plate, large objects first, and never over a click.

    A plate beside its object is tied to it by a line, or it would name its neighbour. Left out is what
    finds no place, what is far smaller than its plate, and what would hide too much of the photo.
    """
    font_size = max(11, round(math.sqrt(picture.width * picture.height) / 44))
    font = ImageFont.load_default(font_size)
    taken = list(clicks)
    hidden, most_hidden = 0, _MOST_HIDDEN * picture.width * picture.height
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].area):
        plate = _plate(captions[index], colours[index], font, font_size)
        size = plate.width * plate.height
        if masks[index].area < size / 3 or (hidden and hidden + size > most_hidden):
            continue
        bounds = _place_plate(plate.size, owner, index, masks[index].box, taken)
        if bounds is not None:
            _tie(picture, bounds, owner, index, masks[index].box, colours[index])
            picture.paste(plate, bounds[:2], plate)
            taken.append(bounds)
            hidden += size


def _tie(
    picture: Image.Image, plate: PixelBox, owner: NDArray[np.int32], index: int, box: PixelBox, colour: Colour
) -> None:
    """Draw a line from a plate to the middle of its object, unless it stands on it."""
    x0, y0, x1, y1 = plate
    if np.count_nonzero(owner[y0:y1, x0:x1] == index) > (x1 - x0) * (y1 - y0) / 4:
        return
    rows, columns = np.nonzero(owner[box[1] : box[3], box[0] : box[2]] == index)
    if not len(rows):
        return
    middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)  # the mask's own pixel
    x, y = box[0] + int(columns[middle]), box[1] + int(rows[middle])
    start = (min(max(x, x0), x1 - 1), min(max(y, y0), y1 - 1))
    draw, width = ImageDraw.Draw(picture), _line_width(picture)
    for breadth, shade in ((2 * width + 1, _WHITE), (width, colour)):
        draw.line([start, (x, y)], fill=shade, width=breadth)
        reach = breadth / 2 + width
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=shade)


def _plate(
    caption: str, colour: Colour, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, font_size: int
) -> Image.Image:
    """Draw white text on a dark plate with a stripe of the object's colour."""
    margin, stripe = max(2, font_size // 3), max(2, font_size // 4)
    left, _, right, _ = font.getbbox(caption)
    width = math.ceil(right - left) + 2 * margin + stripe
    height = font_size + margin
    big = Image.new("RGBA", (width * _SMOOTHING, height * _SMOOTHING), (0, 0, 0, 0))
    draw = ImageDraw.Draw(big)
    outline = (0, 0, big.width - 1, big.height - 1)
    draw.rounded_rectangle(outline, radius=margin * _SMOOTHING, fill=_PLATE)
    ends = Image.new("L", big.size, 0)
    ImageDraw.Draw(ends).rounded_rectangle(outline, radius=margin * _SMOOTHING, fill=255)
    big.paste(
        (*colour, 255), (0, 0, stripe * _SMOOTHING, big.height), ends.crop((0, 0, stripe * _SMOOTHING, big.height))
    )
    plate = big.reduce(_SMOOTHING)
    ImageDraw.Draw(plate).text((stripe + margin - left, height / 2), caption, font=font, fill=_WHITE, anchor="lm")
    return plate


def _place_plate(
    plate_wh: tuple[int, int], owner: NDArray[np.int32], index: int, box: PixelBox, taken: Sequence[PixelBox]
) -> PixelBox | None:
    """Find the best free place: well inside the visible mask, else beside the object; None if neither is free."""
    (width, height), (photo_height, photo_width) = plate_wh, owner.shape
    if width > photo_width or 2 * height > photo_height:
        return None
    x0, y0, x1, y1 = box
    visible = owner[y0:y1, x0:x1] == index
    if np.count_nonzero(visible) > 2 * width * height:
        inside = _best_inside(visible, (x0, y0), plate_wh, owner.shape, taken)
        if inside is not None:
            return inside
    middle_x, middle_y = (x0 + x1 - width) // 2, (y0 + y1 - height) // 2
    for x, y in ((middle_x, y0 - height - 1), (middle_x, y1 + 1), (x1 + 1, middle_y), (x0 - width - 1, middle_y)):
        bounds = (x, y, x + width, y + height)
        in_photo = x >= 0 and y >= 0 and bounds[2] <= photo_width and bounds[3] <= photo_height
        if in_photo and not any(_meet(bounds, other) for other in taken):
            return bounds
    return None


def _meet(one: PixelBox, other: PixelBox) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _best_inside(
    visible: NDArray[np.bool_],
    corner: tuple[int, int],
    plate_wh: tuple[int, int],
    image_hw: tuple[int, ...],
    taken: Sequence[PixelBox],
) -> PixelBox | None:
    """Try a grid of places over the mask: as much of the plate on the mask as possible, then near its middle."""
    (width, height), (x0, y0) = plate_wh, corner
    xs = np.unique(
        np.linspace(max(x0 - width // 2, 0), min(x0 + visible.shape[1], image_hw[1]) - 1, 64, dtype=np.int64)
    )
    ys = np.unique(
        np.linspace(max(y0 - height // 2, 0), min(y0 + visible.shape[0], image_hw[0]) - 1, 64, dtype=np.int64)
    )
    xs, ys = xs[xs + width <= image_hw[1]], ys[ys + height <= image_hw[0]]
    if len(xs) == 0 or len(ys) == 0:
        return None
    coarse = max(1, height // 8)  # count one pixel in so many: precise enough to place a plate
    cells = visible[::coarse, ::coarse]
    rows, columns = cells.shape
    sums = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    sums[1:, 1:] = cells.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    left, right = (np.clip((edge - x0) // coarse, 0, columns) for edge in (xs, xs + width))
    top, bottom = (np.clip((edge - y0) // coarse, 0, rows)[:, None] for edge in (ys, ys + height))
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    share = inside * coarse * coarse / (width * height)
    middle_x = cells.sum(axis=0) @ np.arange(columns) / max(sums[-1, -1], 1)
    middle_y = cells.sum(axis=1) @ np.arange(rows) / max(sums[-1, -1], 1)
    away_x = ((xs + width / 2 - x0) / coarse - middle_x) / columns
    away_y = ((ys + height / 2 - y0) / coarse - middle_y) / rows
    worth = share - 0.25 * np.hypot(away_x[None, :], away_y[:, None])
    for other in taken:
        meets_x = (xs < other[2]) & (other[0] < xs + width)
        meets_y = (ys < other[3]) & (other[1] < ys + height)
        worth[np.ix_(meets_y, meets_x)] = -np.inf
    worth[share < 0.6] = -np.inf
    row, column = np.unravel_index(int(worth.argmax()), worth.shape)
    if not np.isfinite(worth[row, column]):
        return None
    x, y = int(xs[column]), int(ys[row])
    return x, y, x + width, y + height
