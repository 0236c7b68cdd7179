"""`seem track`: a video in, the video with its objects drawn and a JSON file out."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from tqdm import tqdm

from seem.api import Model
from seem.cli.errors import one_line, write_line
from seem.cli.options import (
    FLAG,
    OBJECT,
    AudioOption,
    BoxOption,
    DeviceOption,
    ModelOption,
    NotPointOption,
    NotScribbleOption,
    NotStrokeOption,
    ObjectOption,
    OutOption,
    OverwriteOption,
    PointOption,
    PolygonOption,
    Precision,
    PrecisionOption,
    QuietOption,
    ReferenceBoxOption,
    ReferenceMaskOption,
    ReferenceOption,
    ReferencePointOption,
    ReferenceTextOption,
    ScribbleOption,
    SizeOption,
    StrokeOption,
    TextOption,
    Values,
    WidthOption,
)
from seem.cli.photos import check_writable
from seem.cli.prompts import in_order, read_objects
from seem.cli.report import PATIENCE, Lines
from seem.errors import SeemError
from seem.loading import load
from seem.prompts import Prompt
from seem.results import Results
from seem.tracker import Tracker
from seem.version import __version__
from seem.video import VideoWriter, open_video


class Mode(str, Enum):
    """How an object comes from one frame into the next."""

    MEMORY = "memory"
    PROPAGATE = "propagate"
    REFERENCE = "reference"


@dataclass(slots=True)
class Files:
    """The two files of a call, written aside frame by frame: `<stem>.overlay.mp4` and `<stem>.json`."""

    folder: Path
    stem: str
    model: Model
    about: dict[str, Any]
    num_frames: int = 0
    num_annotations: int = 0
    frames_of: Counter[int] = field(default_factory=Counter)  # in how many frames each object is
    _images: list[dict[str, Any]] = field(default_factory=list)
    _aside: tuple[Path, ...] = ()
    _writer: VideoWriter | None = None
    _json: IO[str] | None = None
    _categories: list[Any] = field(default_factory=list)
    _made: list[Path] = field(default_factory=list)  # folders
    _started: float = field(default_factory=time.perf_counter)

    @property
    def targets(self) -> tuple[Path, Path]:
        """Where the files will be."""
        return targets(self.folder, self.stem)

    def add(self, results: Results) -> None:
        """Add a frame."""
        record = results.to_coco(image_id=self.num_frames + 1)
        if self._writer is None or self._json is None:
            self._begin()
            self._categories = list(record["categories"])
        assert self._writer is not None
        assert self._json is not None
        self._writer.add(results.overlay(), results.time)
        (image,) = record["images"]
        lines = [
            json.dumps({**annotation, "id": number, "track_id": annotation["id"], "video_id": 1})
            for number, annotation in enumerate(record["annotations"], self.num_annotations + 1)
        ]
        self._json.write(",\n".join([""] * bool(lines and self.num_annotations) + lines))
        self._images.append({**image, "video_id": 1, "frame": results.frame, "time": results.time})
        self.frames_of.update(results.ids.tolist())
        self.num_annotations += len(lines)
        self.num_frames += 1

    @property
    def notes(self) -> list[str]:
        """What was asked for and not found in any frame."""
        asked = {row["track_id"] for row in self.about["prompts"]}
        return [f"object {number} was not found in any frame" for number in sorted(asked - set(self.frames_of))]

    def keep(self, note: str | None = None) -> None:
        """Finish both files and give them their names; `note` says what a reader must know."""
        assert self._json is not None
        width, height = self._images[0]["width"], self._images[0]["height"]
        video = {"id": 1, "file_name": self.about.pop("video"), "width": width, "height": height}
        rest = {
            "images": self._images,
            "videos": [{**video, "length": self.num_frames}],
            "categories": self._categories,
            "seem": {
                "version": __version__,
                "model": self.model.name,
                "sha256": self.model.sha256,
                "task": "video",
                "precision": self.model.precision,
                **self.about,
                "seconds": {"all": round(time.perf_counter() - self._started, 6)},
                "notes": [*([note] if note else []), *self.notes],
            },
        }
        self._json.write(f"],\n{json.dumps(rest)[1:]}\n")
        self._close()
        for aside, target in zip(self._aside, self.targets, strict=True):
            aside.replace(target)

    def drop(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # a full disk, for example, which is being told already
            self._close()
        for path in self._aside:
            path.unlink(missing_ok=True)
        for folder in self._made:
            with suppress(OSError):  # others have put something there
                folder.rmdir()

    def _begin(self) -> None:
        self._made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(4)
        self._aside = tuple(self.folder / f".seem-{token}-{number}.part" for number in range(2))
        self._json = self._aside[1].open("w", encoding="utf-8")
        self._json.write('{"annotations": [\n')
        self._writer = VideoWriter(self._aside[0])

    def _close(self) -> None:
        if self._json is not None:
            self._json.close()
        if self._writer is not None:
            self._writer.close()


def targets(folder: Path, stem: str) -> tuple[Path, Path]:
    """Return where the two files of a clip go."""
    return folder / f"{stem}.overlay.mp4", folder / f"{stem}.json"


def check_free(folder: Path, stem: str, overwrite: bool) -> None:
    """Raise `OSError` before any work if the files could not be kept."""
    check_writable(folder)
    if not overwrite and any(path.exists() for path in targets(folder, stem)):
        raise FileExistsError(f"There are results already: {folder / stem}.*; pass --overwrite or another --out.")


def follow(tracker: Tracker, files: Files, quiet: bool) -> None:
    """Go through the video and write what is found.

    A video that breaks, or a person who interrupts, leaves the files of the frames up to there, and the error goes on;
    with any other error nothing is left.
    """
    try:
        for results in progress(tracker, tracker.video.num_frames, quiet):
            files.add(results)
        files.keep()
    except (SeemError, KeyboardInterrupt) as error:
        if files.num_frames:
            files.keep(one_line(error))
        raise
    except BaseException:
        files.drop()
        raise


def progress(frames: Iterable[Results], total: int | None, quiet: bool) -> Iterator[Results]:
    """Go through the frames, with a bar on standard error."""
    watched = sys.stderr.isatty()
    style = {"file": sys.stderr} if watched else {"file": Lines(), "mininterval": PATIENCE, "ncols": 80}
    yield from tqdm(frames, total=total, unit="frame", disable=quiet, **style)


def summed_up(files: Files, seconds: float) -> str:
    """Word what was found, and where it is."""
    rate = files.num_frames / max(seconds, 1e-9)
    counts = [f"object {key} in {count}" for key, count in sorted(files.frames_of.items())]
    seen = "; ".join([", ".join(counts), *files.notes]).removeprefix("; ")
    names = ", ".join(path.name for path in files.targets)
    return f"{files.num_frames} frames: {seen}\n  {files.folder}/: {names}\n  {seconds:.2f} s, {rate:.1f} frames/s"


def described(objects: Sequence[tuple[Prompt, ...]], frame: int) -> list[dict[str, Any]]:
    """Describe what was asked for the JSON file."""
    return [
        {"track_id": number, "frame": frame, "prompts": [prompt.to_dict() for prompt in prompts]}
        for number, prompts in enumerate(objects, 1)
    ]


# --- The verb ---------------------------------------------------------------------------------------------------------

HOW = "How"


def track(
    ctx: typer.Context,
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video file, or a folder of frames.")],
    point: PointOption = None,
    not_point: NotPointOption = None,
    box: BoxOption = None,
    text: TextOption = None,
    stroke: StrokeOption = None,
    not_stroke: NotStrokeOption = None,
    scribble: ScribbleOption = None,
    not_scribble: NotScribbleOption = None,
    width: WidthOption = None,
    polygon: PolygonOption = None,
    mask: Annotated[
        Values, typer.Option(metavar="FILE", help="Its mask: a picture, black outside.", rich_help_panel=OBJECT)
    ] = None,
    audio: AudioOption = None,
    reference: ReferenceOption = None,
    reference_point: ReferencePointOption = None,
    reference_box: ReferenceBoxOption = None,
    reference_mask: ReferenceMaskOption = None,
    reference_text: ReferenceTextOption = None,
    object_: ObjectOption = 0,
    frame: Annotated[
        int, typer.Option(min=0, metavar="N", help="The frame that the prompts are about.", rich_help_panel=HOW)
    ] = 0,
    backward: Annotated[
        bool,
        typer.Option("--backward", metavar=FLAG, help="Also follow from there to the start.", rich_help_panel=HOW),
    ] = False,
    mode: Annotated[
        Mode | None,
        typer.Option(
            metavar="memory|propagate|reference", help="Default: what is best for the model.", rich_help_panel=HOW
        ),
    ] = None,
    model: ModelOption = "nano",
    device: DeviceOption = None,
    precision: PrecisionOption = Precision.AUTO,
    size: SizeOption = None,
    out: OutOption = Path("seem-out"),
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Follow objects through a video.

    Writes CLIP.overlay.mp4, with the time stamps of the clip, and CLIP.json: COCO-style, one image a frame, a track_id
    for every object. Needs the extra `video`.

    seem track clip.mp4 --box 30,40,300,400

    seem track clip.mp4 --point 410,220 --not-point 80,40 --object --text "the red car" --frame 25 --backward

    A phrase that is not found in its frame is looked for in those that follow, until it is.

    Coordinates are (x, y) in pixels of the frame as shown. Points name pixels: 410 and 410.0 are the centre of
    pixel 410. Boxes and polygons run along edges: 410 is the left edge of that pixel.
    """
    given = {
        "point": point,
        "not_point": not_point,
        "box": box,
        "text": text,
        "stroke": stroke,
        "not_stroke": not_stroke,
        "scribble": scribble,
        "not_scribble": not_scribble,
        "width": width,
        "polygon": polygon,
        "mask": mask,
        "audio": audio,
        "reference": reference,
        "reference_point": reference_point,
        "reference_box": reference_box,
        "reference_mask": reference_mask,
        "reference_text": reference_text,
        "object": [""] * object_,
    }
    objects = read_objects(in_order(ctx, {name: values or [] for name, values in given.items()}))
    if not objects:
        raise ValueError("There is nothing to follow; add a --point, --box, --text or the like.")
    name = clip.absolute().name if clip.is_dir() else clip.stem
    open_video(clip)  # what is no video is told before a model is loaded
    check_free(out, name, overwrite)
    started = time.perf_counter()
    network = load(model, device, precision.value)
    tracker = network.tracker(clip, mode.value if mode else None, size=size, backward=backward)
    for number, prompts in enumerate(objects, 1):
        tracker.add(frame, number, *prompts)
    about = {"video": clip.name, "mode": tracker.mode, "prompts": described(objects, frame)}
    files = Files(out, name, network, about)
    if not quiet:
        write_line(
            f"{network.name} on {network.device}, {network.precision}: loaded in {time.perf_counter() - started:.2f} s"
        )
    started = time.perf_counter()
    try:
        follow(tracker, files, quiet)
    finally:
        if files.num_frames and not quiet and files.targets[1].exists():
            write_line(f"{clip.name}: {summed_up(files, time.perf_counter() - started)}")
