"""Clicks, rule `seem`: the number of clicks as the released SEEM code takes it.

Up to `TOGETHER` objects of a photo are answered in one pass and corrected together, each by its own clicks. The user
sees the network's frame: answers are clicked where `seem_next_clicks` says, at network size on the padded canvas, 3x3
pixels each, and no more on an object that agrees to 0.925. IoU is taken at the size of the stored photo. Once all
objects of a sample are above `STOPPED_IOU` there, the sample ends and their IoU stands for the clicks to come.

The photo is encoded once for all its objects. A model that answers one object a pass is asked for one after the other;
the rule that ends a sample still looks at all. Photos come at the model's own working size.

Known difference from the released code: what it leaves to chance follows `draws` (see `models.decoder.draws`). Objects
are those of `protocols.clicks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.api import EncodedImage, Model
from seem.data.dataset import Dataset
from seem.data.records import ObjectRecord, ValidationObject
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure, play_all
from seem.evaluation.metrics.clicks import NOC_THRESHOLDS, ClickScores
from seem.evaluation.protocols.clicks import area_rule, clicked_objects, least_area
from seem.evaluation.report import Entry
from seem.models.decoder.draws import Draws, FairDraws
from seem.models.ops.masks import resize
from seem.models.precision import arithmetic
from seem.models.structures import VisualPrompts
from seem.simulation.next_click import PointPrompts, seem_first_clicks, seem_next_clicks
from seem.tasks.interactive import segment_objects
from seem.tasks.postprocess import ImageFrame

PROTOCOL = "clicks: seem"
TOGETHER = 5
STOPPED_IOU = 0.9
THRESHOLDS = (0.5, *NOC_THRESHOLDS)
RULES = (
    f"up to {TOGETHER} objects together",
    "clicks at network size on the padded canvas",
    f"a sample ends when all its objects are above {STOPPED_IOU}",
    "IoU at original size",
)

Item = TypeVar("Item")


@runtime_checkable
class Canvas(Protocol):
    """A photo in the network's frame, ready to be asked about several objects at once."""

    @property
    def frame(self) -> ImageFrame:
        """The sizes of the photo."""
        ...

    @property
    def device(self) -> torch.device:
        """Where answers lie."""
        ...

    def answer(self, clicked: PointPrompts, previous: Float[Tensor, "n h w"] | None) -> Float[Tensor, "n h4 w4"]:
        """Return mask logits of N objects, given all their clicks and the answer before."""
        ...


@dataclass(frozen=True, slots=True)
class EncodedCanvas:
    """The canvas of a photo that a model has encoded; nothing is encoded again."""

    seen: EncodedImage
    draws: Draws

    @property
    def frame(self) -> ImageFrame:
        """The sizes of the photo; this protocol resizes bilinearly whatever the model."""
        return ImageFrame(self.seen.images.padded_hw, self.seen.images.input_hw[0], self.seen.hw)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.seen.model.device

    def answer(self, clicked: PointPrompts, previous: Float[Tensor, "n h w"] | None) -> Float[Tensor, "n h4 w4"]:
        """Decode the objects of a sample: in one pass, or one by one where a pass takes a single object."""
        network = self.seen.model.network
        rows = [slice(row, row + 1) for row in range(len(clicked.positive))]
        if network.decoder.policy.takes_many:
            rows = [slice(None)]
        answers = []
        with arithmetic(self.seen.model.device, self.seen.model.precision):
            for row in rows:
                prompts = VisualPrompts(clicked.positive[None, row], clicked.negative[None, row])
                before = None if previous is None else self._remembered(previous[None, row])
                answers.append(
                    segment_objects(network, self.seen.memory, prompts, self.draws, previous=before).logits[0]
                )
        return torch.cat(answers).float()

    def _remembered(self, logits: Float[Tensor, "1 n h w"]) -> Float[Tensor, "1 n h4 w4"]:
        """Bring an answer to stride 4, the size of a memory; a dense head answers finer."""
        height, width = (side // 4 for side in self.frame.padded_hw)
        return logits if logits.shape[-2:] == (height, width) else F.adaptive_avg_pool2d(logits, (height, width))


@dataclass(slots=True)
class _Session:
    """One sample: how its objects fared, and for how many rounds it was played."""

    ious: list[list[float]] = field(default_factory=list)  # round x object

    @property
    def finished(self) -> bool:
        return bool(self.ious) and all(iou > STOPPED_IOU for iou in self.ious[-1])

    def curves(self, clicks: int) -> Iterator[list[float]]:
        """Return every object's IoU after 1, 2, ... clicks; the last one played stands for the rest."""
        rounds = self.ious + self.ious[-1:] * (clicks - len(self.ious))
        return (list(curve) for curve in zip(*rounds, strict=True))


def clicks_seem(dataset: Dataset, most: int = 20, draws: Draws | None = None) -> Measure:
    """Play up to `most` rounds about each photo's objects, `TOGETHER` at a time."""
    rules = (*RULES, area_rule(least_area(dataset)))
    line = Line(PROTOCOL, "model", lambda: ClickScores(most, THRESHOLDS), rules)
    return Measure(
        PROTOCOL,
        (line,),
        lambda photo: clicked_objects(dataset, photo),
        lambda look, objects, tallies: _play_photo(look, objects, tallies[0], most, draws or FairDraws()),
    )


def _play_photo(look: Look, objects: Sequence[ObjectRecord], tally: Tally, most: int, draws: Draws) -> None:
    seen = look.seen
    assert isinstance(seen, EncodedImage)
    canvas = _Timed(EncodedCanvas(seen, draws), look, tally)
    tally.counts.update({"samples": 0, "samples that ended early": 0, "too small to click": 0})
    for some in slices(objects, TOGETHER):
        truth = np.stack([item.mask() for item in some])
        with look.clicking():
            drawn = on_canvas(truth, canvas.frame).to(canvas.device)
            first = seem_first_clicks(drawn)
        session = play(canvas, truth, drawn, first, most, look.clicking)
        tally.counts["samples"] += 1
        tally.counts["samples that ended early"] += len(session.ious) < most
        tally.counts["too small to click"] += int((~drawn.flatten(1).any(dim=1)).sum())
        for item, curve in zip(some, session.curves(most), strict=True):
            tally.metric.update(curve)
            tally.note(look.place, look.photo, item.id)


def score_clicks_seem(
    model: Model,
    dataset: Dataset,
    objects: Sequence[ValidationObject],
    clicks: int = 20,
    draws: Draws | None = None,
    step: Callable[[], object] = lambda: None,
) -> list[Entry]:
    """Score the given objects; photos are encoded once, `step` is called after each object."""
    asked: dict[int, list[ObjectRecord]] = {}
    for item in objects:
        asked.setdefault(item.image.id, []).append(item.truth)
    return play_all(model, dataset, clicks_seem(dataset, clicks, draws), step, asked)


def play(
    canvas: Canvas,
    truth: Bool[np.ndarray, "n H W"],
    drawn: Bool[Tensor, "n h w"],
    first: Bool[Tensor, "n h w"],
    clicks: int,
    deciding: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> _Session:
    """Play the user of one sample.

    Args:
        canvas: who answers.
        truth: objects at the photo's size, for scores.
        drawn: the same on the padded canvas, for clicks.
        first: the first prompt about each.
        clicks: rounds at most.
        deciding: is entered while the user decides.
    """
    session, clicked, logits = _Session(), PointPrompts(first, torch.zeros_like(first)), None
    whole = torch.from_numpy(truth).to(canvas.device)
    while True:
        logits = canvas.answer(clicked, logits)
        session.ious.append(agreement(logits, whole, canvas.frame))
        if session.finished or len(session.ious) == clicks:
            return session
        with deciding():
            clicked = seem_next_clicks(drawn, logits, clicked.positive, clicked.negative)


def agreement(logits: Float[Tensor, "n h w"], truth: Bool[Tensor, "n H W"], frame: ImageFrame) -> list[float]:
    """Take each object's IoU at the photo's size; both steps there are bilinear in this protocol."""
    height, width = frame.input_hw
    inside = resize(logits[None], frame.padded_hw)[..., :height, :width]
    predicted = resize(inside, frame.output_hw)[0].sigmoid() > 0.5
    shared = (predicted & truth).sum(dim=(1, 2)).tolist()
    either = (predicted | truth).sum(dim=(1, 2)).tolist()
    return [part / whole if whole else 1.0 for part, whole in zip(shared, either, strict=True)]


def on_canvas(truth: Bool[np.ndarray, "n H W"], frame: ImageFrame) -> Bool[Tensor, "n h w"]:
    """Bring masks to network size, the padding empty.

    As in the released code every pixel is inside that a cubic interpolation does not leave at exactly zero, its
    undershoots too: masks grow by a pixel or two.
    """
    import cv2

    height, width = frame.input_hw
    canvas = torch.zeros(len(truth), *frame.padded_hw, dtype=torch.bool)
    for row, mask in enumerate(truth):
        resized = cv2.resize(mask.astype(np.float64), (width, height), interpolation=cv2.INTER_CUBIC)
        canvas[row, :height, :width] = torch.from_numpy(resized != 0)
    return canvas


def slices(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    """Cut a list into pieces of at most so many."""
    return (items[start : start + most] for start in range(0, len(items), most))


@dataclass(frozen=True, slots=True)
class _Timed:
    """A canvas whose answers are timed."""

    canvas: Canvas
    look: Look
    tally: Tally

    @property
    def frame(self) -> ImageFrame:
        return self.canvas.frame

    @property
    def device(self) -> torch.device:
        return self.canvas.device

    def answer(self, clicked: PointPrompts, previous: Float[Tensor, "n h w"] | None) -> Float[Tensor, "n h4 w4"]:
        with self.look.asking(self.tally, "click"):
            logits = self.canvas.answer(clicked, previous)
        if not bool(torch.isfinite(logits).all()):
            raise ValueError("the model answered with mask logits that are no numbers (NaN or infinite)")
        return logits
