"""Clicks, rule `seem`: the number of clicks as the released SEEM code measures it.

Up to `OBJECTS_PER_SAMPLE` objects of an image are predicted in one pass and corrected together, each by its own clicks.
The simulated user sees the network's frame: the next click is that of `seem_next_clicks`, at network size on the padded
canvas, 3x3 pixels, and there is none on an object with an IoU of 0.925 or more. IoU is measured at the size of the
stored image. When all objects of a sample are above `STOP_IOU` there, the sample ends and their IoU counts for the
clicks to come.

The image is encoded once for all its objects. A model that takes one object a pass predicts them one after the other;
the rule that ends a sample still covers all. Images have the model's own input size.

Known difference from the released code: random numbers follow `draws` (see `models.decoder.draws`). Objects are those
of `protocols.clicks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.data.dataset import Dataset
from seem.data.records import ObjectRecord
from seem.encoded_image import EncodedImage
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.metrics.clicks import NOC_THRESHOLDS, ClickScores
from seem.evaluation.metrics.overlap import Overlap
from seem.evaluation.protocols.clicks import area_rule, clicked_objects, min_area
from seem.models.decoder.draws import Draws, FairDraws
from seem.models.ops.masks import resize
from seem.models.precision import arithmetic
from seem.models.structures import VisualPrompts
from seem.simulation.next_click import PointPrompts, seem_first_clicks, seem_next_clicks
from seem.tasks.interactive import segment_objects
from seem.tasks.postprocess import ImageFrame

PROTOCOL = "clicks: seem"
OBJECTS_PER_SAMPLE = 5
STOP_IOU = 0.9
THRESHOLDS = (0.5, *NOC_THRESHOLDS)
MASK_STRIDE = (
    4  # network pixels per pixel of the mask logits that a model takes as previous prediction
)
RULES = (
    f"up to {OBJECTS_PER_SAMPLE} objects together",
    "clicks at network size on the padded canvas",
    f"a sample ends when all its objects are above {STOP_IOU}",
    "IoU at original size",
)

Item = TypeVar("Item")
MaskBatch: TypeAlias = Bool[Tensor, "n h w"]
LogitBatch: TypeAlias = Float[Tensor, "n h w"]


@runtime_checkable
class ObjectPredictor(Protocol):
    """An encoded image in the network's frame that predicts several objects from clicks."""

    @property
    def frame(self) -> ImageFrame:
        """The sizes of the image."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of the predictions."""
        ...

    def predict(
        self, clicks: PointPrompts, previous: LogitBatch | None
    ) -> Float[Tensor, "n h4 w4"]:
        """Return mask logits of N objects, given all their clicks and the previous prediction."""
        ...


@dataclass(frozen=True, slots=True)
class EncodedImagePredictor:
    """Predicts objects of an image that a model has encoded."""

    encoded: EncodedImage
    draws: Draws

    @property
    def frame(self) -> ImageFrame:
        """The sizes of the image; this protocol resizes bilinearly whatever the model."""
        batch = self.encoded.batch
        return ImageFrame(batch.padded_hw, batch.input_hw[0], self.encoded.hw)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.encoded.model.device

    def predict(
        self, clicks: PointPrompts, previous: LogitBatch | None
    ) -> Float[Tensor, "n h4 w4"]:
        """Decode the objects of a sample: in one pass, or one by one where a pass takes a single object."""
        model = self.encoded.model
        if model.network.decoder.policy.takes_many:
            passes: list[slice] = [slice(None)]
        else:
            passes = [slice(row, row + 1) for row in range(len(clicks.positive))]
        logits = []
        with arithmetic(model.device, model.precision):
            for rows in passes:
                prompts = VisualPrompts(clicks.positive[None, rows], clicks.negative[None, rows])
                resized = None
                if previous is not None:
                    resized = self._resize_previous(previous[None, rows])
                objects = segment_objects(
                    model.network,
                    self.encoded.encoding,
                    prompts,
                    self.draws,
                    previous=resized,
                )
                logits.append(objects.logits[0])
        return torch.cat(logits).float()

    def _resize_previous(self, logits: Float[Tensor, "1 n h w"]) -> Float[Tensor, "1 n h4 w4"]:
        """Resize a previous prediction to stride 4; a dense head predicts at a finer one."""
        height, width = self.frame.padded_hw
        strided_hw = (height // MASK_STRIDE, width // MASK_STRIDE)
        if logits.shape[-2:] == strided_hw:
            return logits
        return F.adaptive_avg_pool2d(logits, strided_hw)


@dataclass(slots=True)
class SampleScores:
    """IoUs (0-1) of the objects of one sample, a list for every round of clicks."""

    ious: list[list[float]] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Whether all objects are above `STOP_IOU`."""
        return bool(self.ious) and all(iou > STOP_IOU for iou in self.ious[-1])

    def by_object(self, clicks: int) -> Iterator[list[float]]:
        """Return the IoUs of every object after 1, 2, ... clicks; the last round counts for all missing ones."""
        missing = clicks - len(self.ious)
        rounds = self.ious + self.ious[-1:] * missing
        return map(list, zip(*rounds, strict=True))


def seem_click_benchmark(
    dataset: Dataset, max_clicks: int = 20, draws: Draws | None = None
) -> Benchmark:
    """Score up to `max_clicks` rounds of clicks on the objects of an image, `OBJECTS_PER_SAMPLE` at a time."""
    rules = (*RULES, area_rule(min_area(dataset)))
    return Benchmark(
        title=PROTOCOL,
        specs=(EntrySpec(PROTOCOL, "model", lambda: ClickScores(max_clicks, THRESHOLDS), rules),),
        items=lambda image: clicked_objects(dataset, image),
        evaluate=_SeemClickEvaluation(max_clicks, draws or FairDraws()).evaluate,
    )


@dataclass(frozen=True, slots=True)
class _SeemClickEvaluation:
    max_clicks: int
    draws: Draws

    def evaluate(
        self,
        context: EvaluationContext,
        objects: Sequence[ObjectRecord],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        (accumulator,) = accumulators
        encoded = context.encoded
        assert isinstance(encoded, EncodedImage)
        predictor = _TimedPredictor(
            EncodedImagePredictor(encoded, self.draws), context, accumulator
        )
        counts = accumulator.counts
        counts.update({"samples": 0, "samples that ended early": 0, "too small to click": 0})
        for sample in in_batches(objects, OBJECTS_PER_SAMPLE):
            truth = np.stack([record.mask() for record in sample])
            with context.timing_user():
                canvas_truth = resize_to_canvas(truth, predictor.frame).to(predictor.device)
                first = seem_first_clicks(canvas_truth)
            scores = simulate_session(
                predictor,
                truth,
                canvas_truth,
                first,
                self.max_clicks,
                context.timing_user,
            )
            is_visible = canvas_truth.flatten(1).any(dim=1)
            counts["samples"] += 1
            counts["samples that ended early"] += len(scores.ious) < self.max_clicks
            counts["too small to click"] += int((~is_visible).sum())
            for record, ious in zip(sample, scores.by_object(self.max_clicks), strict=True):
                accumulator.metric.update(ious)
                context.record_item(accumulator, record.id)


def simulate_session(
    predictor: ObjectPredictor,
    truth: Bool[np.ndarray, "n H W"],
    canvas_truth: MaskBatch,
    first: MaskBatch,
    clicks: int,
    timing_user: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> SampleScores:
    """Simulate the user of one sample, and score every round of clicks.

    Args:
        predictor: predicts the objects.
        truth: the objects at the size of the image, for scores.
        canvas_truth: the same on the padded canvas, for clicks.
        first: the first click on each object.
        clicks: greatest number of rounds.
        timing_user: a context that is entered while the user chooses clicks.
    """
    scores = SampleScores()
    prompts = PointPrompts(first, torch.zeros_like(first))
    logits: LogitBatch | None = None
    image_truth = torch.from_numpy(truth).to(predictor.device)
    while True:
        logits = predictor.predict(prompts, logits)
        scores.ious.append(object_ious(logits, image_truth, predictor.frame))
        if scores.is_finished or len(scores.ious) == clicks:
            return scores
        with timing_user():
            prompts = seem_next_clicks(canvas_truth, logits, prompts.positive, prompts.negative)


def object_ious(logits: LogitBatch, truth: Bool[Tensor, "n H W"], frame: ImageFrame) -> list[float]:
    """Return the IoU of each object at the size of the image; this protocol resizes bilinearly in two steps."""
    height, width = frame.input_hw
    unpadded = resize(logits[None], frame.padded_hw)[..., :height, :width]
    predicted = resize(unpadded, frame.output_hw)[0].sigmoid() > 0.5
    intersections = (predicted & truth).sum(dim=(1, 2)).tolist()
    unions = (predicted | truth).sum(dim=(1, 2)).tolist()
    return [overlap.iou for overlap in map(Overlap, intersections, unions)]


def resize_to_canvas(truth: Bool[np.ndarray, "n H W"], frame: ImageFrame) -> MaskBatch:
    """Resize masks to network size, with empty padding.

    As in the released code a pixel is inside wherever cubic interpolation does not give exactly zero, undershoots
    included: masks grow by a pixel or two.
    """
    import cv2

    height, width = frame.input_hw
    canvas = torch.zeros(len(truth), *frame.padded_hw, dtype=torch.bool)
    for row, mask in enumerate(truth):
        resized = cv2.resize(
            mask.astype(np.float64), (width, height), interpolation=cv2.INTER_CUBIC
        )
        canvas[row, :height, :width] = torch.from_numpy(resized != 0)
    return canvas


def in_batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Split a sequence into batches of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


@dataclass(frozen=True, slots=True)
class _TimedPredictor:
    """A predictor whose predictions are timed and checked for NaN."""

    predictor: ObjectPredictor
    context: EvaluationContext
    accumulator: ScoreAccumulator

    @property
    def frame(self) -> ImageFrame:
        return self.predictor.frame

    @property
    def device(self) -> torch.device:
        return self.predictor.device

    def predict(
        self, clicks: PointPrompts, previous: LogitBatch | None
    ) -> Float[Tensor, "n h4 w4"]:
        with self.context.timing(self.accumulator, "click"):
            logits = self.predictor.predict(clicks, previous)
        if not bool(torch.isfinite(logits).all()):
            raise ValueError(
                "the model predicted mask logits that are NaN or infinite; its weights are broken"
            )
        return logits
