"""Uploaded videos, and the jobs that track objects through them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError
from seem.images import read_image
from seem.results import Labels, LazyLabels, Results
from seem.server.problems import Problem, problem_of_work
from seem.server.stored_images import result_bytes
from seem.server.telemetry import LOGGER
from seem.server.workers import Cancellation, WorkCancelledError
from seem.tracker import Tracker
from seem.video import VideoFile

MATROSKA = b"\x1aE\xdf\xa3"
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
SIGNATURE_BYTES = 12


def is_video_container(start: bytes) -> bool:
    """Tell MP4, MOV, Matroska, WebM and AVI by their first bytes.

    The reader of videos also opens playlists and scripts, which name other files and addresses; none begins so.
    """
    is_avi = start[:4] == b"RIFF" and start[8:12] == b"AVI "
    return start[4:8] in MP4_BOXES or start[:4] == MATROSKA or is_avi


@dataclass(slots=True, eq=False)
class StoredVideo:
    """A video in a file of the server's own; `name` is what its user calls it, `hw` the size of its frames."""

    path: Path
    name: str
    num_bytes: int
    hw: tuple[int, int]
    num_frames: int | None
    num_readers: int = 0
    is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> VideoFile:
        """Open the file, under the user's name."""
        video = VideoFile(self.path)
        video.name = self.name
        return video

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Decode one frame, H x W x 3; `Problem` for one that is not there."""
        frames = self.open().forward()
        for frame in islice(frames, index, None):
            return np.asarray(frame.image)
        raise Problem("not-found", f"{self.name} has no frame {index}; frames count from 0.")

    def close(self) -> None:
        """Delete the file, once no job reads it any more."""
        with self._lock:
            self.is_closed = True
            self._delete_unread()

    def begin_reading(self) -> None:
        """Note that a job reads the file."""
        with self._lock:
            self.num_readers += 1

    def end_reading(self) -> None:
        """Note that a job has ended."""
        with self._lock:
            self.num_readers -= 1
            self._delete_unread()

    def _delete_unread(self) -> None:
        if self.is_closed and not self.num_readers:
            self.path.unlink(missing_ok=True)


def probe_video(path: Path, name: str, num_bytes: int, max_pixels: int) -> StoredVideo:
    """Look at a file: its first frame must be there, and not too large."""
    with path.open("rb") as file:
        if not is_video_container(file.read(SIGNATURE_BYTES)):
            raise Problem(
                "unsupported-media-type", f"{name} is no MP4, MOV, MKV, WebM or AVI file; send one."
            )
    try:
        video = VideoFile(path)
        height, width = video.coded_hw
        if height * width > max_pixels:
            raise Problem(
                "too-many-pixels",
                f"{name} has {width} x {height} pixels, more than the limit of {max_pixels:,}.",
            )
        first = next(video.forward())
    except SeemError as error:
        raise Problem("unreadable", without_path(str(error), path, name)) from None
    return StoredVideo(path, name, num_bytes, read_image(first.image).hw, video.num_frames)


def without_path(message: str, path: Path, name: str) -> str:
    """Replace the server's own path of a file by the user's name."""
    return message.replace(str(path), name).replace(path.name, name)


class JobStatus(str, Enum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class TrackingJob:
    """Objects that are followed through a video, in a thread of its own: `run` is the work, the rest its progress."""

    video_id: str
    video: StoredVideo
    tracker: Tracker
    max_frames: int
    status: JobStatus = JobStatus.QUEUED
    frames: list[Results] = field(default_factory=list)
    problem: Problem | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)
    num_bytes: int = 0

    def run(self) -> None:
        """Track to the end; what fails is noted in `problem`."""
        self.status = JobStatus.RUNNING
        try:
            self._track()
            self.status = JobStatus.DONE
        except WorkCancelledError:
            self.status = JobStatus.CANCELLED
        except BaseException as error:
            self.problem = self._problem_of(error)
            self.status = JobStatus.FAILED

    def close(self) -> None:
        """Stop."""
        self.cancellation.cancel()

    def finish(self) -> None:
        """Note that the work has ended, or never began."""
        if self.status is JobStatus.QUEUED:
            self.status = JobStatus.CANCELLED
        self.video.end_reading()

    def _track(self) -> None:
        for results in self.tracker:
            self.cancellation.check()
            if len(self.frames) >= self.max_frames:
                raise Problem(
                    "too-large",
                    f"{self.video.name} has more than {self.max_frames} frames; cut it into parts.",
                )
            frame = without_pixels(results)
            self.frames.append(frame)
            self.num_bytes += result_bytes(frame)

    def _problem_of(self, error: BaseException) -> Problem:
        problem = problem_of_work(error) if isinstance(error, Exception) else None
        if problem is None:
            LOGGER.error("job failed", exc_info=error)
            return Problem("internal", "The server has failed; its log tells more.")
        detail = without_path(problem.detail, self.video.path, self.video.name)
        return Problem(problem.kind, detail)


def without_pixels(results: Results) -> Results:
    """Return a result that holds neither the frame nor its encoding; its labels are computed."""
    labels = Labels(results.labels, results.label_scores)
    return replace(
        results,
        image=blank_image(results.image_hw),
        lazy_labels=LazyLabels(labels),
        logits=None,
        embeddings=None,
    )


def blank_image(hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a black image that takes no memory."""
    return np.broadcast_to(np.zeros(3, dtype=np.uint8), (*hw, 3))
