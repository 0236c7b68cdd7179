"""Objects through a video, with ids that stay: prompts on any frame, one result a frame.

Three modes, `MODES`, decide how an object comes from one frame into the next:

- memory: places of the frame are matched with what was seen of the object (`tasks/video.py`). It finds an object again
  that was hidden. The default, except for SEEM v0 and v1.
- propagate: the mask of the frame before is the prompt. The default of SEEM v0 and v1.
- reference: the published demo (official `interactive_infer_video`): the object of the prompted frame is a reference in
  every frame, and no frame knows of the one before.

A tracker holds one frame, and of every object no more than a fixed number of past frames.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seem.asking import Asked, brings_a_mask, check_taken, not_a_prompt
from seem.images import ImageLike, InputImage, read_image
from seem.mask_codec import PackedMask
from seem.models.decoder.decoder import ImageEncoding
from seem.models.precision import Precision
from seem.models.segmenter import Segmenter
from seem.models.structures import ImageBatch
from seem.prompts import Mask, Prompt, Reference, VisualPrompt
from seem.results import Labels, LazyLabels, Provenance, Results
from seem.tasks.postprocess import ImageFrame, to_image_masks
from seem.tasks.reference import place_of
from seem.tasks.video import FOREGROUND_THRESHOLD, STRIDE, FeatureDescriber, VideoMemory, grid_stride
from seem.video import Video, VideoFrame, VideoLike, missing_frame_message, open_video
from seem.vocabulary import Vocabulary

Mode: TypeAlias = Literal["memory", "propagate", "reference"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULTS: dict[str, Mode] = {"seem-v0": "propagate", "seem-v1": "propagate"}
"""The mode of a policy where none is asked for; of all others "memory"."""

LEAST_SCORE = 0.3  # of a mask that was carried on by prompts; below, the object is not to be seen
STEEPNESS = 12.0  # of the mask logits that stand for a cover of 0 to 1: -6 to 6

Said: TypeAlias = "dict[int, dict[int, tuple[Prompt, ...]]]"  # frame -> id -> prompts


class SeenFrame(Protocol):
    """A frame that a model has looked at, as a tracker needs it: `EncodedImage` is one."""

    @property
    def photo(self) -> InputImage:
        """The frame as shown."""
        ...

    @property
    def images(self) -> ImageBatch:
        """The frame as the network sees it."""
        ...

    @property
    def memory(self) -> ImageEncoding:
        """What the network has seen."""
        ...

    @property
    def encode_seconds(self) -> float:
        """How long it looked."""
        ...

    def segment(self, *prompts: Prompt) -> Results:
        """Segment one object."""
        ...

    def segment_many(self, objects: Sequence[Sequence[Prompt]]) -> Results:
        """Segment several objects."""
        ...


class Looking(Protocol):
    """A model as a tracker needs it: `Model` is one."""

    name: str
    sha256: str
    network: Segmenter
    precision: Precision

    def vocabulary(self) -> Vocabulary:
        """Return the classes that it knows: those that it was fine-tuned on, or else COCO's 133."""
        ...

    def encode(self, image: ImageLike, size: int | None = None) -> SeenFrame:
        """Look at a frame."""
        ...


class Tracker:
    """Follows objects through a video: say what they are with `add`, then go through the frames.

    `for results in tracker` yields one `Results` a frame, in order: `results.frame` is its index, `results.time` is
    when it is shown (seconds, None where nobody knows), `results.ids` are the ids given to `add`. An object that is not
    to be seen has no row. A file, folder or list can be gone through again; a stream is read once.

    With `backward`, an object is also followed from its first prompt back to the first frame; the masks of those frames
    (a few kilobytes each) are then kept. Not for several threads at once.
    """

    def __init__(
        self,
        model: Looking,
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
            raise ValueError("A stream is read once, forward only; leave backward out, or pass a file or a list.")
        self._said: Said = {}
        self._pass: Pass | None = None

    def __repr__(self) -> str:
        return f"<Tracker of {self.video.name} by {self.model.name}, {self.mode}: ids {known(self.ids)}>"

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all objects, in order."""
        return tuple(sorted({object_id for asked in self._said.values() for object_id in asked}))

    def add(self, frame: int, object_id: int, *prompts: Prompt) -> Results | None:
        """Say what an object is, on any frame; on a later frame of the same object it is a correction.

        On the frame that was yielded last, the prompts are answered at once and its new result is returned; on any
        other frame they wait until it comes (None). A phrase that is not found there is looked for in every frame that
        follows, until it is. Mask arrays alone are taken as they are, several as one.

        Raises `ValueError` for a frame or an id that is no number, a frame that a stream has passed, and prompts that
        the model does not take; the tracker is then as it was before.
        """
        if not is_whole(frame, 0):
            raise ValueError(f"The frame is {frame!r}; frames are counted from 0.")
        count = self.video.num_frames
        if count is not None and frame >= count + self.video.slack:
            raise ValueError(missing_frame_message(frame, self.video.name, count))
        if not is_whole(object_id, 1):
            raise ValueError(f"The id is {object_id!r}; ids are whole numbers from 1.")
        before = [said for at, asked in sorted(self._said.items()) if at <= frame and (said := asked.get(object_id))]
        earlier = tuple(prompt for said in before for prompt in said)
        if not prompts:
            raise ValueError(f"There is no prompt about object {object_id}; pass a Point, Box, Mask, Text or the like.")
        check_taken(Asked.of((*earlier, *prompts)), self.model.name, self.model.network)
        result = None
        if self._pass is not None and self._pass.is_at(frame):
            result = self._pass.hear(object_id, prompts)
        elif self.video.is_stream and self._pass is not None and frame < self._pass.next_frame:
            raise ValueError(
                f"Frame {frame} has passed and a stream is read once; prompt a frame that is still to come."
            )
        at_frame = self._said.setdefault(int(frame), {})
        at_frame[int(object_id)] = (*at_frame.get(object_id, ()), *prompts)
        return result

    def remove(self, object_id: int) -> None:
        """Forget an object, and all that was said about it; `ValueError` for an id that does not exist."""
        if object_id not in self.ids:
            raise ValueError(f"There is no object {object_id!r}; the ids are {known(self.ids)}.")
        for frame in list(self._said):
            self._said[frame].pop(object_id, None)
            if not self._said[frame]:
                del self._said[frame]
        if self._pass is not None:
            self._pass.forget(object_id)

    def reset(self) -> None:
        """Forget all objects."""
        for object_id in self.ids:
            self.remove(object_id)

    def __iter__(self) -> Iterator[Results]:
        """Go through the frames from the first.

        Raises, after the frames before it, `SeemError` for a frame that cannot be read, and `ValueError` for prompts
        outside the picture, on a frame behind the last, and for a frame of another size than the first.
        """
        earlier = self._look_back() if self.backward else {}
        frames = self.video.forward()
        current = self._pass = Pass(self, self._said)
        for index, frame in enumerate(frames):
            yield current.step(index, frame, earlier.pop(index, {}))
        current.end()
        late = [frame for frame in self._said if frame >= current.next_frame]
        if late:
            raise ValueError(missing_frame_message(late[0], self.video.name, current.next_frame))

    def _look_back(self) -> dict[int, dict[int, Found]]:
        """Follow every object from its first prompt back; returns what was found, by frame and id."""
        first = {object_id: min(at for at, asked in self._said.items() if object_id in asked) for object_id in self.ids}
        if not any(first.values()):
            return {}
        said: Said = {}
        for object_id, at in first.items():
            said.setdefault(at, {})[object_id] = self._said[at][object_id]
        current = Pass(self, said)
        earlier = {}
        last = max(first.values())
        for index, frame in zip(range(last, -1, -1), self.video.backward(last + 1), strict=False):
            current.step(index, frame, {})
            earlier[index] = {
                key: replace(one, logits=None, naming=current.tracks[key].naming)
                for key, one in current.found.items()
                if index < first[key]
            }
        return earlier


# --- One pass through the frames --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """An object in a frame: its mask, score (0-1), low-resolution mask logits and which rule answered."""

    mask: PackedMask
    score: float
    kind: str
    logits: NDArray[np.float32] | None = None
    naming: LazyLabels | None = None


@dataclass(slots=True)
class Track:
    """What a pass keeps of one object: by which prompts it is known, and what its mode needs, no more."""

    prompts: tuple[Prompt, ...]
    naming: LazyLabels | None = None
    is_awaited: bool = False
    """It was described by words that no frame has shown yet."""
    memory: VideoMemory = field(default_factory=VideoMemory)
    logits: NDArray[np.float32] | None = None
    reference: Reference | None = None


class Pass:
    """One way through the video, forward or backward, and the frame where it is."""

    def __init__(self, tracker: Tracker, said: Said) -> None:
        self.model, self.mode, self.size = tracker.model, tracker.mode, tracker.size
        self.name = tracker.video.name
        self.said = said
        self.tracks: dict[int, Track] = {}
        self.found: dict[int, Found] = {}
        self.index = -1
        self.next_frame = 0
        self.hw: tuple[int, int] | None = None
        self.time: float | None = None
        self.photo: InputImage | None = None
        self.heard: tuple[tuple[Prompt, ...], ...] = ()
        self.describer: FeatureDescriber | None = None
        self._seen: SeenFrame | None = None
        self._features: Float[Tensor, "d h w"] | None = None
        self._seconds = 0.0

    def step(self, index: int, frame: VideoFrame, given: Mapping[int, Found]) -> Results:
        """Go on to a frame and answer for every object; `given` is what is known already."""
        self.index, self.next_frame, self.time = index, index + 1, frame.time
        self._seen = self._features = None
        self._seconds = 0.0
        self.photo = read_image(frame.picture)
        self.hw = self.hw or self.photo.hw
        if self.photo.hw != self.hw:
            (height, width), (first_height, first_width) = self.photo.hw, self.hw
            raise ValueError(
                f"Frame {index} of {self.name} has {width} x {height} pixels, others {first_width} x {first_height}; "
                "a video has one size."
            )
        asked = self.said.get(index, {})
        waiting = {key: track.prompts for key, track in self.tracks.items() if track.is_awaited and key not in asked}
        started = time.perf_counter()
        self.found = {**given, **self.follow([key for key, track in self.tracks.items() if not track.is_awaited])}
        self.ask({**waiting, **asked})
        self.heard = tuple(asked.values())
        self._seconds = time.perf_counter() - started
        return self.results()

    def hear(self, object_id: int, prompts: tuple[Prompt, ...]) -> Results:
        """Answer prompts about the frame at hand."""
        started = time.perf_counter()
        self.ask({object_id: prompts})
        self.heard = (*self.heard, prompts)
        self._seconds += time.perf_counter() - started
        return self.results()

    def forget(self, object_id: int) -> None:
        """Keep nothing of an object."""
        self.tracks.pop(object_id, None)
        self.found.pop(object_id, None)

    def is_at(self, frame: int) -> bool:
        """Tell whether a frame is at hand."""
        return self.photo is not None and frame == self.index

    def end(self) -> None:
        """Let go of the last frame."""
        self.photo = self._seen = self._features = None

    @property
    def seen(self) -> SeenFrame:
        """The frame as the model sees it; the first look encodes it."""
        if self._seen is None:
            assert self.photo is not None
            self._seen = self.model.encode(self.photo.picture, self.size)
        return self._seen

    @property
    def features(self) -> Float[Tensor, "d h w"]:
        """The frame's places, described for matching."""
        if self._features is None:
            self.describer = self.describer or FeatureDescriber.of(self.seen.memory, self.seen.images)
            self._features = self.describer.describe(self.seen.memory, self.seen.images)
        return self._features

    # --- From frame to frame -----------------------------------------------------------------------------------------

    def follow(self, ids: Sequence[int]) -> dict[int, Found]:
        """Find known objects in the frame at hand; what is not to be seen is left out."""
        match self.mode:
            case "memory":
                found = {key: self.remember(self.tracks[key]) for key in ids}
            case "propagate":
                found = self.propagate([key for key in ids if self.tracks[key].logits is not None])
            case "reference":
                found = {key: self.compare(self.tracks[key]) for key in ids}
        return {key: one for key, one in found.items() if one is not None and one.mask.area}

    def remember(self, track: Track) -> Found | None:
        """Match the frame with what was seen of an object."""
        with torch.no_grad():
            cover = track.memory.follow(self.features)
            inside = cover > FOREGROUND_THRESHOLD
            if not bool(inside.any()):
                return None
            logits = self.to_logits(cover)
            mask = to_image_masks(logits[None], self.frame)[0]
        score = float(cover[inside].mean())
        return Found(PackedMask.pack(mask.cpu().numpy(), self.frame.output_hw), score, "memory", logits.cpu().numpy())

    def propagate(self, ids: Sequence[int]) -> dict[int, Found | None]:
        """Let the last mask of every object be its prompt."""
        if not ids:
            return {}
        answers = self.seen.segment_many([[Mask(logits=self.tracks[key].logits)] for key in ids])
        found: dict[int, Found | None] = {}
        for row, key in enumerate(ids):
            one = read_row(answers, row)
            if one.score >= LEAST_SCORE and is_somewhere(one.logits):
                self.tracks[key].logits = one.logits
                found[key] = replace(one, kind="propagate")
        return found

    def compare(self, track: Track) -> Found | None:
        """Let the object in the prompted frame be the prompt."""
        if track.reference is None:
            return None
        answer = self.seen.segment(track.reference)
        return replace(read_row(answer, 0), kind="reference") if len(answer) else None

    # --- Prompts -----------------------------------------------------------------------------------------------------

    def ask(self, asked: Mapping[int, tuple[Prompt, ...]]) -> None:
        """Answer prompts about the frame at hand, and let what they say be what is known of their objects."""
        for key, prompts in asked.items():
            track = self.tracks.get(key) or Track(prompts, is_awaited=True)
            answer = self.answer(prompts, self.found.get(key))
            only_words = not any(isinstance(prompt, VisualPrompt) for prompt in prompts)
            track.prompts, track.is_awaited = prompts, track.is_awaited and answer is None and only_words
            self.tracks[key] = track
            if answer is not None:
                self.found[key] = answer
                self.learn(track, answer)

    def answer(self, prompts: tuple[Prompt, ...], before: Found | None) -> Found | None:
        """Segment an object; what was followed up to here is the mask before its correction."""
        height, width = self.frame.output_hw
        regions = [prompt for prompt in prompts if isinstance(prompt, Mask) and prompt.array is not None]
        if len(regions) == len(prompts):
            together = np.zeros((height, width), dtype=np.bool_)
            for region in regions:
                region.check_inside((height, width))
                together |= np.asarray(region.array, dtype=np.bool_)
            mask = PackedMask.pack(together, (height, width))
            return Found(mask, 1.0, "mask, as given", self.to_logits(self.cover_of(mask)).cpu().numpy())
        memory: list[Mask] = []
        drawn = any(isinstance(prompt, VisualPrompt) for prompt in prompts)
        brought = any(brings_a_mask(prompt, self.model.network) for prompt in prompts)
        if before is not None and is_somewhere(before.logits) and drawn and not brought:
            memory = [Mask(logits=before.logits)]
        result = self.seen.segment(*prompts, *memory)
        return read_row(result, 0) if len(result) and result.areas[0] else None

    def learn(self, track: Track, answer: Found) -> None:
        """Keep what the mode needs of an object that was just prompted."""
        seen, mask = self.seen, Mask(answer.mask.decode())
        track.naming = LazyLabels(lambda: seen.segment(mask).naming.get(1))
        match self.mode:
            case "memory":
                with torch.no_grad():
                    track.memory.correct(self.features, self.cover_of(answer.mask))
            case "propagate":
                track.logits = answer.logits
            case "reference":
                track.reference = Reference(seen, mask)

    # --- Frames of reference -----------------------------------------------------------------------------------------

    @property
    def frame(self) -> ImageFrame:
        """The sizes of the frame at hand."""
        images = self.seen.images
        resampling = self.model.network.decoder.policy.resampling
        return ImageFrame(images.padded_hw, images.input_hw[0], self.seen.photo.hw, resampling)

    def cover_of(self, mask: PackedMask) -> Float[Tensor, "h w"]:
        """Say how much of each place a mask of the photo covers, 0-1."""
        (padded_height, padded_width), (height, width) = self.frame.padded_hw, self.frame.input_hw
        whole = torch.from_numpy(mask.decode()).to(self.seen.images.pixels.device, torch.float32)[None, None]
        drawn = F.interpolate(whole, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
        padded = F.pad(drawn, (0, padded_width - width, 0, padded_height - height))
        return F.avg_pool2d(padded, grid_stride(self.frame.padded_hw))[0, 0]

    def to_logits(self, cover: Float[Tensor, "h w"]) -> Float[Tensor, "h4 w4"]:
        """Turn a cover into mask logits at the stride in which they go in and out."""
        hw = (self.frame.padded_hw[0] // STRIDE, self.frame.padded_hw[1] // STRIDE)
        grown = F.interpolate(cover[None, None], size=hw, mode="bilinear", align_corners=False)[0, 0]
        return STEEPNESS * (grown - FOREGROUND_THRESHOLD)

    def results(self) -> Results:
        """Put together what was found in the frame at hand."""
        assert self.photo is not None
        ids = sorted(self.found)
        found = [self.found[key] for key in ids]
        namings = [self.found[key].naming or self.tracks[key].naming for key in ids]
        with_logits = found and all(one.logits is not None for one in found)
        encoding = {} if self._seen is None else {"encode": self._seen.encode_seconds}
        results = Results.of(
            self.photo.picture,
            (one.mask.decode() for one in found),
            [min(max(one.score, 0.0), 1.0) for one in found],
            vocabulary=self.model.vocabulary(),
            kind=", ".join(dict.fromkeys(one.kind for one in found)) or self.mode,
            provenance=Provenance(
                task="video",
                model=self.model.name,
                model_sha256=self.model.sha256,
                precision=self.model.precision,
                prompts=self.heard,
                seconds={**encoding, "video": self._seconds - sum(encoding.values())},
                notes=self.photo.notes,
                image_name=self.photo.name or f"{Path(self.name).stem}-{self.index:06d}.png",
                orientation=self.photo.orientation,
            ),
            labels=lambda: joined(namings),
            ids=ids,
            logits=np.stack([one.logits for one in found if one.logits is not None]) if with_logits else None,
        )
        return replace(results, frame=self.index, time=self.time)


def read_row(results: Results, row: int) -> Found:
    """Read one object of an answer."""
    one = results[row]
    return Found(results.packed[row], one.score, results.kind, None if one.logits is None else np.array(one.logits))


def joined(namings: Sequence[LazyLabels | None]) -> Labels:
    """Ask for the names of objects, each of which was named, or is, in the frame where it was prompted."""
    labels = [Labels.nameless(1) if naming is None else naming.get(1) for naming in namings]
    return Labels(tuple(one.names[0] for one in labels), tuple(one.scores[0] for one in labels))


def is_somewhere(logits: NDArray[np.float32] | None) -> bool:
    """Tell whether mask logits have an inside."""
    return logits is not None and bool((logits > 0).any())


def is_whole(value: object, least: int) -> bool:
    """Tell whether something is a whole number that is large enough."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= least


def objects_in(prompts: object) -> list[tuple[Prompt, ...]]:
    """Read what is asked: a prompt, or a list that holds for each object a prompt or a list of prompts.

    Raises `ValueError` for anything else; what the lists hold is checked when it is asked.
    """
    given = [prompts] if isinstance(prompts, Prompt) else prompts
    objects: list[tuple[Prompt, ...]] = []
    for one in given if isinstance(given, (list, tuple)) else ():
        if not isinstance(one, (Prompt, list, tuple)):
            raise ValueError(not_a_prompt(one))
        objects.append((one,) if isinstance(one, Prompt) else tuple(one))
    if not objects:
        raise ValueError(
            f"track takes a list that holds for each object a prompt or a list of prompts, got {prompts!r}."
        )
    return objects


def known(ids: Sequence[int]) -> str:
    """List ids for people."""
    return ", ".join(map(str, ids)) or "none yet"


def checked_mode(mode: Mode | None, model: Looking) -> Mode:
    """Return the mode to follow objects by; `ValueError` for one that does not exist or that a model cannot do."""
    if mode is None:
        return DEFAULTS.get(model.network.config.decoder.policy, "memory")
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; it is one of {', '.join(MODES)}.")
    if mode == "reference" and place_of(model.network) is None:
        raise ValueError(
            f"{model.name} takes no Reference, so mode 'reference' is not for it; use memory or propagate."
        )
    if mode == "propagate" and model.network.decoder.policy.visual is None:
        raise ValueError(f"{model.name} takes no visual prompts, so mode 'propagate' is not for it; use memory.")
    return mode
