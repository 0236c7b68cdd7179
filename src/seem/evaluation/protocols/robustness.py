"""Robustness: the first click on an object, on its image as stored and on the same image changed.

Each change is one that people hardly notice: a quarter turn, a mirror, less light, half the size, a coarse JPEG. The
click is the first one of rule `ritm` on the stored image and moves with the image; the prediction is brought back to
the stored frame, and IoU is measured there (a mask from half the size with its pixels doubled). The scores are the mean
IoU after that click, and by how much it falls. Objects are those of `protocols.clicks` on the photo pack: things of
0.5% of the image or more.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from seem.data.dataset import Dataset
from seem.data.object_selection import MIN_AREA_FRACTION, promptable_objects
from seem.data.records import ObjectRecord
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.interfaces import ImageUnderTest, union_mask
from seem.evaluation.metrics.overlap import Overlap
from seem.evaluation.metrics.robustness import RobustnessScores
from seem.evaluation.protocols.clicks import area_rule
from seem.prompts import Point
from seem.simulation.next_click import Click, first_click

PROTOCOL = "robustness: 1 click"
DIMMED_SHARE = 0.4  # of the stored (gamma-encoded) values
JPEG_QUALITY = 30

PixelArray: TypeAlias = UInt8[np.ndarray, "h w 3"]
MaskArray: TypeAlias = Bool[np.ndarray, "h w"]
Size: TypeAlias = tuple[int, int]
"""Height and width of the stored image."""


def _same_position(x: int, y: int, hw: Size) -> tuple[int, int]:  # noqa: ARG001
    return x, y


def _same_mask(mask: MaskArray, hw: Size) -> MaskArray:  # noqa: ARG001
    return mask


@dataclass(frozen=True, slots=True)
class ImageChange:
    """A change of an image.

    Attributes:
        name: its name in the report.
        apply: changes the image.
        move: returns the position in the changed image of a pixel (x, y) of the stored one, whose size is given.
        undo: brings a mask of the changed image back to the frame of the stored one, whose size is given.
    """

    name: str
    apply: Callable[[PixelArray], PixelArray]
    move: Callable[[int, int, Size], tuple[int, int]] = _same_position
    undo: Callable[[MaskArray, Size], MaskArray] = _same_mask


def _rotate(pixels: PixelArray) -> UInt8[np.ndarray, "w h 3"]:
    return np.ascontiguousarray(np.rot90(pixels))  # anticlockwise


def _rotate_position(x: int, y: int, hw: Size) -> tuple[int, int]:
    return y, hw[1] - 1 - x


def _rotate_back(mask: Bool[np.ndarray, "w h"], hw: Size) -> MaskArray:  # noqa: ARG001
    return np.rot90(mask, -1)


def _mirror(pixels: PixelArray) -> PixelArray:
    return np.ascontiguousarray(pixels[:, ::-1])


def _mirror_position(x: int, y: int, hw: Size) -> tuple[int, int]:
    return hw[1] - 1 - x, y


def _mirror_back(mask: MaskArray, hw: Size) -> MaskArray:  # noqa: ARG001
    return mask[:, ::-1]


def _dim(pixels: PixelArray) -> PixelArray:
    return np.asarray((pixels * DIMMED_SHARE).round(), np.uint8)


def _halve(pixels: PixelArray) -> UInt8[np.ndarray, "h2 w2 3"]:
    height, width = pixels.shape[:2]
    half_size = (-(-width // 2), -(-height // 2))  # rounded up
    return np.asarray(Image.fromarray(pixels).resize(half_size, Image.Resampling.LANCZOS))


def _halve_position(x: int, y: int, hw: Size) -> tuple[int, int]:  # noqa: ARG001
    return x // 2, y // 2


def _double_mask(mask: Bool[np.ndarray, "h2 w2"], hw: Size) -> MaskArray:
    height, width = hw
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1)
    return np.asarray(doubled[:height, :width])


def _compress(pixels: PixelArray) -> PixelArray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


UNCHANGED = ImageChange("as stored", lambda pixels: pixels)

CHANGES = (
    ImageChange("turned by 90 degrees", _rotate, _rotate_position, _rotate_back),
    ImageChange("mirrored", _mirror, _mirror_position, _mirror_back),
    ImageChange("dimmed", _dim),
    ImageChange("half size", _halve, _halve_position, _double_mask),
    ImageChange(f"JPEG quality {JPEG_QUALITY}", _compress),
)


def robustness_benchmark(dataset: Dataset) -> Benchmark:
    """Score one click on each object, on the stored image and on every changed one."""
    rules = (
        area_rule(MIN_AREA_FRACTION),
        "first ritm click on the stored photo",
        f"dimmed to {DIMMED_SHARE:g} of the stored values",
    )
    names = [change.name for change in CHANGES]
    return Benchmark(
        title=PROTOCOL,
        specs=(EntrySpec(PROTOCOL, "model", lambda: RobustnessScores(names), rules),),
        items=lambda image: promptable_objects(dataset, image),
        evaluate=_evaluate,
    )


def _evaluate(
    context: EvaluationContext,
    objects: Sequence[ObjectRecord],
    accumulators: Sequence[ScoreAccumulator],
) -> None:
    (accumulator,) = accumulators
    stored = _click_ious(context, context.encoded, UNCHANGED, objects, accumulator)
    changed = {}
    for change in CHANGES:
        pixels = change.apply(context.pixels)
        encoded = context.encode_pixels(pixels, accumulator, "encode the changed photo")
        changed[change.name] = _click_ious(context, encoded, change, objects, accumulator)
    for index, record in enumerate(objects):
        changed_ious = {name: ious[index] for name, ious in changed.items()}
        accumulator.metric.update(stored[index], changed_ious)
        context.record_item(accumulator, record.id)


def _click_ious(
    context: EvaluationContext,
    encoded: ImageUnderTest,
    change: ImageChange,
    objects: Sequence[ObjectRecord],
    accumulator: ScoreAccumulator,
) -> list[float]:
    """Click once on each object of a changed image; return the IoUs (0-1) in the stored frame."""
    ious = []
    hw = context.image.hw
    for record in objects:
        truth = record.mask()
        click = _first_click(truth)
        x, y = change.move(click.x, click.y, hw)
        with context.timing(accumulator, "click"):
            predicted = union_mask(encoded.segment(Point(x, y)))
        ious.append(Overlap.of(change.undo(predicted, hw), truth).iou)
    return ious


def _first_click(truth: MaskArray) -> Click:
    click = first_click(truth)
    assert click is not None  # an object covers at least a pixel
    return click
