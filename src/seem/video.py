"""Videos as people have them: files, folders of pictures, lists, and streams that are read once.

Files are read and written by PyAV, which `pip install "seem[video]"` brings; the others need nothing. Frames come
upright (a phone's rotation is applied) and keep their time stamps, so that a variable frame rate stays what it is.
"""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.errors import SeemError
from seem.images import ImageLike
from seem.regular_file import check_regular_file

VideoLike: TypeAlias = "str | os.PathLike[str] | Iterable[ImageLike]"

FRAME_SUFFIXES = (".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
BACKWARD_FRAMES = 16  # frames held while a file is read backward
MAX_DECODER_DELAY = 64  # packets that a decoder may hold before it gives a frame
TIMED_FORMATS = {"asf", "flv", "matroska", "mp4"}  # their headers state a duration
FRAME_COUNT_TOLERANCE = 2  # frames by which the count in a container may be wrong
TICKS_PER_SECOND = (
    60_000  # time base of files that we write: all usual frame rates fit, and MPEG-4 allows no more
)
DEFAULT_FRAME_RATE = 25.0  # frames a second of files without time stamps
H264_OPTIONS = {"crf": "20", "preset": "veryfast"}


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame: whatever a model can encode, and when it is shown, in seconds (None where it is unknown)."""

    image: ImageLike
    time: float | None = None


class Video(ABC):
    """Frames in order. `num_frames` is None where it is not known before all are read."""

    name: str = "video"
    num_frames: int | None = None
    slack: int = 0
    """Frames by which `num_frames` may be wrong."""
    is_stream: bool = False
    """It is read once, forward only."""

    def check_has_frame(self, frame: int) -> None:
        """Raise `ValueError` for the index of a frame that does not exist, if the number of frames is known."""
        count = self.num_frames
        if count is not None and frame >= count + self.slack:
            raise ValueError(missing_frame_message(frame, self.name, count))

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
    frames = []
    for path in folder.iterdir():
        is_hidden = path.name[0] == "."
        if path.suffix.lower() in FRAME_SUFFIXES and not is_hidden:
            frames.append(path)
    if not frames:
        raise SeemError(f"{folder} holds no frames ({' '.join(FRAME_SUFFIXES)}).")
    return sorted(frames, key=_natural_sort_key)


def _natural_sort_key(path: Path) -> list[tuple[bool, int, str]]:
    key = []
    for part in _natural_sort_parts(path.name):
        number = int(part) if part.isdigit() else 0
        key.append((part.isdigit(), number, part))
    return key


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


@dataclass(frozen=True, slots=True)
class FrameMark:
    """What a frame is known by: its stamp in the file, its time in seconds and a checksum of its pixels.

    `num_packets` of the track had been read when the decoder gave the frame.
    """

    stamp: int | None
    time: float
    checksum: int
    num_packets: int


def have_rising_stamps(marks: Sequence[FrameMark]) -> bool:
    """Tell whether every frame has a stamp that is later than the one before, so that stamps find frames."""
    stamps = [mark.stamp for mark in marks if mark.stamp is not None]
    return len(stamps) == len(marks) and all(one < other for one, other in pairwise(stamps))


@dataclass(slots=True)
class DemuxProgress:
    """How much of a file was read: packets of the video track, frames to be shown, and the end of any track (s)."""

    num_packets: int = 0
    num_shown: int = 0
    end: float = 0.0

    def add(self, packet: Any, track: Any) -> None:
        """Count a packet of any track."""
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self.end = max(self.end, end)
        if packet.stream_index != track.index or not packet.size:
            return
        self.num_packets += 1
        if packet.is_discard:
            return
        self.num_shown += 1
        if track.container.format.name == "avi" and packet.dts is not None:
            # frames that repeat the one before are counted in the header and stored as nothing
            self.num_shown = max(self.num_shown, packet.dts + 1)


def runs_backward(before: int) -> Iterator[tuple[int, int]]:
    """Yield first and end of runs of at most `BACKWARD_FRAMES` frames, from the last to the first frame."""
    for end in range(before, 0, -BACKWARD_FRAMES):
        yield max(end - BACKWARD_FRAMES, 0), end


def shown_packets(container: Any, track: Any) -> Iterator[Any]:
    """Yield the packets of a track; an error ends them."""
    with suppress(pyav().error.FFmpegError):
        for packet in container.demux(track):
            if packet.size:
                yield packet


def last_key_packet(packets: Sequence[Any], before: int) -> int:
    """Return the index of the last packet with a key frame among the first ones, 0 if none has."""
    for index in range(min(before, len(packets)) - 1, 0, -1):
        if packets[index].is_keyframe:
            return index
    return 0


def promised_frames(container: Any, track: Any) -> int:
    """Return the number of frames that a file says it shows; 0 where it says nothing.

    The header of an MP4 that was cut without encoding it again counts frames that its edit list hides; its index
    names those.
    """
    if "mp4" in container.format.name and track.frames:
        return sum(not entry.is_discard for entry in track.index_entries)
    return int(track.frames)


def promised_seconds(container: Any) -> float | None:
    """Return the duration that a file states; None for formats whose duration is only estimated."""
    if container.duration is None or not TIMED_FORMATS & set(container.format.name.split(",")):
        return None
    return float(container.duration / 1e6)


class VideoFile(Video):
    """A file that PyAV reads."""

    slack = FRAME_COUNT_TOLERANCE

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        with self._open() as container:
            track = _video_track(container, path)
            self.coded_hw = (track.height, track.width)  # as stored: before a rotation is applied
            self.num_frames = promised_frames(container, track) or None
            self.seconds = promised_seconds(container)

    def forward(self) -> Iterator[VideoFrame]:
        """Go through all frames; a file that is damaged or cut short gives its good ones first."""
        progress = DemuxProgress()
        count = 0
        for frame, time in self._decoded(progress):
            yield VideoFrame(_upright_pixels(frame), time)
            count += 1
        if not count:
            raise SeemError(f"{self.name} holds no frames.")
        if self.num_frames and progress.num_shown < self.num_frames - self.slack:
            raise SeemError(
                f"{self.name} is cut short: {count} of {self.num_frames} frames are there; fetch it again."
            )
        if not self.num_frames and self.seconds and progress.end < 0.98 * self.seconds - 0.5:
            raise SeemError(
                f"{self.name} is cut short: {count} frames, {progress.end:.2f} of {self.seconds:.2f} s, are "
                "there; fetch it again."
            )

    def backward(self, before: int) -> Iterator[VideoFrame]:
        """Go back to the first frame, BACKWARD_FRAMES at a time.

        The file is decoded once from its start, to count its frames and to know their pixels by a checksum. Then each
        run of frames is read from a key frame before it. Where seeking lands behind the run (MPEG-TS, FLV) or pixels
        differ (open groups of pictures), it goes further back, at last to the start of the file. Where stamps are
        missing or begin anew, seeking is of no use: then the packets are held, compressed as they are.
        """
        marks = self._mark_frames(before)
        if len(marks) < before:
            raise ValueError(missing_frame_message(before - 1, self.name, len(marks)))
        if not have_rising_stamps(marks):
            yield from self._backward_by_packets(marks)
            return
        margin = 0
        for start, end in runs_backward(before):
            frames = None
            while frames is None and start > margin:
                frames = self._read_after_seek(marks[start - margin].stamp, marks[start:end])
                if frames is None:
                    margin = max(2 * margin, BACKWARD_FRAMES)
            yield from reversed(frames or self._read_from_start(start, end))

    def _mark_frames(self, count: int) -> list[FrameMark]:
        """Decode the first frames and return what each is known by."""
        progress = DemuxProgress()
        marks = []
        for frame, time in islice(self._decoded(progress), count):
            marks.append(FrameMark(frame.pts, time, _checksum(frame), progress.num_packets))
        return marks

    def _backward_by_packets(self, marks: Sequence[FrameMark]) -> Iterator[VideoFrame]:
        """Go back through the marked frames by decoding each run from a key frame among the packets of the file."""
        with self._open() as container:
            track = _video_track(container, self.path)
            packets = list(islice(shown_packets(container, track), marks[-1].num_packets))
            margin = 0
            for start, end in runs_backward(len(marks)):
                frames, first = None, len(packets)
                while frames is None and first > 0:
                    first = last_key_packet(packets, marks[start].num_packets - margin)
                    last = marks[end - 1].num_packets + MAX_DECODER_DELAY
                    frames = _decode_packets(track, packets[first:last], marks[start:end])
                    if frames is None:
                        margin = max(2 * margin, BACKWARD_FRAMES)
                yield from reversed(frames or self._read_from_start(start, end))

    def _decoded(self, progress: DemuxProgress) -> Iterator[tuple[Any, float]]:
        """Decode the frames from the first and yield each with its time; `SeemError` where the file breaks off."""
        with self._open() as container:
            frames = decode_frames(container, _video_track(container, self.path), progress)
            for index, frame in enumerate(frames):
                if isinstance(frame, Exception):
                    raise SeemError(
                        f"{self.name} breaks off after {index} good frames ({frame}); fetch it again."
                    )
                yield frame, _seconds_of(frame, index)

    def _read_from_start(self, start: int, end: int) -> list[VideoFrame]:
        """Read frames `start` to `end` - 1 by decoding all before them."""
        frames = islice(self._decoded(DemuxProgress()), start, end)
        return [VideoFrame(_upright_pixels(frame), time) for frame, time in frames]

    def _read_after_seek(
        self, stamp: int | None, marks: Sequence[FrameMark]
    ) -> list[VideoFrame] | None:
        """Read the marked frames by decoding from a key frame before a stamp; None if others came."""
        recent: deque[Any] = deque(maxlen=len(marks))
        with self._open() as container, suppress(pyav().error.FFmpegError):
            track = _video_track(container, self.path)
            container.seek(stamp, stream=track)
            for frame in container.decode(track):
                recent.append(frame)
                if frame.pts is None or frame.pts >= marks[-1].stamp:
                    break
        if [frame.pts for frame in recent] != [mark.stamp for mark in marks]:
            return None
        if [_checksum(frame) for frame in recent] != [mark.checksum for mark in marks]:
            return None
        return [
            VideoFrame(_upright_pixels(frame), mark.time)
            for frame, mark in zip(recent, marks, strict=True)
        ]

    def _open(self) -> Any:
        """Open the file; every way in which that fails is one line."""
        av = pyav()
        check_regular_file(self.path)
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
    for track in container.streams.video:
        if not track.disposition.value & ATTACHED_PICTURE:
            return track
    what = "sound alone" if container.streams.audio else "no pictures"
    raise SeemError(f"{path} holds {what}, there is nothing to see; pass a video.")


ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC


def decode_frames(container: Any, track: Any, progress: DemuxProgress) -> Iterator[Any]:
    """Go through the frames of a track; where they end in an error, the error comes last.

    A frame that the decoder had to invent in part counts as an error. What it still held back then comes first.
    """
    errors = pyav().error
    is_cut = False
    try:
        for packet in container.demux():
            progress.add(packet, track)
            if packet.stream_index != track.index:
                continue
            if is_cut and not packet.size:  # the file ends in the middle of the packet before
                yield from _flush_decoder(track)
                yield SeemError("half a frame")
                return
            is_cut = packet.is_corrupt
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


def _decode_packets(
    track: Any, packets: Sequence[Any], marks: Sequence[FrameMark]
) -> list[VideoFrame] | None:
    """Decode packets until the marked frames have come, and return them; None if they have not."""
    checksums = [mark.checksum for mark in marks]
    recent: deque[tuple[int, Any]] = deque(maxlen=len(marks))
    decoder = track.codec_context
    decoder.flush_buffers()
    with suppress(pyav().error.FFmpegError):
        for packet in [*packets, None]:
            for frame in decoder.decode(packet):
                recent.append((_checksum(frame), frame))
                if [checksum for checksum, _ in recent] == checksums:
                    return [
                        VideoFrame(_upright_pixels(frame), mark.time)
                        for (_, frame), mark in zip(recent, marks, strict=True)
                    ]
    return None


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


def _checksum(frame: Any) -> int:
    """Return a checksum of a frame's pixels."""
    return zlib.crc32(frame.to_ndarray(format="rgb24").tobytes())


def _upright_pixels(frame: Any) -> NDArray[np.uint8]:
    """Turn a decoded frame into H x W x 3, as it is shown."""
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

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Open the file; errors call it by `name`, else by its path."""
        av = pyav()
        self.path = path
        self.name = name or str(path)
        self.codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        with self._explaining_errors():
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

    def add(self, image: Image.Image, time: float | None = None) -> None:
        """Add a frame that is shown at `time` (seconds); without a time that is later, the interval before is repeated.

        Raises `OSError` where the file cannot be written.
        """
        av = pyav()
        pixels = np.asarray(image.convert("RGB"))
        pixels = np.pad(
            pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge"
        )
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        next_tick = self._last + self._interval if self._last >= 0 else 0
        tick = next_tick if time is None else round(time * TICKS_PER_SECOND)
        if tick <= self._last:  # stamps that begin anew, as in joined MPEG-TS
            tick = next_tick
        self._interval = tick - self._last if self._last >= 0 else self._interval
        frame.pts, frame.time_base, self._last = tick, Fraction(1, TICKS_PER_SECOND), tick
        if self._track is None:
            self._track = self._new_track(pixels.shape[1], pixels.shape[0])
        self._write(frame)

    def close(self) -> None:
        """Finish the file."""
        try:
            if self._track is not None:
                self._write(None)
        finally:
            self._track = None
            with self._explaining_errors():
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
        with self._explaining_errors():
            for packet in self._track.encode(frame):
                self._file.mux(packet)

    @contextmanager
    def _explaining_errors(self) -> Iterator[None]:
        try:
            yield
        except pyav().error.FFmpegError as error:
            raise OSError(
                f"Cannot write {self.name} ({_av_reason(error)}); free some space or choose another folder."
            ) from None
