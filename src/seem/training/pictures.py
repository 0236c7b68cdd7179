"""Pictures of a run: curves of loss and scores, and the answers furthest from the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from seem.checkpoints.safe import atomic_write
from seem.training.curves import read_log, read_results
from seem.training.validation import Case

Points = Sequence[tuple[float, float]]

CURVES_FILE = "curves.png"

INK, PALE, BACK = (40, 44, 52), (205, 209, 216), (255, 255, 255)
COLOURS = ((31, 105, 193), (214, 90, 24), (38, 137, 71), (142, 68, 173))
PANEL = (560, 300)
MARGIN = (64, 34, 16, 36)  # left, top, right, bottom
TRUE_COLOUR, TOLD_COLOUR = (40, 170, 80), (230, 90, 20)
CELL = 320
HEAD = 22  # pixels of a line of text


def draw_curves(path: Path, panels: Mapping[str, Mapping[str, Points]]) -> None:
    """Draw panels side by side, each with its named curves of (step, value)."""
    width, height = PANEL
    picture = Image.new("RGB", (width * max(1, len(panels)), height), BACK)
    for place, (title, curves) in enumerate(panels.items()):
        picture.paste(draw_panel(title, curves), (place * width, 0))
    write_png(path, picture)


def draw_progress(out: Path) -> None:
    """Draw the loss and the scores of a run, as its files tell them."""
    log, results = read_log(out), read_results(out)
    names = dict.fromkeys(name for row in results for name in row if name not in ("step", "score", "loss"))
    draw_curves(
        out / CURVES_FILE,
        {
            "loss": {"total": [(row["step"], row["total"]) for row in log]},
            "held-out photos, %": {
                name: [(row["step"], row[name]) for row in results if name in row] for name in names
            },
        },
    )


def draw_panel(title: str, curves: Mapping[str, Points]) -> Image.Image:
    """Draw one panel with axes, lines at round values and a legend."""
    picture = Image.new("RGB", PANEL, BACK)
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = MARGIN[0], MARGIN[1], PANEL[0] - MARGIN[2], PANEL[1] - MARGIN[3]
    draw.text((left, 10), title, fill=INK)
    points = [point for curve in curves.values() for point in curve if np.isfinite(point).all()]
    if not points:
        draw.text((left, (top + bottom) // 2), "nothing measured", fill=INK)
        return picture
    x0, x1 = limits([x for x, _ in points])
    lines = round_values(*limits([y for _, y in points]))
    y0, y1 = lines[0], lines[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top)

    for value in lines:
        draw.line([place(x0, value), place(x1, value)], fill=PALE)
        draw.text((8, place(x0, value)[1] - 6), f"{value:.4g}", fill=INK)
    for step in (x0, x1):
        draw.text((place(step, y0)[0] - 12, bottom + 8), f"{step:.0f}", fill=INK)
    draw.text(((left + right) / 2 - 12, bottom + 8), "step", fill=INK)
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(x, y) for x, y in curve if np.isfinite((x, y)).all()]
        if len(places) > 1:
            draw.line(places, fill=colour, width=2)
        for x, y in places if len(places) < 60 else places[-1:]:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
        draw.text((left + 120 + 130 * number, 10), name, fill=colour)
    return picture


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return an axis that holds all values and has a length."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def round_values(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` intervals of round length (1, 2 or 5 times a power of ten) that hold `low` to `high`."""
    power = math.floor(math.log10((high - low) / most))
    for length in (factor * 10.0**exponent for exponent in range(power, power + 3) for factor in (1, 2, 5)):
        first, last = math.floor(low / length), math.ceil(high / length)
        if last - first <= most:
            return [number * length for number in range(first, last + 1)]
    raise AssertionError("a longer interval always holds")


def draw_worst(path: Path, cases: Sequence[Case]) -> None:
    """Draw cases one below the other: the truth on the left, the answer on the right, as the first line says."""
    rows = [draw_case(case) for case in cases]
    if not rows:
        return
    picture = Image.new("RGB", (2 * CELL, HEAD + sum(row.height for row in rows)), BACK)
    for place, (text, colour) in enumerate((("the truth", TRUE_COLOUR), ("the answer", TOLD_COLOUR))):
        ImageDraw.Draw(picture).text((place * CELL + 4, 5), text, fill=colour)
    top = HEAD
    for row in rows:
        picture.paste(row, (0, top))
        top += row.height
    write_png(path, picture)


def draw_case(case: Case) -> Image.Image:
    """Draw one case with a line of text above."""
    pixels = case.dataset.pixels(case.photo)
    scale = CELL / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    picture = Image.new("RGB", (2 * CELL, size[1] + HEAD), BACK)
    ImageDraw.Draw(picture).text((4, 5), f"IoU {case.iou:.0f}%   {case.what}   {case.photo.path.name}", fill=INK)
    for place, (mask, colour) in enumerate(((case.truth, TRUE_COLOUR), (case.told, TOLD_COLOUR))):
        picture.paste(Image.fromarray(tinted(pixels, mask, colour)).resize(size), (place * CELL, HEAD))
    return picture


def tinted(
    pixels: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], colour: tuple[int, int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Tint what is inside a mask."""
    shown = pixels.copy()
    shown[mask] = (0.45 * shown[mask] + 0.55 * np.array(colour)).astype(np.uint8)
    return np.asarray(shown)


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a picture aside, then rename it."""
    with atomic_write(path) as aside:
        picture.save(aside, format="PNG")
