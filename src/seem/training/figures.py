"""Figures of a run: curves of loss and scores, and the predictions of lowest IoU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from seem.checkpoints.safe import atomic_write
from seem.training.run_log import read_log, read_results
from seem.training.validation import ValidationCase

Curve = Sequence[tuple[float, float]]  # of (step, value)
ToPixels = Callable[[float, float], tuple[float, float]]  # from (step, value) to (x, y) in pixels

CURVES_FILE = "curves.png"

INK, GRID, BACKGROUND = (40, 44, 52), (205, 209, 216), (255, 255, 255)
CURVE_COLOURS = ((31, 105, 193), (214, 90, 24), (38, 137, 71), (142, 68, 173))
PANEL_WIDTH, PANEL_HEIGHT = 560, 300
LEFT, TOP, RIGHT, BOTTOM = (
    64,
    34,
    PANEL_WIDTH - 16,
    PANEL_HEIGHT - 36,
)  # edges of the axes in a panel
MAX_DOTTED_POINTS = 60  # a curve of as many points has a dot at its end alone
TRUE_COLOUR, PREDICTED_COLOUR = (40, 170, 80), (230, 90, 20)
CASE_SIDE = 320  # pixels of an image's longer side
HEADER_HEIGHT = 22  # pixels of a line of text


# --- Curves -----------------------------------------------------------------------------------------------------------


def draw_run_curves(out: Path) -> None:
    """Draw the loss and the scores of a run from its files, as `curves.png`."""
    log, results = read_log(out), read_results(out)
    scores: dict[str, list[tuple[float, float]]] = {}
    for row in results:
        for name, value in row.items():
            if name not in ("step", "score", "loss"):
                scores.setdefault(name, []).append((row["step"], value))
    loss = [(row["step"], row["total"]) for row in log]
    draw_curves(out / CURVES_FILE, {"loss": {"total": loss}, "held-out photos, %": scores})


def draw_curves(path: Path, panels: Mapping[str, Mapping[str, Curve]]) -> None:
    """Draw panels side by side, each with its named curves."""
    figure = Image.new("RGB", (PANEL_WIDTH * max(1, len(panels)), PANEL_HEIGHT), BACKGROUND)
    for column, (title, curves) in enumerate(panels.items()):
        figure.paste(draw_panel(title, curves), (column * PANEL_WIDTH, 0))
    write_png(path, figure)


def draw_panel(title: str, curves: Mapping[str, Curve]) -> Image.Image:
    """Draw one panel with axes, grid lines at round values and a legend."""
    panel = Image.new("RGB", (PANEL_WIDTH, PANEL_HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    draw.text((LEFT, 10), title, fill=INK)
    finite = {name: _finite_points(curve) for name, curve in curves.items()}
    points = np.concatenate([np.empty((0, 2)), *finite.values()])
    if not points.size:
        draw.text((LEFT, (TOP + BOTTOM) // 2), "nothing measured", fill=INK)
        return panel
    steps, values = points.T.tolist()
    first, last = limits(steps)
    grid = round_values(*limits(values))
    low, high = grid[0], grid[-1]

    def to_pixels(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (step - first) / (last - first) * (RIGHT - LEFT)
        y = BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)
        return x, y

    _draw_axes(draw, to_pixels, (first, last), grid)
    for number, (name, curve) in enumerate(finite.items()):
        colour = CURVE_COLOURS[number % len(CURVE_COLOURS)]
        _draw_curve(draw, list(itertools.starmap(to_pixels, curve.tolist())), colour)
        draw.text((LEFT + 120 + 130 * number, 10), name, fill=colour)
    return panel


def _draw_axes(
    draw: ImageDraw.ImageDraw,
    to_pixels: ToPixels,
    steps: tuple[float, float],
    grid: Sequence[float],
) -> None:
    """Draw grid lines with their values, and the first and the last step."""
    first, last = steps
    for value in grid:
        line = [to_pixels(first, value), to_pixels(last, value)]
        draw.line(line, fill=GRID)
        draw.text((8, line[0][1] - 6), f"{value:.4g}", fill=INK)
    for step in steps:
        x, _ = to_pixels(step, grid[0])
        draw.text((x - 12, BOTTOM + 8), f"{step:.0f}", fill=INK)
    draw.text(((LEFT + RIGHT) / 2 - 12, BOTTOM + 8), "step", fill=INK)


def _draw_curve(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: tuple[int, int, int]
) -> None:
    """Draw a line through points in pixels, with dots unless they are many."""
    if len(points) > 1:
        draw.line(list(points), fill=colour, width=2)
    dots = points if len(points) < MAX_DOTTED_POINTS else points[-1:]
    for x, y in dots:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)


def _finite_points(curve: Curve) -> Float[np.ndarray, "n 2"]:
    points = np.array(curve, dtype=np.float64).reshape(-1, 2)
    return points[np.isfinite(points).all(axis=1)]


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return an interval of positive length that holds all values."""
    low, high = min(values), max(values)
    if low == high:
        return low - 0.5, high + 0.5
    return low, high


def round_values(low: float, high: float, most: int = 5) -> list[float]:
    """Return the ends of at most `most` intervals of round length (1, 2 or 5 times a power of ten) over low to high."""
    power = math.floor(math.log10((high - low) / most))
    for exponent in range(power, power + 3):
        for factor in (1, 2, 5):
            length = factor * 10.0**exponent
            first, last = math.floor(low / length), math.ceil(high / length)
            if last - first <= most:
                return [number * length for number in range(first, last + 1)]
    raise AssertionError("a longer interval always holds")


# --- Worst predictions ------------------------------------------------------------------------------------------------


def draw_worst_cases(path: Path, cases: Sequence[ValidationCase]) -> None:
    """Draw cases one below the other, the truth on the left, the prediction on the right; no file without a case."""
    rows = [draw_case(case) for case in cases]
    if not rows:
        return
    figure = Image.new(
        "RGB", (2 * CASE_SIDE, HEADER_HEIGHT + sum(row.height for row in rows)), BACKGROUND
    )
    draw = ImageDraw.Draw(figure)
    draw.text((4, 5), "the truth", fill=TRUE_COLOUR)
    draw.text((CASE_SIDE + 4, 5), "the answer", fill=PREDICTED_COLOUR)
    top = HEADER_HEIGHT
    for row in rows:
        figure.paste(row, (0, top))
        top += row.height
    write_png(path, figure)


def draw_case(case: ValidationCase) -> Image.Image:
    """Draw truth and prediction of one case side by side, below a line of text."""
    pixels = case.dataset.pixels(case.photo)
    height, width = pixels.shape[:2]
    scale = CASE_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    figure = Image.new("RGB", (2 * CASE_SIDE, size[1] + HEADER_HEIGHT), BACKGROUND)
    header = f"IoU {case.iou:.0f}%   {case.prompt}   {case.photo.path.name}"
    ImageDraw.Draw(figure).text((4, 5), header, fill=INK)
    truth = Image.fromarray(tint(pixels, case.truth, TRUE_COLOUR)).resize(size)
    predicted = Image.fromarray(tint(pixels, case.predicted, PREDICTED_COLOUR)).resize(size)
    figure.paste(truth, (0, HEADER_HEIGHT))
    figure.paste(predicted, (CASE_SIDE, HEADER_HEIGHT))
    return figure


def tint(
    pixels: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], colour: tuple[int, int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Return an image with a colour over the pixels of a mask."""
    tinted = pixels.copy()
    tinted[mask] = (0.45 * tinted[mask] + 0.55 * np.array(colour)).astype(np.uint8)
    return np.asarray(tinted)


def write_png(path: Path, figure: Image.Image) -> None:
    """Write a PNG file aside, then rename it."""
    with atomic_write(path) as aside:
        figure.save(aside, format="PNG")
