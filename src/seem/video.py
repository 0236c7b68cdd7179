"""Videos as people have them: files, folders of pictures, lists, and streams that are read once.

Files are read and written by PyAV, which `pip install "seem[video]"` brings; the others need nothing. Frames come
upright (a phone's rotation is applied) and keep their time stamps, so that a variable frame rate stays what it is.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.errors import SeemError
from seem.images import ImageLike

VideoLike: TypeAlias = "str | os.PathLike[str] | Iterable[ImageLike]"

FRAME_SUFFIXES = (".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
BACKWARD_FRAMES = 16  # frames held while a file is read backward
FRAME_COUNT_TOLERANCE = 2  # frames by which the count in a container may be wrong
TICKS_PER_SECOND = (
    60_000  # time base of files that we write: all usual frame rates fit, and MPEG-4 allows no more
)
DEFAULT_FRAME_RATE = 25.0  # frames a second of files without time stamps
H264_OPTIONS = {"crf": "20", "preset": "veryfast"}


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame: whatever a model can encode, and when it is shown, in seconds (None where it is unknown)."""

    picture: ImageLike
    time: float | None = None


class Video(ABC):
    """Frames in order. `num_frames` is None where it is not known before all are read."""

    name: str = "video"
    num_frames: int | None = None
    slack: int = 0
    """Frames by which `num_frames` may be wrong."""
    is_stream: bool = False
    """It is read once, forward only."""

    @abstractmethod
    def forward(self) -> Iterator[VideoFrame]:
        """Go through all frames.

        Raises `SeemError`, after all good frames, where the video breaks.
        """

    @abstractmethod
    def backward(self, before: int) -> Iterator[VideoFrame]:
        """Go from frame `before` - 1 back to the first."""


def open_video(video: VideoLike) -> Video:
    """Open a file, a folder of pictures (in the order of their names), a list of frames, or an iterator over them.

    Raises `ValueError` for what is no video, `SeemError` for a file or folder that cannot be read.
    """
    if isinstance(video, (str, os.PathLike)):
        if isinstance(video, str) and "://" in video:
            raise ValueError(
                f"{video} is a web address; download the video first and pass its file."
            )
        path = Path(video)
        return FrameList(_list_frames(path), path.name) if path.is_dir() else VideoFile(path)
    if isinstance(video, Image.Image) or getattr(video, "ndim", 4) != 4:
        what = f"{type(video).__name__} of {getattr(video, 'shape', getattr(video, 'size', ''))}"
        raise ValueError(
            f"A video is a file, a folder, a list or an iterator of frames, got one {what}; pass [frame]."
        )
    if isinstance(video, Sequence) or hasattr(video, "ndim"):
        return FrameList(video)  # type: ignore[arg-type]
    if isinstance(video, Iterable):
        return FrameStream(iter(video))
    raise ValueError(
        f"A video is a file, a folder, a list or an iterator of frames, got {video!r}."
    )


def _list_frames(folder: Path) -> list[Path]:
    """List the frames in a folder by name; numbers count as numbers, so that 10.jpg comes after 9.jpg."""
    names = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FRAME_SUFFIXES and path.name[0] != "."
    ]
    if not names:
        raise SeemError(f"{folder} holds no frames ({' '.join(FRAME_SUFFIXES)}).")
    return sorted(
        names,
        key=lambda path: [
            (part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in _natural_sort_parts(path.name)
        ],
    )


def _natural_sort_parts(name: str) -> list[str]:
    """Cut a name into numbers and what is between them."""
    pieces = [""]
    for letter in name:
        if pieces[-1] and (pieces[-1][-1].isdecimal() != letter.isdecimal()):
            pieces.append("")
        pieces[-1] += letter
    return pieces


@dataclass
class FrameList(Video):
    """Frames with random access: a list, an array T x H x W x 3, the pictures in a folder."""

    frames: Sequence[ImageLike]
    name: str = "video"

    def __post_init__(self) -> None:
        self.num_frames = len(self.frames)

    def forward(self) -> Iterator[VideoFrame]:
        """Go through all frames."""
        return (VideoFrame(frame) for frame in self.frames)

    def backward(self, before: int) -> Iterator[VideoFrame]:
        """Go back to the first frame."""
        return (VideoFrame(self.frames[index]) for index in reversed(range(before)))


@dataclass
class FrameStream(Video):
    """Frames that come once: a camera, a generator."""

    frames: Iterator[ImageLike]
    is_stream = True
    is_read: bool = False

    def forward(self) -> Iterator[VideoFrame]:
        """Read the stream; it can be done once."""
        if self.is_read:
            raise ValueError(
                "This stream of frames has been read already; pass a file, a folder or a list instead."
            )
        self.is_read = True
        return (VideoFrame(frame) for frame in self.frames)

    def backward(self, before: int) -> Iterator[VideoFrame]:
        """Streams do not go back."""
        raise ValueError(
            f"A stream is read once, forward only; frame {before - 1} has passed. Pass a file or a list."
        )


def missing_frame_message(frame: int, name: str, num_frames: int) -> str:
    """Say that a frame does not exist."""
    return f"Frame {frame} does not exist: {name} has {num_frames} frames, counted from 0."


# --- Files ------------------------------------------------------------------------------------------------------------


class VideoFile(Video):
    """A file that PyAV reads."""

    slack = FRAME_COUNT_TOLERANCE

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        with self._open() as container:
            self.num_frames = _video_track(container, path).frames or None
            self.seconds = (
                None
                if container.duration is None or container.streams.audio
                else container.duration / 1e6
            )

    def forward(self) -> Iterator[VideoFrame]:
        """Go through all frames; a file that is damaged or cut short gives its good ones first."""
        count, last = 0, 0.0
        with self._open() as container:
            for frame in decode_frames(container, _video_track(container, self.path)):
                if isinstance(frame, Exception):
                    raise SeemError(
                        f"{self.name} breaks off after {count} good frames ({frame}); fetch it again."
                    )
                last = _seconds_of(frame, count)
                yield VideoFrame(_upright_pixels(frame), last)
                count += 1
        if not count:
            raise SeemError(f"{self.name} holds no frames.")
        if self.num_frames and count < self.num_frames - self.slack:
            raise SeemError(
                f"{self.name} is cut short: {count} of {self.num_frames} frames are there; fetch it again."
            )
        if not self.num_frames and self.seconds and last < 0.98 * self.seconds - 0.5:
            raise SeemError(
                f"{self.name} is cut short: {count} frames, {last:.2f} of {self.seconds:.2f} s, are there; "
                "fetch it again."
            )

    def backward(self, before: int) -> Iterator[VideoFrame]:
        """Go back to the first frame, BACKWARD_FRAMES at a time; each time the file is read from a key frame on."""
        stamps = self._stamps()[:before]
        if len(stamps) < before:
            raise ValueError(missing_frame_message(before - 1, self.name, len(stamps)))
        for end in range(len(stamps), 0, -BACKWARD_FRAMES):
            yield from reversed(self._between(stamps, max(end - BACKWARD_FRAMES, 0), end))

    def _between(self, stamps: Sequence[int], start: int, end: int) -> list[VideoFrame]:
        """Read some frames, known by their stamps."""
        wanted = {stamp: index for index, stamp in enumerate(stamps[start:end], start)}
        found = []
        with self._open() as container:
            track = _video_track(container, self.path)
            container.seek(stamps[start], stream=track)
            for frame in decode_frames(container, track):
                if isinstance(frame, Exception):
                    raise SeemError(
                        f"{self.name} cannot be read backward ({frame}); fetch it again."
                    )
                if frame.pts in wanted:
                    found.append(
                        VideoFrame(
                            _upright_pixels(frame), _seconds_of(frame, wanted.pop(frame.pts))
                        )
                    )
                if not wanted:
                    break
        return found

    def _stamps(self) -> list[int]:
        """Read the time stamps of all frames, in order; nothing is decode_frames."""
        with self._open() as container:
            packets = container.demux(_video_track(container, self.path))
            return sorted(
                {
                    packet.pts
                    for packet in packets
                    if packet.pts is not None and not packet.is_discard
                }
            )

    def _open(self) -> Any:
        """Open the file; every way in which that fails is one line."""
        av = pyav()
        if not self.path.exists():
            raise SeemError(f"There is no video at {self.path}; check the path.")
        if not self.path.stat().st_size:
            raise SeemError(f"{self.path} is empty (0 bytes).")
        try:
            return av.open(str(self.path), metadata_errors="ignore")
        except av.error.FFmpegError as error:
            raise SeemError(
                f"{self.path} is not a video that can be read ({_av_reason(error)}); use MP4, MOV, MKV or WebM."
            ) from None


def pyav() -> Any:
    """Import PyAV; `SeemError` where it is not installed."""
    try:
        import av
    except ImportError:
        raise SeemError(
            'Video files need PyAV; install it with: pip install "seem[video]".'
        ) from None
    av.logging.set_level(None)  # what is wrong is said by our own errors
    return av


def _video_track(container: Any, path: Path) -> Any:
    """Return the first track of moving pictures; the cover image of a music file is none."""
    tracks = [
        track for track in container.streams.video if not track.disposition.value & ATTACHED_PICTURE
    ]
    if not tracks:
        what = "sound alone" if container.streams.audio else "no pictures"
        raise SeemError(f"{path} holds {what}, there is nothing to see; pass a video.")
    return tracks[0]


ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC


def decode_frames(container: Any, track: Any) -> Iterator[Any]:
    """Go through the frames of a track; where they end in an error, the error comes last.

    A frame that the decoder had to invent in part counts as an error. What it still held back then comes first.
    """
    errors = pyav().error
    try:
        for packet in container.demux(track):
            if packet.is_corrupt:  # the file ends in the middle of it
                yield from _flush_decoder(track)
                yield SeemError("half a frame")
                return
            for frame in packet.decode():
                if frame.is_corrupt:
                    yield SeemError("a damaged frame")
                    return
                yield frame
    except errors.EOFError:
        return
    except errors.FFmpegError as error:
        yield from _flush_decoder(track)
        yield SeemError(_av_reason(error))


def _flush_decoder(track: Any) -> list[Any]:
    """Return the good frames that a decoder has not given yet."""
    try:
        frames = [frame for frame in track.codec_context.decode(None) if not frame.is_corrupt]
    except pyav().error.FFmpegError:
        return []
    for frame in frames:
        frame.time_base = track.time_base  # a packet would have brought it
    return frames


def _av_reason(error: Any) -> str:
    """Return the reason of an error of PyAV, without the numbers and the path around it."""
    return (error.strerror or type(error).__name__).lower()


def _upright_pixels(frame: Any) -> NDArray[np.uint8]:
    """Turn a decode_frames frame into H x W x 3, as it is shown."""
    pixels: NDArray[np.uint8] = np.rot90(
        frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4
    )
    return np.ascontiguousarray(pixels)


def _seconds_of(frame: Any, index: int) -> float:
    """Return when a frame is shown; files without time stamps are counted."""
    return float(index / DEFAULT_FRAME_RATE if frame.time is None else frame.time)


class VideoWriter:
    """Writes an MP4 file: H.264 where PyAV has it, else MPEG-4. Close it, or use it in a `with` block.

    Sides become even, as both need: the last row or column is repeated.
    """

    def __init__(self, path: Path) -> None:
        av = pyav()
        self.path = path
        self.codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._file = av.open(str(path), "w", format="mp4")
        self._track: Any = None
        self._last = -1
        self._interval = round(TICKS_PER_SECOND / DEFAULT_FRAME_RATE)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, picture: Image.Image, time: float | None = None) -> None:
        """Add a frame that is shown at `time` (seconds), or a 25th of a second after the one before.

        Raises `OSError` where the file cannot be written.
        """
        av = pyav()
        pixels = np.asarray(picture.convert("RGB"))
        pixels = np.pad(
            pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge"
        )
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        next_tick = self._last + self._interval if self._last >= 0 else 0
        tick = next_tick if time is None else max(round(time * TICKS_PER_SECOND), self._last + 1)
        self._interval = tick - self._last if self._last >= 0 else self._interval
        frame.pts, frame.time_base, self._last = tick, Fraction(1, TICKS_PER_SECOND), tick
        if self._track is None:
            self._track = self._new_track(pixels.shape[1], pixels.shape[0])
        self._write(frame)

    def close(self) -> None:
        """Finish the file."""
        if self._track is not None:
            self._write(None)
            self._track = None
        self._file.close()

    def _new_track(self, width: int, height: int) -> Any:
        track = self._file.add_stream(
            self.codec, options=H264_OPTIONS if self.codec == "libx264" else {}
        )
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        track.time_base = track.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        if self.codec == "mpeg4":
            track.bit_rate = 8 * width * height
        return track

    def _write(self, frame: Any) -> None:
        try:
            for packet in self._track.encode(frame):
                self._file.mux(packet)
        except pyav().error.FFmpegError as error:
            raise OSError(
                f"Cannot write {self.path} ({_av_reason(error)}); free some space or choose another folder."
            ) from None
