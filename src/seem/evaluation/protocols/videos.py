"""Video: `model.track` follows objects that are given by their masks in the first frame.

J and F as in the DAVIS 2017 evaluation, beside those of the first mask copied to every frame. The photo pack scores all
frames but the first; DAVIS leaves out the last one as well, and pixels that it does not label. Objects that appear
later (YouTube-VOS) are not asked for, and counted. Frames without an annotation are tracked through. A video in which
nobody said which objects are the same from frame to frame (CamVid) is no truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from seem.data.dataset import Dataset, LazyDataset, video_frames
from seem.data.pack import Pack
from seem.data.records import ImageRecord
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.interfaces import Tracking
from seem.evaluation.metrics.video import FrameRule, VideoQuality
from seem.prompts import Mask
from seem.results import Results

PROTOCOL = "video: first mask given"
DROPS_LAST = ("davis2016", "davis2017")


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One object of a video: its number there, and its mask in the first frame."""

    number: int
    first: Bool[np.ndarray, "h w"]


class Videos:
    """The videos of a data set; one hangs on its first frame."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._by_name = video_frames(dataset)

    def of(self, photo: ImageRecord) -> list[tuple[Track, ...]]:
        """Return the objects of the video that begins with this photo, as one question; nothing elsewhere."""
        if not photo.sequence or self.frames(photo)[0].id != photo.id or not self._is_tracked(photo):
            return []
        tracks = tuple(Track(number, self.mask(photo, number)) for number in self.numbers(photo))
        return [tracks] if tracks and len(self.frames(photo)) > 1 else []

    def _is_tracked(self, first: ImageRecord) -> bool:
        """Whether objects are the same ones from frame to frame: they have numbers, or there is only one."""
        return sum(record.track_id is None for record in self.dataset.objects[first.id]) <= 1

    def frames(self, photo: ImageRecord) -> tuple[ImageRecord, ...]:
        """Return the frames of a photo's video."""
        return self._by_name[photo.sequence]

    def numbers(self, frame: ImageRecord) -> list[int]:
        """List the objects that are visible in a frame."""
        records = self.dataset.objects[frame.id]
        return sorted({_track(record.track_id) for record in records if record.area})

    def mask(self, frame: ImageRecord, number: int) -> Bool[np.ndarray, "h w"]:
        """Draw an object in a frame; empty where it is not there."""
        drawn = np.zeros(frame.hw, np.bool_)
        for record in self.dataset.objects[frame.id]:
            if _track(record.track_id) == number:
                drawn |= record.mask()
        return drawn

    def is_annotated(self, frame: ImageRecord) -> bool:
        """Whether somebody looked at this frame: in the pack at all, elsewhere where there is a mask."""
        return isinstance(self.dataset, Pack) or frame.semantic_path is not None


def _track(number: int | None) -> int:
    return 1 if number is None else number


def video(dataset: Dataset) -> Measure:
    """Follow the objects of every video."""
    videos = Videos(dataset)
    official = isinstance(dataset, LazyDataset) and dataset.kind in DROPS_LAST
    rule = FrameRule.INNER if official else FrameRule.ALL
    counted = "all but the last" if rule is FrameRule.INNER else "all"
    rules = ("the first frame is given", f"of the frames after it count {counted}")
    return Measure(
        PROTOCOL,
        (
            Line(PROTOCOL, "model", lambda: VideoQuality(rule), rules),
            Line(PROTOCOL, "first mask copied", lambda: VideoQuality(rule), rules, by_model=False),
        ),
        videos.of,
        _Following(videos, rule).play,
    )


@dataclass(frozen=True, slots=True)
class _Following:
    videos: Videos
    rule: FrameRule

    def play(self, look: Look, asked: Sequence[tuple[Track, ...]], tallies: Sequence[Tally]) -> None:
        (tracks,) = asked
        model, copied = tallies
        frames = self.videos.frames(look.photo)
        known = {track.number for track in tracks}
        answers = self._answers(look, tracks, frames, model)
        later: set[int] = set()
        for number, (frame, told) in enumerate(zip(frames, answers, strict=True)):
            if not self.videos.is_annotated(frame):
                continue
            later |= set(self.videos.numbers(frame)) - known
            void = look.dataset.void(frame)
            for track in tracks:
                truth = self.videos.mask(frame, track.number)
                if number == 0 and self.rule is not FrameRule.INNER:
                    continue
                for tally, predicted in ((model, told[track.number]), (copied, track.first)):
                    counted = predicted if void is None else predicted & ~void
                    tally.metric.update(look.photo.sequence, track.number, number, counted, truth)
                    tally.note(look.place, look.photo, f"{look.photo.sequence}/{frame.id}/{track.number}")
        model.counts["objects that appear later, not asked for"] += len(later)

    def _answers(
        self, look: Look, tracks: Sequence[Track], frames: Sequence[ImageRecord], tally: Tally
    ) -> Iterator[Mapping[int, Bool[np.ndarray, "h w"]]]:
        """Let the model follow the objects; yields the masks of each frame by the object's number."""
        assert isinstance(look.model, Tracking)
        prompts = [[Mask(track.first)] for track in tracks]
        results = iter(look.model.track(self._pictures(look, frames), prompts, frame=0))
        for frame in frames:
            with look.asking(tally, "frame"):
                result = next(results, None)
            if result is None:
                raise ValueError(f"the model stopped before frame {frame.frame} of {look.photo.sequence}")
            yield masks_by_number(result, tracks)

    def _pictures(self, look: Look, frames: Sequence[ImageRecord]) -> list[UInt8[np.ndarray, "h w 3"]]:
        return [look.dataset.pixels(frame) for frame in frames]


def masks_by_number(result: Results, tracks: Sequence[Track]) -> dict[int, Bool[np.ndarray, "h w"]]:
    """Read one frame: the k-th object that was asked for has the id k; empty masks for those that are not there."""
    nothing = np.zeros(result.image_hw, np.bool_)
    told = dict(zip(result.ids.tolist(), result.iter_masks(), strict=True))
    return {track.number: told.get(k, nothing) for k, track in enumerate(tracks, 1)}
