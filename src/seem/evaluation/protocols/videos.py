"""Video: `model.track` tracks objects that are given by their masks in the first frame.

J and F as in the DAVIS 2017 evaluation, beside those of the first mask copied to every frame. The photo pack scores all
frames but the first; DAVIS leaves out the last one as well, and pixels that it does not label. Objects that appear
later (YouTube-VOS) are counted and not scored. Frames without an annotation are tracked through. A video whose objects
have no identity from frame to frame (CamVid) is not scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from seem.data.dataset import Dataset
from seem.data.lazy_dataset import LazyDataset
from seem.data.object_selection import video_frames
from seem.data.pack import Pack
from seem.data.records import ImageRecord
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.interfaces import TrackerUnderTest
from seem.evaluation.metrics.video import FrameRule, VideoQuality
from seem.prompts import Mask
from seem.results import Results

PROTOCOL = "video: first mask given"
WITHOUT_LAST_FRAME = ("davis2016", "davis2017")
NUM_LATER_OBJECTS = "objects that appear later, not asked for"

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True, eq=False)
class VideoObject:
    """One object of a video: its number there, and its mask in the first frame."""

    number: int
    first_mask: MaskArray


class VideoIndex:
    """The videos of a data set; each is found by its first frame."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._by_name = video_frames(dataset)

    def items(self, image: ImageRecord) -> list[tuple[VideoObject, ...]]:
        """Return the objects of the video that begins with this image, as one item; nothing for other images."""
        if not image.sequence or not self._is_first(image) or not self._has_identities(image):
            return []
        objects = []
        for number in self.object_numbers(image):
            objects.append(VideoObject(number, self.mask(image, number)))
        if not objects or len(self.frames(image)) < 2:
            return []
        return [tuple(objects)]

    def _is_first(self, image: ImageRecord) -> bool:
        return self.frames(image)[0].id == image.id

    def _has_identities(self, first: ImageRecord) -> bool:
        """Whether objects are identified from frame to frame: they have numbers, or there is only one."""
        track_ids = [record.track_id for record in self.dataset.objects[first.id]]
        return track_ids.count(None) <= 1

    def frames(self, image: ImageRecord) -> tuple[ImageRecord, ...]:
        """Return the frames of an image's video."""
        return self._by_name[image.sequence]

    def object_numbers(self, frame: ImageRecord) -> list[int]:
        """List the numbers of the objects that are visible in a frame."""
        numbers = set()
        for record in self.dataset.objects[frame.id]:
            if record.area:
                numbers.add(_object_number(record.track_id))
        return sorted(numbers)

    def mask(self, frame: ImageRecord, number: int) -> MaskArray:
        """Return the mask of an object in a frame; empty where it is not visible."""
        mask = np.zeros(frame.hw, np.bool_)
        for record in self.dataset.objects[frame.id]:
            if _object_number(record.track_id) == number:
                mask |= record.mask()
        return mask

    def is_annotated(self, frame: ImageRecord) -> bool:
        """Whether a frame is annotated: all frames of the pack are, elsewhere those with a map."""
        return isinstance(self.dataset, Pack) or frame.semantic_path is not None


def _object_number(track_id: int | None) -> int:
    if track_id is None:
        return 1
    return track_id


def video_benchmark(dataset: Dataset) -> Benchmark:
    """Score tracking of the objects of every video."""
    videos = VideoIndex(dataset)
    is_davis = isinstance(dataset, LazyDataset) and dataset.kind in WITHOUT_LAST_FRAME
    rule, counted = FrameRule.ALL, "all"
    if is_davis:
        rule, counted = FrameRule.INNER, "all but the last"
    rules = ("the first frame is given", f"of the frames after it count {counted}")
    return Benchmark(
        title=PROTOCOL,
        specs=(
            EntrySpec(PROTOCOL, "model", lambda: VideoQuality(rule), rules),
            EntrySpec(
                PROTOCOL, "first mask copied", lambda: VideoQuality(rule), rules, by_model=False
            ),
        ),
        items=videos.items,
        evaluate=_VideoEvaluation(videos, rule).evaluate,
    )


@dataclass(frozen=True, slots=True)
class _VideoEvaluation:
    videos: VideoIndex
    rule: FrameRule

    def evaluate(
        self,
        context: EvaluationContext,
        items: Sequence[tuple[VideoObject, ...]],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        (objects,) = items
        model, copied = accumulators
        frames = self.videos.frames(context.image)
        predictions = self._track(context, objects, frames, model)
        given = {each.number for each in objects}
        later: set[int] = set()
        for frame_index, (frame, predicted) in enumerate(zip(frames, predictions, strict=True)):
            if not self.videos.is_annotated(frame):
                continue
            later |= set(self.videos.object_numbers(frame)) - given
            if (
                frame_index == 0 and self.rule is not FrameRule.INNER
            ):  # whose metric leaves it out itself
                continue
            for each in objects:
                update = _FrameUpdate(self.videos, context, frame, frame_index, each)
                update.apply(model, predicted[each.number])
                update.apply(copied, each.first_mask)
        model.counts[NUM_LATER_OBJECTS] += len(later)

    def _track(
        self,
        context: EvaluationContext,
        objects: Sequence[VideoObject],
        frames: Sequence[ImageRecord],
        accumulator: ScoreAccumulator,
    ) -> Iterator[Mapping[int, MaskArray]]:
        """Yield the predicted masks of each frame by the number of the object."""
        assert isinstance(context.model, TrackerUnderTest)
        prompts = [[Mask(each.first_mask)] for each in objects]
        images = list(map(context.dataset.pixels, frames))
        results = iter(context.model.track(images, prompts, frame=0))
        for frame in frames:
            with context.timing(accumulator, "frame"):
                result = next(results, None)
            if result is None:
                raise ValueError(
                    f"the model stopped before frame {frame.frame} of {context.image.sequence}"
                )
            yield masks_by_number(result, objects)


class _FrameUpdate:
    """Updates metrics with masks of one object in one frame."""

    def __init__(
        self,
        videos: VideoIndex,
        context: EvaluationContext,
        frame: ImageRecord,
        frame_index: int,
        video_object: VideoObject,
    ) -> None:
        self.context = context
        self.frame_index = frame_index
        self.number = video_object.number
        self.truth = videos.mask(frame, self.number)
        self.void = context.dataset.void(frame)
        self.label = f"{context.image.sequence}/{frame.id}/{self.number}"

    def apply(self, accumulator: ScoreAccumulator, predicted: MaskArray) -> None:
        """Add a predicted mask, without unlabelled pixels."""
        if self.void is not None:
            predicted = predicted & ~self.void
        sequence = self.context.image.sequence
        accumulator.metric.update(sequence, self.number, self.frame_index, predicted, self.truth)
        self.context.record_item(accumulator, self.label)


def masks_by_number(result: Results, objects: Sequence[VideoObject]) -> dict[int, MaskArray]:
    """Return the masks of one frame by the number of the object.

    The k-th object has the id k in the result; an object that is not there has an empty mask.
    """
    empty = np.zeros(result.image_hw, np.bool_)
    masks = dict(zip(result.ids.tolist(), result.iter_masks(), strict=True))
    return {each.number: masks.get(k, empty) for k, each in enumerate(objects, 1)}
