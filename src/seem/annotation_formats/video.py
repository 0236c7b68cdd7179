"""Masks of a video, frame by frame: DAVIS, YouTube-VIS and MOTS.

    davis/Annotations/480p/CLIP/00000.png     a palette image a frame, the number of the object at each pixel
    davis/ImageSets/2017/all.txt              the names of all clips there
    davis/JPEGImages/480p/CLIP/00000.jpg      the frames, if that was asked for
    youtube-vis/CLIP.json                     videos, annotations (a mask or null a frame), categories
    youtube-vis/CLIP.results.json             the list of results that its evaluation takes
    mots/CLIP.txt                             a line an object and frame

Files are named after a frame's index in the clip. DAVIS and MOTS have one object a pixel: where masks overlap, the one
of the higher score. Everything is written aside and moved when it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.coco_panoptic import flat_map
from seem.annotation_formats.writer import NO_LEFTOVERS, constant_writer, to_json
from seem.coco_format import CocoRle, to_rle, to_xywh
from seem.errors import naming_file
from seem.part_files import new_part, remove_part
from seem.writing import write_together

RESOLUTION = "480p"  # the folder that DAVIS's tools read, whatever the size of the frames
YEAR = "2017"
MAX_DAVIS_OBJECTS = 254  # 255 is void
JPEG_QUALITY = 95
MOTS_CLASSES = {"car": 1, "person": 2, "pedestrian": 2}
FIRST_OTHER_MOTS_CLASS = 11  # 10 is what MOTS ignores
MOTS_IDS_PER_CLASS = 1000

_FRAME_FILE = re.compile(r"\d{5,}\.(png|jpg)")


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """Where a clip's files go: into `folder`, under the name `clip`. `copies_frames`: DAVIS gets the frames as well."""

    folder: Path
    clip: str
    overwrite: bool = False
    copies_frames: bool = False

    def check_free(self, *paths: Path) -> None:
        """Raise `FileExistsError` if one of several paths is there and may not be replaced."""
        for path in paths:
            if path.exists() and not self.overwrite:
                raise FileExistsError(
                    f"{path} exists already; pass --overwrite (overwrite=True) or another folder."
                )

    def write_texts(self, texts: dict[str, str]) -> tuple[Path, ...]:
        """Write text files by their names, all or none."""
        writers = {name: constant_writer(text) for name, text in texts.items()}
        return write_together(self.folder, writers, self.overwrite, NO_LEFTOVERS)


class VideoDatasetWriter(Protocol):
    """Writes the frames of one clip."""

    @property
    def notes(self) -> Sequence[str]:
        """What the format cannot hold."""

    def add(self, frame: AnnotatedImage) -> None:
        """Take the next frame; its stem is its index."""

    def finish(self) -> tuple[Path, ...]:
        """Complete the files and return the paths of those that a reader opens first."""

    def discard(self) -> None:
        """Remove what was written."""


# --- DAVIS ------------------------------------------------------------------------------------------------------------


class DavisWriter:
    """Writes a palette image a frame."""

    def __init__(self, settings: VideoSettings) -> None:
        self._settings = settings
        self._masks = settings.folder / "Annotations" / RESOLUTION / settings.clip
        self._frames = settings.folder / "JPEGImages" / RESOLUTION / settings.clip
        self._part = new_part(settings.folder)
        self._num_contested = 0
        settings.check_free(self._masks)

    @property
    def notes(self) -> list[str]:
        """How many pixels several masks shared."""
        return contested_notes("davis", self._num_contested)

    def add(self, frame: AnnotatedImage) -> None:
        """Write a frame's map, and the frame if that was asked for."""
        ids, num_contested = flat_map(frame.objects, frame.hw)
        self._num_contested += num_contested
        if ids.max(initial=0) > MAX_DAVIS_OBJECTS:
            raise ValueError(f"DAVIS has {MAX_DAVIS_OBJECTS} objects at most, got {ids.max()}.")
        masks = self._part / "masks"
        image = Image.fromarray(ids.astype(np.uint8)).convert("P")
        image.putpalette(davis_palette())
        with naming_file(self._masks / f"{frame.stem}.png"):
            masks.mkdir(parents=True, exist_ok=True)
            image.save(masks / f"{frame.stem}.png", format="PNG")
        if self._settings.copies_frames:
            frames = self._part / "frames"
            with naming_file(self._frames / f"{frame.stem}.jpg"):
                frames.mkdir(exist_ok=True)
                frame.draw().save(frames / f"{frame.stem}.jpg", format="JPEG", quality=JPEG_QUALITY)

    def finish(self) -> tuple[Path, ...]:
        """Move the files to their names and list the clip."""
        move_frames(self._part / "masks", self._masks)
        move_frames(self._part / "frames", self._frames)
        remove_part(self._part)
        folders = filter(Path.is_dir, self._masks.parent.iterdir())
        clips = sorted(path.name for path in folders)
        lists = self._settings.folder / "ImageSets" / YEAR
        files = {"all.txt": constant_writer("\n".join(clips))}
        write_together(lists, files, overwrite=True, leftovers=NO_LEFTOVERS)
        return (self._masks,)

    def discard(self) -> None:
        """Remove what lies aside, and the folder if there is nothing else in it."""
        remove_part(self._part)
        with suppress(OSError):
            self._settings.folder.rmdir()


def move_frames(source: Path, target: Path) -> None:
    """Move the files of frames into a folder, in place of all that it had; a new folder is moved in one step."""
    if not source.is_dir():
        return
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return
    for path in target.iterdir():
        if _FRAME_FILE.fullmatch(path.name):
            path.unlink()
    for path in source.iterdir():
        path.replace(target / path.name)


def davis_palette() -> list[int]:
    """Return 256 colours, red, green, blue, ...: the colour map of PASCAL VOC, which DAVIS uses.

    The bits of a number go by turns to red, green and blue, the lowest to the highest bit of each.
    """
    numbers = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.int64)
    for source in range(8):
        target, channel = divmod(source, 3)
        bits = numbers >> source & 1
        colours[:, channel] |= bits << (7 - target)
    flat: list[int] = colours.ravel().tolist()
    return flat


def contested_notes(name: str, num_contested: int) -> list[str]:
    """Say how many pixels several masks shared."""
    if not num_contested:
        return []
    return [
        f"{name}: {num_contested} pixels were in several masks; the one of the highest score has them."
    ]


# --- YouTube-VIS ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TrackedMasks:
    """One object in the frames of a clip: its class, its scores, and a mask by the number of the frame."""

    class_name: str
    scores: list[float] = field(default_factory=list)
    codes: dict[int, CocoRle] = field(default_factory=dict)
    boxes: dict[int, list[int]] = field(default_factory=dict)
    areas: dict[int, int] = field(default_factory=dict)


class YoutubeVisWriter:
    """Writes one JSON file a clip; an object's score is the mean over its frames."""

    def __init__(self, settings: VideoSettings) -> None:
        self.notes: list[str] = []
        self._settings = settings
        self._classes = ClassTable()
        self._tracks: dict[int, TrackedMasks] = {}
        self._stems: list[str] = []
        self._hw = (0, 0)
        names = (f"{settings.clip}.json", f"{settings.clip}.results.json")
        settings.check_free(*(settings.folder / name for name in names))

    def add(self, frame: AnnotatedImage) -> None:
        """Take the masks of a frame."""
        self._classes.add_all(frame.classes)
        self._hw = frame.hw
        number = len(self._stems)
        self._stems.append(frame.stem)
        for one in frame.objects:
            if not one.mask.area:
                continue
            track = self._tracks.setdefault(one.id, TrackedMasks(one.class_name))
            track.scores.append(one.score)
            track.codes[number] = to_rle(one.mask.decode())
            track.boxes[number] = to_xywh(one.mask.box)
            track.areas[number] = one.mask.area

    def finish(self) -> tuple[Path, ...]:
        """Write the files."""
        height, width = self._hw
        video = {
            "id": 1,
            "width": width,
            "height": height,
            "length": len(self._stems),
            "file_names": [f"{self._settings.clip}/{stem}.jpg" for stem in self._stems],
        }
        rows = [self._row(number, track) for number, track in self._tracks.items()]
        content = {
            "videos": [video],
            "annotations": rows,
            "categories": self._classes.categories,
        }
        results = list(map(_result_of, rows))
        clip = self._settings.clip
        return self._settings.write_texts(
            {f"{clip}.json": to_json(content), f"{clip}.results.json": to_json(results)}
        )

    def discard(self) -> None:
        """Nothing was written."""

    def _row(self, number: int, track: TrackedMasks) -> dict[str, Any]:
        frames = range(len(self._stems))
        height, width = self._hw
        return {
            "id": number,
            "video_id": 1,
            "category_id": self._classes.named(track.class_name)["id"],
            "segmentations": [track.codes.get(frame) for frame in frames],
            "bboxes": [track.boxes.get(frame) for frame in frames],
            "areas": [track.areas.get(frame) for frame in frames],
            "iscrowd": 0,
            "width": width,
            "height": height,
            "length": len(self._stems),
            "score": round(sum(track.scores) / len(track.scores), 6),
        }


def _result_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a list of results says of an annotation."""
    return {
        "video_id": row["video_id"],
        "category_id": row["category_id"],
        "segmentations": row["segmentations"],
        "score": row["score"],
    }


# --- MOTS -------------------------------------------------------------------------------------------------------------


class MotsWriter:
    """Writes the text file of a clip: frame, id, class, height, width, run-length code."""

    def __init__(self, settings: VideoSettings) -> None:
        self._settings = settings
        self._lines: list[str] = []
        self._other_classes: dict[str, int] = {}
        self._num_contested = 0
        settings.check_free(settings.folder / f"{settings.clip}.txt")

    @property
    def notes(self) -> list[str]:
        """How many pixels several masks shared, and the numbers of classes that MOTS does not have."""
        notes = contested_notes("mots", self._num_contested)
        for name, number in self._other_classes.items():
            notes.append(f"mots: {name!r} is class {number}; MOTS has car (1) and pedestrian (2).")
        return notes

    def add(self, frame: AnnotatedImage) -> None:
        """Take the lines of a frame."""
        ids, num_contested = flat_map(frame.objects, frame.hw)
        self._num_contested += num_contested
        for one in frame.objects:
            mask = ids == one.id
            if mask.any():
                self._lines.append(self._line(one, mask, int(frame.stem)))

    def finish(self) -> tuple[Path, ...]:
        """Write the file."""
        return self._settings.write_texts({f"{self._settings.clip}.txt": "\n".join(self._lines)})

    def discard(self) -> None:
        """Nothing was written."""

    def _line(self, one: AnnotatedObject, mask: NDArray[np.bool_], frame: int) -> str:
        number = MOTS_CLASSES.get(one.class_name.lower())
        if number is None:
            following = FIRST_OTHER_MOTS_CLASS + len(self._other_classes)
            number = self._other_classes.setdefault(one.class_name, following)
        height, width = mask.shape
        object_id = number * MOTS_IDS_PER_CLASS + one.id
        return f"{frame} {object_id} {number} {height} {width} {to_rle(mask)['counts']}"
