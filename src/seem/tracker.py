"""Objects through a video, with stable ids: prompts on any frame, one result a frame.

Three modes, `MODES`, decide how an object gets from one frame to the next:

- memory: cells of the frame are matched with stored features of the object (`tasks/video.py`). It finds an object again
  that was hidden. The default, except for SEEM v0 and v1.
- propagate: the mask of the previous frame is the prompt. The default of SEEM v0 and v1.
- reference: the published demo (official `interactive_infer_video`): the object in the prompted frame is a reference in
  every frame, and no frame depends on the previous one.

A tracker holds one frame, and of every object no more than a fixed number of past frames.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeGuard, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seem.argument_types import explains_arguments
from seem.encoded_image import EncodedImage, encode
from seem.errors import SeemError
from seem.images import InputImage, read_image
from seem.inference.object_prompts import (
    ObjectPrompts,
    check_supported,
    describe_non_prompt,
    replaces_previous_mask,
)
from seem.inference.prediction import clamped_scores
from seem.inference.runtime import Runtime
from seem.mask_codec import PackedMask
from seem.prompts import Mask, Prompt, Reference, VisualPrompt
from seem.results import Labels, LazyLabels, Provenance, Results
from seem.tasks.postprocess import ImageFrame, to_image_masks
from seem.tasks.video import (
    FOREGROUND_THRESHOLD,
    STRIDE,
    FeatureDescriber,
    VideoMemory,
    grid_stride,
)
from seem.video import Video, VideoFrame, VideoLike, missing_frame_message, open_video

Mode: TypeAlias = Literal["memory", "propagate", "reference"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_MODES: dict[str, Mode] = {"seem-v0": "propagate", "seem-v1": "propagate"}
"""The default mode of a policy; of all others "memory"."""

MIN_PROPAGATED_SCORE = (
    0.3  # of a mask that was carried on by prompts; below, the object is not visible
)
COVER_TO_LOGIT = 12.0  # factor from a cover of 0 to 1 to mask logits of -6 to 6


PromptsByFrame: TypeAlias = "dict[int, dict[int, tuple[Prompt, ...]]]"
"""Frame index to object id to prompts."""


@explains_arguments
class Tracker:
    """Follows objects through a video: describe them with `add`, then iterate over the frames.

    `for results in tracker` yields one `Results` a frame, in order: `results.frame` is its index, `results.time` is
    when it is shown (seconds, None where unknown), `results.ids` are the ids given to `add`. An object that is not
    visible has no row. A file, folder or list can be iterated again; a stream is read once.

    With `backward`, an object is also followed from its first prompt back to the first frame; the masks of those frames
    (a few kilobytes each) are then stored. Not for several threads at once.
    """

    def __init__(
        self,
        model: Runtime,
        video: VideoLike,
        mode: Mode | None = None,
        *,
        size: int | None = None,
        backward: bool = False,
    ) -> None:
        self.model = model
        self.mode = checked_mode(mode, model)
        self.size = size
        self.backward = backward
        self.video: Video = open_video(video)
        if backward and self.video.is_stream:
            raise ValueError(
                "A stream is read once, forward only; leave backward out, or pass a file or a list."
            )
        self._prompts: PromptsByFrame = {}
        self._pass: Pass | None = None

    def __repr__(self) -> str:
        return f"<Tracker of {self.video.name} by {self.model.name}, {self.mode}: ids {list_ids(self.ids)}>"

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all objects, in order."""
        ids: set[int] = set()
        for by_object in self._prompts.values():
            ids.update(by_object)
        return tuple(sorted(ids))

    def add(self, frame: int, object_id: int, *prompts: Prompt) -> Results | None:
        """Describe an object on any frame; on a later frame of the same object the prompts are a correction.

        On the frame that was yielded last, the prompts are answered at once and its new result is returned; on any
        other frame they wait until it comes (None). A phrase that is not found there is looked for in every frame that
        follows, until it is. Mask arrays alone are taken as they are, several as one.

        Raises `ValueError` for a frame or an id that is no number, a frame that a stream has passed, and prompts that
        the model does not take; the tracker is then as it was before.
        """
        self._check_position(frame, object_id)
        if not prompts:
            raise ValueError(
                f"There is no prompt about object {object_id}; pass a Point, Box, Mask, Text or the like."
            )
        all_prompts = ObjectPrompts.of((*self._prompts_until(frame, object_id), *prompts))
        check_supported(all_prompts, self.model.name, self.model.network.decoder.policy)
        result = None
        if self._pass is not None and self._pass.is_at(frame):
            result = self._pass.answer_now(object_id, prompts)
        elif self.video.is_stream and self._pass is not None and frame < self._pass.next_frame:
            raise ValueError(
                f"Frame {frame} has passed and a stream is read once; prompt a frame that is still to come."
            )
        at_frame = self._prompts.setdefault(int(frame), {})
        at_frame[int(object_id)] = (*at_frame.get(object_id, ()), *prompts)
        return result

    def remove(self, object_id: int) -> None:
        """Forget an object and all its prompts; `ValueError` for an id that does not exist."""
        if object_id not in self.ids:
            raise ValueError(f"There is no object {object_id!r}; the ids are {list_ids(self.ids)}.")
        for frame in list(self._prompts):
            self._prompts[frame].pop(object_id, None)
            if not self._prompts[frame]:
                del self._prompts[frame]
        if self._pass is not None:
            self._pass.remove(object_id)

    def reset(self) -> None:
        """Forget all objects."""
        for object_id in self.ids:
            self.remove(object_id)

    def __iter__(self) -> Iterator[Results]:
        """Go through the frames from the first.

        Raises, after the frames before it, `SeemError` for a frame that cannot be read or has another size than the
        first, and `ValueError` for prompts outside the image or on a frame behind the last.
        """
        earlier = self._follow_backward() if self.backward else {}
        frames = self.video.forward()
        current = self._pass = Pass(self, self._prompts)
        for index, frame in enumerate(frames):
            yield current.step(index, frame, earlier.pop(index, {}))
        current.end()
        late = [frame for frame in self._prompts if frame >= current.next_frame]
        if late:
            raise ValueError(missing_frame_message(late[0], self.video.name, current.next_frame))

    def _check_position(self, frame: object, object_id: object) -> None:
        """Raise `ValueError` for a frame or an id that cannot be."""
        if not is_integer_from(frame, 0):
            raise ValueError(f"The frame is {frame!r}; frames are counted from 0.")
        self.video.check_has_frame(frame)
        if not is_integer_from(object_id, 1):
            raise ValueError(f"The id is {object_id!r}; ids are whole numbers from 1.")

    def _prompts_until(self, frame: int, object_id: int) -> list[Prompt]:
        """Return the prompts about an object on all frames up to this one, in order."""
        prompts: list[Prompt] = []
        for at, by_object in sorted(self._prompts.items()):
            if at <= frame:
                prompts += by_object.get(object_id, ())
        return prompts

    def _follow_backward(self) -> dict[int, dict[int, TrackedObject]]:
        """Follow every object from its first prompt back; returns the objects by frame and id."""
        first_frames: dict[int, int] = {}
        for frame, by_object in sorted(self._prompts.items()):
            for object_id in by_object:
                first_frames.setdefault(object_id, frame)
        if not any(first_frames.values()):
            return {}
        prompts: PromptsByFrame = {}
        for object_id, frame in first_frames.items():
            prompts.setdefault(frame, {})[object_id] = self._prompts[frame][object_id]
        current = Pass(self, prompts)
        earlier: dict[int, dict[int, TrackedObject]] = {}
        last = max(first_frames.values())
        indices = range(last, -1, -1)
        for index, video_frame in zip(indices, self.video.backward(last + 1), strict=True):
            current.step(index, video_frame, {})
            earlier[index] = {}
            for object_id, tracked in current.objects.items():
                if index < first_frames[object_id]:
                    labels = current.tracks[object_id].labels
                    earlier[index][object_id] = replace(tracked, logits=None, labels=labels)
        return earlier


# --- One pass through the frames --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """An object in a frame: its mask, score (0-1), the rule that answered, and low-resolution mask logits."""

    mask: PackedMask
    score: float
    kind: str
    logits: NDArray[np.float32] | None = None
    labels: LazyLabels | None = None


@dataclass(slots=True)
class Track:
    """What a pass stores of one object: its prompts, and what its mode needs."""

    prompts: tuple[Prompt, ...]
    labels: LazyLabels | None = None
    is_awaited: bool = False
    """It was described by phrases that no frame has shown yet."""
    memory: VideoMemory = field(default_factory=VideoMemory)
    logits: NDArray[np.float32] | None = None
    reference: Reference | None = None


class Pass:
    """One way through the video, forward or backward, and its current frame."""

    def __init__(self, tracker: Tracker, prompts: PromptsByFrame) -> None:
        self.model, self.mode, self.size = tracker.model, tracker.mode, tracker.size
        self.video_name = tracker.video.name
        self.prompts = prompts
        self.tracks: dict[int, Track] = {}
        self.objects: dict[int, TrackedObject] = {}
        self.index = -1
        self.next_frame = 0
        self.hw: tuple[int, int] | None = None
        self.time: float | None = None
        self.image: InputImage | None = None
        self.answered_prompts: tuple[tuple[Prompt, ...], ...] = ()
        self.describer: FeatureDescriber | None = None
        self._encoded: EncodedImage | None = None
        self._features: Float[Tensor, "d h w"] | None = None
        self._seconds = 0.0

    def step(self, index: int, frame: VideoFrame, earlier: Mapping[int, TrackedObject]) -> Results:
        """Go on to a frame and answer for every object; `earlier` are objects that a backward pass has found in it."""
        self._read_frame(index, frame)
        prompts = self.prompts.get(index, {})
        started = time.perf_counter()
        visible = [key for key, track in self.tracks.items() if not track.is_awaited]
        self.objects = {**earlier, **self.follow(visible)}
        awaited = {}
        for key, track in self.tracks.items():
            if track.is_awaited and key not in prompts:
                awaited[key] = track.prompts
        self.answer_prompts({**awaited, **prompts})
        self.answered_prompts = tuple(prompts.values())
        self._seconds = time.perf_counter() - started
        return self.results()

    def _read_frame(self, index: int, frame: VideoFrame) -> None:
        """Make a frame the current one; `SeemError` for one of another size than the first."""
        self.index, self.next_frame, self.time = index, index + 1, frame.time
        self._encoded = self._features = None
        self._seconds = 0.0
        self.image = read_image(frame.image)
        self.hw = self.hw or self.image.hw
        if self.image.hw != self.hw:
            (height, width), (first_height, first_width) = self.image.hw, self.hw
            raise SeemError(
                f"Frame {index} of {self.video_name} has {width} x {height} pixels, others {first_width} x "
                f"{first_height}; give all frames one size, or track the parts one by one."
            )

    def answer_now(self, object_id: int, prompts: tuple[Prompt, ...]) -> Results:
        """Answer prompts about the current frame."""
        started = time.perf_counter()
        self.answer_prompts({object_id: prompts})
        self.answered_prompts = (*self.answered_prompts, prompts)
        self._seconds += time.perf_counter() - started
        return self.results()

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        self.tracks.pop(object_id, None)
        self.objects.pop(object_id, None)

    def is_at(self, frame: int) -> bool:
        """Tell whether a frame is the current one."""
        return self.image is not None and frame == self.index

    def end(self) -> None:
        """Free the last frame."""
        self.image = self._encoded = self._features = None

    @property
    def encoded(self) -> EncodedImage:
        """The current frame, encoded at the first access."""
        if self._encoded is None:
            assert self.image is not None
            self._encoded = encode(self.model, self.image.rgb, self.size)
        return self._encoded

    @property
    def features(self) -> Float[Tensor, "d h w"]:
        """The cells of the current frame, described for matching."""
        if self._features is None:
            encoding, batch = self.encoded.encoding, self.encoded.batch
            self.describer = self.describer or FeatureDescriber.of(encoding, batch)
            self._features = self.describer.describe(encoding, batch)
        return self._features

    # --- From frame to frame -----------------------------------------------------------------------------------------

    def follow(self, ids: Sequence[int]) -> dict[int, TrackedObject]:
        """Find objects in the current frame; those that are not visible are left out."""
        tracked_objects: dict[int, TrackedObject | None]
        match self.mode:
            case "memory":
                tracked_objects = {key: self.match_memory(self.tracks[key]) for key in ids}
            case "propagate":
                tracked_objects = self.propagate_masks(
                    [key for key in ids if self.tracks[key].logits is not None]
                )
            case "reference":
                tracked_objects = {key: self.match_reference(self.tracks[key]) for key in ids}
        visible = {}
        for key, tracked in tracked_objects.items():
            if tracked is not None and tracked.mask.area:
                visible[key] = tracked
        return visible

    def match_memory(self, track: Track) -> TrackedObject | None:
        """Match the frame with the stored features of an object."""
        with torch.no_grad():
            cover = track.memory.follow(self.features)
            inside = cover > FOREGROUND_THRESHOLD
            if not bool(inside.any()):
                return None
            logits = self.cover_to_logits(cover)
            mask = to_image_masks(logits[None], self.frame)[0]
        packed = PackedMask.pack(mask.cpu().numpy(), self.frame.output_hw)
        score = float(cover[inside].mean())
        return TrackedObject(packed, score, "memory", logits.cpu().numpy())

    def propagate_masks(self, ids: Sequence[int]) -> dict[int, TrackedObject | None]:
        """Prompt with the last mask of every object."""
        if not ids:
            return {}
        answers = self.encoded.segment_many([[Mask(logits=self.tracks[key].logits)] for key in ids])
        tracked_objects: dict[int, TrackedObject | None] = {}
        for row, key in enumerate(ids):
            tracked = read_row(answers, row)
            if tracked.score >= MIN_PROPAGATED_SCORE and has_foreground(tracked.logits):
                self.tracks[key].logits = tracked.logits
                tracked_objects[key] = replace(tracked, kind="propagate")
        return tracked_objects

    def match_reference(self, track: Track) -> TrackedObject | None:
        """Prompt with the object in its prompted frame as a reference."""
        if track.reference is None:
            return None
        answer = self.encoded.segment(track.reference)
        if not len(answer):
            return None
        return replace(read_row(answer, 0), kind="reference")

    # --- Prompts -----------------------------------------------------------------------------------------------------

    def answer_prompts(self, prompts_by_object: Mapping[int, tuple[Prompt, ...]]) -> None:
        """Answer prompts about the current frame, and store what their objects look like."""
        for key, prompts in prompts_by_object.items():
            track = self.tracks.get(key) or Track(prompts, is_awaited=True)
            answer = self.segment(prompts, self.objects.get(key))
            has_marks = any(isinstance(prompt, VisualPrompt) for prompt in prompts)
            track.prompts = prompts
            track.is_awaited = track.is_awaited and answer is None and not has_marks
            self.tracks[key] = track
            if answer is not None:
                self.objects[key] = answer
                self.store(track, answer)

    def segment(
        self, prompts: tuple[Prompt, ...], current: TrackedObject | None
    ) -> TrackedObject | None:
        """Segment an object; a mask that it has in this frame already is the previous mask of the correction."""
        masks = [
            prompt for prompt in prompts if isinstance(prompt, Mask) and prompt.array is not None
        ]
        if len(masks) == len(prompts):
            return self.take_masks(masks)
        has_marks = any(isinstance(prompt, VisualPrompt) for prompt in prompts)
        kind = self.model.network.kind
        brings_mask = any(replaces_previous_mask(prompt, kind) for prompt in prompts)
        previous: list[Mask] = []
        if current is not None and has_foreground(current.logits) and has_marks and not brings_mask:
            previous = [Mask(logits=current.logits)]
        result = self.encoded.segment(*prompts, *previous)
        if not len(result) or not result.areas[0]:
            return None
        return read_row(result, 0)

    def take_masks(self, masks: Sequence[Mask]) -> TrackedObject:
        """Take the union of mask arrays as the object, without asking the model."""
        hw = self.frame.output_hw
        union = np.zeros(hw, dtype=np.bool_)
        for mask in masks:
            mask.check_inside(hw)
            union |= np.asarray(mask.array, dtype=np.bool_)
        packed = PackedMask.pack(union, hw)
        logits = self.cover_to_logits(self.cover_of(packed))
        return TrackedObject(packed, 1.0, "mask, as given", logits.cpu().numpy())

    def store(self, track: Track, answer: TrackedObject) -> None:
        """Store what the mode needs of an object that was just prompted."""
        encoded, mask = self.encoded, Mask(answer.mask.decode())
        track.labels = LazyLabels(lambda: encoded.segment(mask).lazy_labels.get(1))
        match self.mode:
            case "memory":
                with torch.no_grad():
                    track.memory.correct(self.features, self.cover_of(answer.mask))
            case "propagate":
                track.logits = answer.logits
            case "reference":
                track.reference = Reference(encoded, mask)

    # --- Frames of reference -----------------------------------------------------------------------------------------

    @property
    def frame(self) -> ImageFrame:
        """The sizes of the current frame."""
        return self.encoded.predictor.decoder.frame

    def cover_of(self, mask: PackedMask) -> Float[Tensor, "h w"]:
        """Return the share of each cell that a mask of the image covers, 0-1."""
        (padded_height, padded_width), (height, width) = self.frame.padded_hw, self.frame.input_hw
        pixels = torch.from_numpy(mask.decode()).to(self.encoded.batch.pixels.device, torch.float32)
        resized = F.interpolate(
            pixels[None, None],
            size=(height, width),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        padded = F.pad(resized, (0, padded_width - width, 0, padded_height - height))
        return F.avg_pool2d(padded, grid_stride(self.frame.padded_hw))[0, 0]

    def cover_to_logits(self, cover: Float[Tensor, "h w"]) -> Float[Tensor, "h4 w4"]:
        """Turn a cover into mask logits at the stride of mask prompts."""
        hw = (self.frame.padded_hw[0] // STRIDE, self.frame.padded_hw[1] // STRIDE)
        resized = F.interpolate(cover[None, None], size=hw, mode="bilinear", align_corners=False)[
            0, 0
        ]
        return COVER_TO_LOGIT * (resized - FOREGROUND_THRESHOLD)

    def results(self) -> Results:
        """Put together the objects of the current frame."""
        assert self.image is not None
        ids = sorted(self.objects)
        objects = [self.objects[key] for key in ids]
        labels = [self.objects[key].labels or self.tracks[key].labels for key in ids]
        kinds = dict.fromkeys(tracked.kind for tracked in objects)
        results = Results.of(
            self.image.rgb,
            (tracked.mask.decode() for tracked in objects),
            clamped_scores(tracked.score for tracked in objects),
            vocabulary=self.model.vocabulary(),
            kind=", ".join(kinds) or self.mode,
            provenance=self._provenance(self.image),
            labels=lambda: join_labels(labels),
            ids=ids,
            logits=stack_logits(objects),
        )
        return replace(results, frame=self.index, time=self.time)

    def _provenance(self, image: InputImage) -> Provenance:
        encoding = {} if self._encoded is None else {"encode": self._encoded.encode_seconds}
        return Provenance(
            task="video",
            model=self.model.name,
            model_sha256=self.model.sha256,
            precision=self.model.precision,
            engine=self.model.engine,
            prompts=self.answered_prompts,
            seconds={**encoding, "video": self._seconds - sum(encoding.values())},
            notes=image.notes,
            image_name=image.name or f"{Path(self.video_name).stem}-{self.index:06d}.png",
            orientation=image.orientation,
        )


def read_row(results: Results, row: int) -> TrackedObject:
    """Read one object of a result."""
    segment = results[row]
    logits = None if segment.logits is None else np.array(segment.logits)
    return TrackedObject(results.packed[row], segment.score, results.kind, logits)


def stack_logits(objects: Sequence[TrackedObject]) -> NDArray[np.float32] | None:
    """Stack the mask logits of objects; None where one has none."""
    logits = [tracked.logits for tracked in objects if tracked.logits is not None]
    if not objects or len(logits) < len(objects):
        return None
    return np.stack(logits)


def join_labels(labels: Sequence[LazyLabels | None]) -> Labels:
    """Read the labels of objects, each of which is labelled in the frame where it was prompted."""
    names, scores = [], []
    for lazy in labels:
        label = Labels.nameless(1) if lazy is None else lazy.get(1)
        names.append(label.names[0])
        scores.append(label.scores[0])
    return Labels(tuple(names), tuple(scores))


def has_foreground(logits: NDArray[np.float32] | None) -> bool:
    """Tell whether mask logits have an inside."""
    return logits is not None and bool((logits > 0).any())


def is_integer_from(value: object, minimum: int) -> TypeGuard[int]:
    """Tell whether a value is a whole number (no bool) that is at least `minimum`."""
    return (
        isinstance(value, (int, np.integer))
        and not isinstance(value, bool)
        and int(value) >= minimum
    )


def prompts_of_objects(prompts: object) -> list[tuple[Prompt, ...]]:
    """Read the prompts of `track`: one, or a list that holds for each object a prompt or a list of prompts.

    Raises `ValueError` for anything else; what the lists hold is checked when it is answered.
    """
    given = [prompts] if isinstance(prompts, Prompt) else prompts
    objects: list[tuple[Prompt, ...]] = []
    for each in given if isinstance(given, (list, tuple)) else ():
        if isinstance(each, Prompt):
            objects.append((each,))
        elif isinstance(each, (list, tuple)):
            objects.append(tuple(each))
        else:
            raise ValueError(describe_non_prompt(each))
    if not objects:
        raise ValueError(
            f"track takes a list that holds for each object a prompt or a list of prompts, got {prompts!r}."
        )
    return objects


def list_ids(ids: Sequence[int]) -> str:
    """List ids for a message."""
    return ", ".join(map(str, ids)) or "none yet"


def checked_mode(mode: Mode | None, model: Runtime) -> Mode:
    """Return the mode to follow objects by; `ValueError` for one that does not exist or that a model cannot do."""
    policy = model.network.decoder.policy
    if mode is None:
        return DEFAULT_MODES.get(model.network.config.decoder.policy, "memory")
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; it is one of {', '.join(MODES)}.")
    if mode == "reference" and policy.reference is None:
        raise ValueError(
            f"{model.name} takes no Reference, so mode 'reference' is not for it; use memory or propagate."
        )
    if mode == "propagate" and policy.visual is None:
        raise ValueError(
            f"{model.name} takes no visual prompts, so mode 'propagate' is not for it; use memory."
        )
    return mode
