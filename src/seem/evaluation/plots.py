"""Plots of reports: IoU over clicks, scores of classes as bars, and the cases with the lowest scores.

Curves and bars need matplotlib, which `pip install "seem[evaluate]"` installs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from seem.checkpoints.safe import atomic_write
from seem.data import coco_rle
from seem.data.dataset import Dataset
from seem.errors import SeemError
from seem.evaluation.compare import LoadedReport
from seem.evaluation.formatting import describe_sample, method_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_BARS = 40
CURVES_SIZE = (7.0, 4.5)  # inches

TILE_WIDTH, TILE_HEIGHT = 240, 180  # pixels of the image of a case
TILES_PER_ROW = 4
TILE_MARGIN = 3  # pixels
CAPTION_HEIGHT = 28  # pixels of text under a case
MAX_CAPTION_LENGTH = 40  # characters of a line
LEGEND_HEIGHT = 20  # pixels of the line that explains the colours
LEGEND_STEP = 85  # pixels from one colour of the legend to the next

TRUTH_COLOUR = (40, 200, 80)
PREDICTION_COLOUR = (230, 60, 60)
OVERLAP_COLOUR = (160, 115, 68)  # one painted over the other
OPACITY = 0.45

PixelArray: TypeAlias = UInt8[np.ndarray, "h w 3"]
MaskArray: TypeAlias = Bool[np.ndarray, "h w"]


def plot(
    reports: Sequence[LoadedReport], folder: Path, datasets: Sequence[Dataset] = ()
) -> list[Path]:
    """Draw all plots of reports and return their files; worst cases need the data sets themselves.

    Raises `SeemError` where matplotlib is missing, or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [*plot_clicks(reports, folder), *plot_classes(reports, folder)]
    for dataset in datasets:
        files += worst_cases(reports, dataset, folder)
    return files


# --- Curves and bars --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Curve:
    """The mean IoU after each number of clicks of one method."""

    method: str
    sample: str
    mean_iou: Mapping[str, float]


def plot_clicks(reports: Sequence[LoadedReport], folder: Path) -> Iterator[Path]:
    """Plot the mean IoU over clicks: a file for each data set and protocol, a curve for each method.

    The size of the sample stands in the title, or at each curve where samples differ.
    """
    for (data, protocol), curves in _collect_curves(reports).items():
        file = folder / f"{_file_stem(data, protocol)}.png"
        has_one_sample = len({curve.sample for curve in curves}) == 1
        title = f"{data}: {protocol}"
        if has_one_sample:
            title += f", {curves[0].sample}"
        with _Figure(file, CURVES_SIZE) as axes:
            all_clicks: set[int] = set()
            for curve in curves:
                clicks = sorted(map(int, curve.mean_iou))
                all_clicks.update(clicks)
                label = curve.method
                if not has_one_sample:
                    label += f", {curve.sample}"
                axes.plot(clicks, [curve.mean_iou[str(k)] for k in clicks], marker="o", label=label)
            axes.set_xticks(sorted(all_clicks))
            axes.set(xlabel="clicks", ylabel="mean IoU, %", ylim=(0, 100), title=title)
            axes.grid(alpha=0.3)
            axes.legend()
        yield file


def _collect_curves(reports: Sequence[LoadedReport]) -> dict[tuple[str, str], list[_Curve]]:
    """Return the curves of all reports by data set and protocol."""
    curves: dict[tuple[str, str], list[_Curve]] = {}
    for report in reports:
        for entry in report.entries:
            if "noc" not in entry["scores"]:
                continue
            method = method_label(entry["contestant"], report.label)
            if (
                method == entry["contestant"] and len(reports) > 1
            ):  # a baseline, which every report may have
                method = f"{method} ({report.label})"
            selection = entry["selection"]
            sample = describe_sample(entry["protocol"], selection)
            key = (selection["set_name"], entry["protocol"])
            curves.setdefault(key, []).append(_Curve(method, sample, entry["scores"]["mean_iou"]))
    return curves


def plot_classes(reports: Sequence[LoadedReport], folder: Path) -> Iterator[Path]:
    """Plot each class as a bar, the best first: a file for each report, data set and protocol that has classes."""
    for report in reports:
        for entry in report.entries:
            scores = per_class_scores(report, entry)
            if scores:
                yield _plot_bars(report, entry, scores, folder)


def _plot_bars(
    report: LoadedReport, entry: dict[str, Any], scores: Mapping[str, float], folder: Path
) -> Path:
    bars = sorted(scores.items(), key=lambda bar: -bar[1])
    half = MAX_BARS // 2
    data, protocol = entry["selection"]["set_name"], entry["protocol"]
    title = f"{report.label}, {data}: {protocol}"
    if len(bars) > MAX_BARS:
        title += f" (best and worst {half} of {len(bars)})"
        bars = [*bars[:half], *bars[-half:]]
    file = folder / f"{_file_stem(report.label, data, protocol, 'classes')}.png"
    names, values = zip(*bars, strict=True)
    with _Figure(file, (7.0, 1.2 + 0.22 * len(bars))) as axes:
        axes.barh(names, values)
        axes.invert_yaxis()
        axes.set(xlim=(0, 100), title=title)
        axes.grid(axis="x", alpha=0.3)
    return file


def per_class_scores(report: LoadedReport, entry: dict[str, Any]) -> dict[str, float]:
    """Return the PQ, AP or IoU of each class by its name."""
    scores = entry["scores"].get("scores", entry["scores"])
    per_class = scores.get("per_class")
    if per_class is None:
        return {}
    class_names: dict[str, str] = report.dataset(entry["selection"]["set_name"]).get("classes", {})
    if isinstance(per_class, dict):
        return _semantic_scores(per_class, list(class_names.values()))
    score_of_class = {}
    for row in per_class:
        score = row["pq"] if "pq" in row else row["ap"]
        if score is not None:
            category = str(row["category"])
            score_of_class[class_names.get(category, category)] = score
    return score_of_class


def _semantic_scores(
    per_class: Mapping[str, float | None], names: Sequence[str]
) -> dict[str, float]:
    """Return the IoUs of a semantic score, whose keys are indices of classes."""
    score_of_class = {}
    for index, iou in per_class.items():
        if iou is not None and int(index) < len(names):
            score_of_class[names[int(index)]] = iou
    return score_of_class


class _Figure:
    """A matplotlib figure that is written to a file when it is complete."""

    def __init__(self, file: Path, inches: tuple[float, float]) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise SeemError(
                'Plots need matplotlib; install it with pip install "seem[evaluate]".'
            ) from None
        self._file = file
        self._figure = Figure(figsize=inches, layout="constrained")

    def __enter__(self) -> Axes:
        return self._figure.add_subplot()

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            with atomic_write(self._file) as aside:
                self._figure.savefig(aside, format="png", dpi=120)


# --- Worst cases ------------------------------------------------------------------------------------------------------


def worst_cases(reports: Sequence[LoadedReport], dataset: Dataset, folder: Path) -> Iterator[Path]:
    """Draw the cases with the lowest scores: missed pixels in green, surplus ones in red, correct ones in both."""
    images = {image.id: image for image in dataset.images}
    for report in reports:
        for entry in report.entries:
            selection = entry["selection"]
            is_of_dataset = (selection["set_name"], selection["split"]) == (
                dataset.name,
                dataset.split,
            )
            if not is_of_dataset or not entry.get("worst"):
                continue
            tiles = []
            for case in entry["worst"]:
                image = images.get(case["photo"])
                if image is not None:
                    tiles.append(_draw_case(dataset.pixels(image), case))
            stem = _file_stem(
                report.label, dataset.name, entry["protocol"], entry["contestant"], "worst"
            )
            file = folder / f"{stem}.png"
            with atomic_write(file) as aside:
                contact_sheet(tiles).save(aside, format="png")
            yield file


def contact_sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """Place images of one size in rows, below a legend of the colours."""
    column_width = TILE_WIDTH + 2 * TILE_MARGIN
    row_height = TILE_HEIGHT + CAPTION_HEIGHT + 2 * TILE_MARGIN
    num_rows = -(-len(tiles) // TILES_PER_ROW)
    num_columns = min(TILES_PER_ROW, len(tiles))
    size = (column_width * num_columns, LEGEND_HEIGHT + row_height * num_rows)
    sheet = Image.new("RGB", size, "white")
    _draw_legend(sheet)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, TILES_PER_ROW)
        left = column * column_width + TILE_MARGIN
        top = LEGEND_HEIGHT + row * row_height + TILE_MARGIN
        sheet.paste(tile, (left, top))
    return sheet


def _draw_legend(sheet: Image.Image) -> None:
    draw = ImageDraw.Draw(sheet)
    left = 5
    for text, colour in (
        ("missed", TRUTH_COLOUR),
        ("too much", PREDICTION_COLOUR),
        ("right", OVERLAP_COLOUR),
    ):
        draw.rectangle((left, 5, left + 10, 15), fill=colour)
        draw.text((left + 15, 4), text, fill="black")
        left += LEGEND_STEP


def _draw_case(pixels: PixelArray, case: dict[str, Any]) -> Image.Image:
    height, width = case["hw"]
    hw = (int(height), int(width))
    truth = coco_rle.rle_to_mask(case["truth"], hw)
    predicted = coco_rle.rle_to_mask(case["predicted"], hw)
    overlay = Image.fromarray(_overlay(pixels, truth, predicted))
    overlay.thumbnail((TILE_WIDTH, TILE_HEIGHT))
    tile = Image.new("RGB", (TILE_WIDTH, TILE_HEIGHT + CAPTION_HEIGHT), "white")
    tile.paste(overlay, ((TILE_WIDTH - overlay.width) // 2, (TILE_HEIGHT - overlay.height) // 2))
    draw = ImageDraw.Draw(tile)
    draw.text(
        (2, TILE_HEIGHT + 1), _caption(f"IoU {case['iou']:.1f}%  {case['title']}"), fill="black"
    )
    draw.text((2, TILE_HEIGHT + 14), _caption(f"{case['file']} {case['what']}"), fill="grey")
    return tile


def _caption(text: str) -> str:
    """Cut a text to the width of a tile, without characters that the font does not have."""
    return text.encode("ascii", "replace").decode()[:MAX_CAPTION_LENGTH]


def _overlay(pixels: PixelArray, truth: MaskArray, predicted: MaskArray) -> PixelArray:
    blended = pixels.astype(np.float32)
    for mask, colour in ((truth, TRUTH_COLOUR), (predicted, PREDICTION_COLOUR)):
        blended[mask] = (1 - OPACITY) * blended[mask] + OPACITY * np.array(colour)
    return np.asarray(blended.round(), np.uint8)


def _file_stem(*parts: str) -> str:
    """Join parts to a file name without special characters."""
    return "_".join(map(_without_special_characters, parts))


def _without_special_characters(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-")
