"""Robustness: the first click on an object, on its photo as stored and on the same photo changed.

Each change is one that a person hardly minds: a quarter turn, a mirror, less light, half the size, a coarse JPEG. The
click is the first one of rule `ritm` on the stored photo and moves with the photo; the answer is brought back to the
stored frame, and IoU is taken there (a mask from half the size with its pixels doubled). Told is the mean IoU after
that click, and by how much it falls. Objects are those of `protocols.clicks` on the photo pack: things of 0.5% of the
photo or more.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from seem.data.dataset import MIN_AREA_FRACTION, Dataset, promptable_objects
from seem.data.records import ObjectRecord
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.interfaces import Seen, region
from seem.evaluation.metrics.overlap import Overlap
from seem.evaluation.metrics.robustness import RobustnessScores
from seem.evaluation.protocols.clicks import area_rule
from seem.prompts import Point
from seem.simulation.next_click import Click, first_click

PROTOCOL = "robustness: 1 click"
DIMMED = 0.4  # of the light, in stored (gamma) values
QUALITY = 30  # of the JPEG

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]
Region: TypeAlias = Bool[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a photo.

    Attributes:
        name: what it is called in the report.
        make: changes the photo.
        move: says where a pixel (x, y) of a stored photo of (height, width) lies in the changed one.
        undo: brings a mask back to the frame of the stored photo of (height, width).
    """

    name: str
    make: Callable[[Picture], Picture]
    move: Callable[[int, int, tuple[int, int]], tuple[int, int]] = lambda x, y, hw: (x, y)  # noqa: ARG005
    undo: Callable[[Region, tuple[int, int]], Region] = lambda mask, hw: mask  # noqa: ARG005


def _half(photo: Picture) -> UInt8[np.ndarray, "h2 w2 3"]:
    height, width = photo.shape[:2]
    size = (-(-width // 2), -(-height // 2))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def _doubled(mask: Bool[np.ndarray, "h2 w2"], hw: tuple[int, int]) -> Region:
    return np.asarray(mask.repeat(2, axis=0).repeat(2, axis=1)[: hw[0], : hw[1]])


def _coarse(photo: Picture) -> Picture:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


STORED = Change("as stored", lambda photo: photo)

CHANGES = (
    Change(
        "turned by 90 degrees",  # anticlockwise
        lambda photo: np.ascontiguousarray(np.rot90(photo)),
        lambda x, y, hw: (y, hw[1] - 1 - x),
        lambda mask, hw: np.rot90(mask, -1),  # noqa: ARG005
    ),
    Change(
        "mirrored",
        lambda photo: np.ascontiguousarray(photo[:, ::-1]),
        lambda x, y, hw: (hw[1] - 1 - x, y),
        lambda mask, hw: mask[:, ::-1],  # noqa: ARG005
    ),
    Change("dimmed", lambda photo: (photo * DIMMED).round().astype(np.uint8)),
    Change("half size", _half, lambda x, y, hw: (x // 2, y // 2), _doubled),  # noqa: ARG005
    Change(f"JPEG quality {QUALITY}", _coarse),
)


def robustness(dataset: Dataset) -> Measure:
    """Click once on each object, on the stored photo and on every changed one."""
    rules = (
        area_rule(MIN_AREA_FRACTION),
        "first ritm click on the stored photo",
        f"dimmed to {DIMMED:g} of the stored values",
    )
    names = [change.name for change in CHANGES]
    return Measure(
        PROTOCOL,
        (Line(PROTOCOL, "model", lambda: RobustnessScores(names), rules),),
        lambda photo: promptable_objects(dataset, photo),
        _play,
    )


def _play(look: Look, objects: Sequence[ObjectRecord], tallies: Sequence[Tally]) -> None:
    (tally,) = tallies
    stored = _answers(look, look.seen, STORED, objects, tally)
    changed = [
        _answers(look, look.encode(change.make(look.pixels), tally, "encode the changed photo"), change, objects, tally)
        for change in CHANGES
    ]
    names = [change.name for change in CHANGES]
    for item, iou, *ious in zip(objects, stored, *changed, strict=True):
        tally.metric.update(iou, dict(zip(names, ious, strict=True)))
        tally.note(look.place, look.photo, item.id)


def _answers(look: Look, seen: Seen, change: Change, objects: Sequence[ObjectRecord], tally: Tally) -> list[float]:
    """Click once on each object of a changed photo; return the IoUs in the stored frame."""
    ious, hw = [], look.photo.hw
    for item in objects:
        truth = item.mask()
        click = _middle(truth)
        point = Point(*change.move(click.x, click.y, hw))
        with look.asking(tally, "click"):
            answer = region(seen.segment(point))
        ious.append(Overlap.of(change.undo(answer, hw), truth).iou)
    return ious


def _middle(truth: Region) -> Click:
    click = first_click(truth)
    assert click is not None  # an object covers at least a pixel
    return click
