"""The two files of `seem track`, written frame by frame: a video with the objects drawn, and a JSON file."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from seem.coco_format import CocoAnnotation
from seem.errors import naming_file
from seem.model import Model
from seem.part_files import new_part
from seem.results import Results
from seem.version import __version__
from seem.video import VideoWriter


def target_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """Return the paths of the video and of the JSON file of a clip."""
    return folder / f"{stem}.overlay.mp4", folder / f"{stem}.json"


@dataclass(slots=True)
class TrackFiles:
    """`<stem>.overlay.mp4` and `<stem>.json`, written under temporary names until `finish`.

    `metadata` goes into the JSON file: `video` (the clip's name), `mode` and `prompts`. `is_finished` is set by who
    writes them once they, and what is written with them, are there.
    """

    folder: Path
    stem: str
    model: Model
    metadata: dict[str, Any]
    num_annotations: int = 0
    frames_of: Counter[int] = field(default_factory=Counter)  # number of frames by object
    is_finished: bool = False
    _images: list[dict[str, Any]] = field(default_factory=list)
    _temporary: tuple[Path, ...] = ()
    _writer: VideoWriter | None = None
    _json: IO[str] | None = None
    _categories: list[Any] = field(default_factory=list)
    _new_folders: list[Path] = field(default_factory=list)
    _started: float = field(default_factory=time.perf_counter)

    @property
    def targets(self) -> tuple[Path, Path]:
        """The paths of the finished files."""
        return target_paths(self.folder, self.stem)

    @property
    def num_frames(self) -> int:
        """How many frames are written."""
        return len(self._images)

    @property
    def notes(self) -> list[str]:
        """Names the objects that were not found in any frame."""
        requested = {record["track_id"] for record in self.metadata["prompts"]}
        missing = sorted(requested - set(self.frames_of))
        return [f"object {number} was not found in any frame" for number in missing]

    def add(self, results: Results) -> None:
        """Write the next frame."""
        record = results.to_coco(image_id=self.num_frames + 1)
        if self._writer is None or self._json is None:
            self._open()
            self._categories = list(record["categories"])
        assert self._writer is not None
        assert self._json is not None
        self._writer.add(results.overlay(), results.time)
        (image,) = record["images"]
        row = {**image, "video_id": 1, "frame": results.frame, "time": results.time}
        text = self._annotation_text(record["annotations"])
        with naming_file(self.targets[1]):
            self._json.write(text)  # and nothing between, where an interruption would part them
            self._images.append(row)
        self.num_annotations += len(record["annotations"])
        self.frames_of.update(results.ids.tolist())

    def finish(self, note: str | None = None) -> None:
        """Complete both files and move them to their names; `note` is what a reader of the JSON file must know."""
        assert self._json is not None
        with naming_file(self.targets[1]):
            self._json.write(f"],\n{json.dumps(self._closing_record(note))[1:]}\n")
            self._json.close()
        self._close()
        for temporary, target in zip(self._temporary, self.targets, strict=True):
            temporary.replace(target)

    def discard(self) -> None:
        """Remove all that was written."""
        with suppress(OSError):  # for example a full disk, whose error is being raised already
            self._close()
        for path in self._temporary:
            path.unlink(missing_ok=True)
        for folder in self._new_folders:
            with suppress(OSError):  # another process has written into it
                folder.rmdir()

    def _annotation_text(self, annotations: Sequence[CocoAnnotation]) -> str:
        """Return what a frame appends to the JSON list of annotations, which are numbered through the video."""
        text = ""
        for number, annotation in enumerate(annotations, self.num_annotations + 1):
            tracked = {**annotation, "id": number, "track_id": annotation["id"], "video_id": 1}
            if number > 1:
                text += ",\n"
            text += json.dumps(tracked)
        return text

    def _closing_record(self, note: str | None) -> dict[str, Any]:
        """Return what follows the annotations in the JSON file."""
        metadata = dict(self.metadata)
        video = {
            "id": 1,
            "file_name": metadata.pop("video"),
            "width": self._images[0]["width"],
            "height": self._images[0]["height"],
            "length": self.num_frames,
        }
        notes = self.notes
        if note is not None:
            notes = [note, *notes]
        return {
            "images": self._images,
            "videos": [video],
            "categories": self._categories,
            "seem": {
                "version": __version__,
                "model": self.model.name,
                "sha256": self.model.sha256,
                "task": "video",
                "precision": self.model.precision,
                **metadata,
                "seconds": {"all": round(time.perf_counter() - self._started, 6)},
                "notes": notes,
            },
        }

    def _open(self) -> None:
        """Open both files under temporary names, and make the folder."""
        self._new_folders = [
            folder for folder in (self.folder, *self.folder.parents) if not folder.exists()
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._temporary = (new_part(self.folder), new_part(self.folder))
        with naming_file(self.targets[1]):
            self._json = self._temporary[1].open("w", encoding="utf-8")
            self._json.write('{"annotations": [\n')
        self._writer = VideoWriter(self._temporary[0], name=str(self.targets[0]))

    def _close(self) -> None:
        if self._json is not None:
            self._json.close()
        if self._writer is not None:
            self._writer.close()
