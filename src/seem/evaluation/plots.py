"""Pictures of reports: IoU over clicks, classes as bars, and the cases that went worst.

Curves and bars need matplotlib, which `pip install "seem[evaluate]"` brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from seem.checkpoints.safe import atomic_write
from seem.data import coco_rle
from seem.data.dataset import Dataset
from seem.errors import SeemError
from seem.evaluation.compare import LoadedReport
from seem.evaluation.formatting import taken_on, who

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 40
TILE = (240, 180)  # width, height of a case
ACROSS = 4
CAPTION = 28  # pixels of text under a case
TRUTH, TOLD = (40, 200, 80), (230, 60, 60)
BOTH = (160, 115, 68)  # one over the other
LEGEND = 20  # pixels of the line that explains the colours


def plot(reports: Sequence[LoadedReport], folder: Path, datasets: Sequence[Dataset] = ()) -> list[Path]:
    """Draw everything that there is to draw; returns the files. Worst cases need the data sets themselves.

    Raises `SeemError` where matplotlib is missing, or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [*plot_clicks(reports, folder), *plot_classes(reports, folder)]
    for dataset in datasets:
        drawn += worst_cases(reports, dataset, folder)
    return drawn


# --- Curves and bars --------------------------------------------------------------------------------------------------


def plot_clicks(reports: Sequence[LoadedReport], folder: Path) -> Iterator[Path]:
    """Draw the mean IoU over clicks: a picture for each data set and protocol, a curve for each who was asked.

    It says on how many objects: once, or at each curve where they differ.
    """
    curves: dict[tuple[str, str], list[tuple[str, str, Mapping[str, float]]]] = {}
    for report in reports:
        for entry in report.entries:
            if "noc" in entry["scores"]:
                name = who(entry["contestant"], report.label)
                if name == entry["contestant"] and len(reports) > 1:
                    name = f"{name} ({report.label})"
                chosen = entry["selection"]
                taken = taken_on(entry["protocol"], chosen)
                key = (chosen["set_name"], entry["protocol"])
                curves.setdefault(key, []).append((name, taken, entry["scores"]["mean_iou"]))
    for (data, protocol), drawn in curves.items():
        once = len({taken for _, taken, _ in drawn}) == 1
        title = f"{data}: {protocol}" + (f", {drawn[0][1]}" if once else "")
        with _Picture(folder / f"{_stem(data, protocol)}.png", (7.0, 4.5)) as axes:
            for name, taken, ious in drawn:
                clicks = sorted(map(int, ious))
                label = name if once else f"{name}, {taken}"
                axes.plot(clicks, [ious[str(k)] for k in clicks], marker="o", label=label)
            axes.set_xticks(sorted({int(k) for _, _, ious in drawn for k in ious}))
            axes.set(xlabel="clicks", ylabel="mean IoU, %", ylim=(0, 100), title=title)
            axes.grid(alpha=0.3)
            axes.legend()
        yield folder / f"{_stem(data, protocol)}.png"


def plot_classes(reports: Sequence[LoadedReport], folder: Path) -> Iterator[Path]:
    """Draw each class as a bar, the best first: a picture for each report, data set and protocol that has them."""
    for report in reports:
        for entry in report.entries:
            bars = sorted(class_scores(report, entry).items(), key=lambda bar: -bar[1])
            if not bars:
                continue
            shown = bars if len(bars) <= MOST_BARS else [*bars[: MOST_BARS // 2], *bars[-MOST_BARS // 2 :]]
            data, protocol = entry["selection"]["set_name"], entry["protocol"]
            place = folder / f"{_stem(report.label, data, protocol, 'classes')}.png"
            with _Picture(place, (7.0, 1.2 + 0.22 * len(shown))) as axes:
                axes.barh([name for name, _ in shown], [value for _, value in shown])
                axes.invert_yaxis()
                of = "" if len(shown) == len(bars) else f" (best and worst {MOST_BARS // 2} of {len(bars)})"
                axes.set(xlim=(0, 100), title=f"{report.label}, {data}: {protocol}{of}")
                axes.grid(axis="x", alpha=0.3)
            yield place


def class_scores(report: LoadedReport, entry: dict[str, Any]) -> dict[str, float]:
    """Return the score of each class by its name: PQ, AP or IoU."""
    scores = entry["scores"].get("scores", entry["scores"])
    rows = scores.get("per_class")
    if rows is None:
        return {}
    wanted = entry["selection"]["set_name"]
    cards = [card for card in report.content.get("data", ()) if card["name"] == wanted]
    classes: dict[str, str] = cards[0]["classes"] if cards else {}
    if isinstance(rows, dict):  # of a semantic score: by the place in the list of classes
        names = [*classes.values()]
        return {names[int(k)]: value for k, value in rows.items() if value is not None and int(k) < len(names)}
    return {
        classes.get(str(row["category"]), str(row["category"])): row["pq" if "pq" in row else "ap"]
        for row in rows
        if row["pq" if "pq" in row else "ap"] is not None
    }


class _Picture:
    """A matplotlib picture that becomes a file when all is drawn."""

    def __init__(self, place: Path, inches: tuple[float, float]) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise SeemError('Plots need matplotlib; install it with pip install "seem[evaluate]".') from None
        self._place = place
        self._figure = Figure(figsize=inches, layout="constrained")

    def __enter__(self) -> Axes:
        return self._figure.add_subplot()

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            with atomic_write(self._place) as aside:
                self._figure.savefig(aside, format="png", dpi=120)


# --- Worst cases ------------------------------------------------------------------------------------------------------


def worst_cases(reports: Sequence[LoadedReport], dataset: Dataset, folder: Path) -> Iterator[Path]:
    """Draw the cases that went worst: what was missed in green, what is too much in red, what is right in both."""
    photos = {photo.id: photo for photo in dataset.images}
    for report in reports:
        for entry in report.entries:
            chosen = entry["selection"]
            if (chosen["set_name"], chosen["split"]) != (dataset.name, dataset.split) or not entry.get("worst"):
                continue
            cases = [case for case in entry["worst"] if case["photo"] in photos]
            tiles = [_tile(dataset.pixels(photos[case["photo"]]), case) for case in cases]
            place = folder / f"{_stem(report.label, dataset.name, entry['protocol'], entry['contestant'], 'worst')}.png"
            with atomic_write(place) as aside:
                contact_sheet(tiles).save(aside, format="png")
            yield place


def contact_sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """Set pictures of one size in rows, below a line that says which colour is which."""
    width, height = TILE[0] + 6, TILE[1] + CAPTION + 6
    sheet = Image.new("RGB", (width * min(ACROSS, len(tiles)), LEGEND + height * -(-len(tiles) // ACROSS)), "white")
    draw, left = ImageDraw.Draw(sheet), 5
    for text, colour in (("missed", TRUTH), ("too much", TOLD), ("right", BOTH)):
        draw.rectangle((left, 5, left + 10, 15), fill=colour)
        draw.text((left + 15, 4), text, fill="black")
        left += 85
    for number, tile in enumerate(tiles):
        row, column = divmod(number, ACROSS)
        sheet.paste(tile, (column * width + 3, LEGEND + row * height + 3))
    return sheet


def _tile(pixels: UInt8[np.ndarray, "h w 3"], case: dict[str, Any]) -> Image.Image:
    hw = (int(case["hw"][0]), int(case["hw"][1]))
    truth, told = (coco_rle.rle_to_mask(case[name], hw) for name in ("truth", "predicted"))
    painted = Image.fromarray(_painted(pixels, truth, told))
    painted.thumbnail(TILE)
    tile = Image.new("RGB", (TILE[0], TILE[1] + CAPTION), "white")
    tile.paste(painted, ((TILE[0] - painted.width) // 2, (TILE[1] - painted.height) // 2))
    words = f"IoU {case['iou']:.1f}%  {case['title']}".encode("ascii", "replace").decode()
    draw = ImageDraw.Draw(tile)
    draw.text((2, TILE[1] + 1), words[:40], fill="black")
    draw.text((2, TILE[1] + 14), f"{case['file']} {case['what']}".encode("ascii", "replace").decode()[:40], fill="grey")
    return tile


def _painted(
    pixels: UInt8[np.ndarray, "h w 3"], truth: Bool[np.ndarray, "h w"], told: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    mixed = pixels.astype(np.float32)
    for mask, colour in ((truth, np.array(TRUTH)), (told, np.array(TOLD))):
        mixed[mask] = 0.55 * mixed[mask] + 0.45 * colour
    return np.asarray(mixed.round(), np.uint8)


def _stem(*words: str) -> str:
    """Make a file name of words."""
    return "_".join(re.sub(r"[^\w.-]+", "-", word).strip("-") for word in words)
