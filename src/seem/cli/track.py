"""`seem track`: a video to the same video with its objects drawn, and a JSON file."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from seem.cli.dataset_options import VideoDatasetOptions
from seem.cli.errors import print_error, single_line, write_line
from seem.cli.image_files import check_writable
from seem.cli.interruption import interrupts_put_off
from seem.cli.options import FLAG, ModelOptions, OutputOptions, PromptOptions, takes_option_groups
from seem.cli.prompts import check_marks, check_objects_supported, objects_from_options
from seem.cli.report import describe_loaded_model, with_progress_bar
from seem.cli.track_files import TrackFiles, target_paths
from seem.errors import SeemError
from seem.images import read_image
from seem.prompts import Prompt
from seem.results.datasets import VideoExport
from seem.results.export import to_prompt_records
from seem.tracker import Tracker
from seem.video import open_video

TRACKING_PANEL = "Tracking"


class Mode(str, Enum):
    """How an object is carried from one frame to the next."""

    MEMORY = "memory"
    PROPAGATE = "propagate"
    REFERENCE = "reference"


@takes_option_groups
def track_command(
    ctx: typer.Context,
    *,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="Video file, or folder of frames.")],
    prompts: PromptOptions,
    frame: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Index of the frame that the prompts are about, from 0.",
            rich_help_panel=TRACKING_PANEL,
        ),
    ] = 0,
    backward: Annotated[
        bool,
        typer.Option(
            "--backward",
            metavar=FLAG,
            help="Also track from that frame back to the first.",
            rich_help_panel=TRACKING_PANEL,
        ),
    ] = False,
    mode: Annotated[
        Mode | None,
        typer.Option(
            metavar="memory|propagate|reference",
            help="How objects are carried from frame to frame. Default: the best for the model.",
            rich_help_panel=TRACKING_PANEL,
        ),
    ] = None,
    network: ModelOptions,
    output: OutputOptions,
    datasets: VideoDatasetOptions,
) -> None:
    """Track objects through a video.

    Writes CLIP.overlay.mp4, with the time stamps of the clip, and CLIP.json: COCO-style, one image a frame, a track_id
    for every object. --format writes the masks of all frames for other tools besides. Needs the extra `video`.

    seem track clip.mp4 --box 30,40,300,400

    seem track clip.mp4 --point 410,220 --not-point 80,40 --object --text "the red car" --frame 25 --backward

    seem track clip.mp4 --box 30,40,300,400 --format davis,youtube-vis

    A phrase that fits nothing in its frame is searched for in the following frames until it does.

    Coordinates are (x, y) in pixels of the frame as shown. Points name pixels: 410 and 410.0 are the centre of
    pixel 410. Boxes and polygons run along edges: 410 is the left edge of that pixel.
    """
    objects = objects_from_options(ctx, prompts)
    if not objects:
        raise ValueError("There is nothing to follow; add a --point, --box, --text or the like.")
    path = Path(clip)
    stem = path.stem
    if path.is_dir():
        stem = path.absolute().name
    check_no_results(output.out, stem, output.overwrite)
    network.check_size()
    check_model_takes(network.model, objects)
    check_prompted_frame(clip, frame, objects)
    export = datasets.open(output.out, stem, output.overwrite)
    started = time.perf_counter()
    model = network.load()
    tracker = model.tracker(
        clip, mode.value if mode else None, size=network.size, backward=backward
    )
    for number, object_prompts in enumerate(objects, 1):
        tracker.add(frame, number, *object_prompts)
    metadata = {"video": path.name, "mode": tracker.mode, "prompts": prompt_records(objects, frame)}
    files = TrackFiles(output.out, stem, model, metadata)
    if not output.quiet:
        write_line(describe_loaded_model(model, time.perf_counter() - started))
    started = time.perf_counter()
    try:
        write_tracked_video(tracker, files, export, output.quiet)
    finally:
        if files.num_frames and not output.quiet and files.targets[1].exists():
            write_line(f"{path.name}: {describe_tracks(files, time.perf_counter() - started)}")
            for note in export.notes:
                print_error(note)


def check_no_results(folder: Path, stem: str, overwrite: bool) -> None:
    """Raise `OSError` before any work if the files could not be written."""
    check_writable(folder)
    if overwrite:
        return
    if any(map(Path.exists, target_paths(folder, stem))):
        raise FileExistsError(
            f"There are results already: {folder / stem}.*; pass --overwrite or another --out."
        )


def check_model_takes(model: str, objects: Sequence[tuple[Prompt, ...]]) -> None:
    """Raise `ValueError` for prompts that a model does not take, if that is known before its weights are read."""
    from seem.loading import find_config

    known = find_config(model)
    if known is not None:
        check_objects_supported(objects, known.name, known.policy)


def check_prompted_frame(clip: str, frame: int, objects: Sequence[tuple[Prompt, ...]]) -> None:
    """Raise before a model is loaded for a clip without frames, without that frame, or too small for the prompts."""
    video = open_video(clip)
    video.check_has_frame(frame)
    first = next(video.forward(), None)
    if first is not None:
        image_hw = read_image(first.image).hw
        check_marks(itertools.chain.from_iterable(objects), image_hw)


def prompt_records(objects: Sequence[tuple[Prompt, ...]], frame: int) -> list[dict[str, Any]]:
    """Return the prompts of every object for the JSON file."""
    records = []
    for number, prompts in enumerate(objects, 1):
        prompt_record = {
            "track_id": number,
            "frame": frame,
            "prompts": to_prompt_records(prompts),
        }
        records.append(prompt_record)
    return records


def write_tracked_video(
    tracker: Tracker, files: TrackFiles, export: VideoExport, quiet: bool
) -> None:
    """Track through the video and write every frame.

    A video that breaks off and an interruption leave files of the frames so far, if there are any, and the error is
    raised again; any other error leaves nothing.
    """
    try:
        for results in with_progress_bar(
            tracker, unit="frame", disable=quiet, total=tracker.video.num_frames
        ):
            files.add(results)
            export.add(results)
        finish_files(files, export)
    except BaseException as error:
        if files.is_finished:  # the interruption was put off until then
            raise
        if files.num_frames and isinstance(error, SeemError | KeyboardInterrupt):
            finish_files(files, export, single_line(error))
        else:
            export.discard()
            files.discard()
        raise


def finish_files(files: TrackFiles, export: VideoExport, note: str | None = None) -> None:
    """Complete all files, whatever interrupts meanwhile."""
    with interrupts_put_off():
        files.finish(note)
        export.finish()
        files.is_finished = True


def describe_tracks(files: TrackFiles, seconds: float) -> str:
    """Word in how many frames each object was found, the files, and the speed."""
    frames_per_second = files.num_frames / max(seconds, 1e-9)
    counts = [f"object {number} in {count}" for number, count in sorted(files.frames_of.items())]
    sentences = []
    if counts:
        sentences.append(", ".join(counts))
    names = ", ".join(path.name for path in files.targets)
    counted_frames = f"{files.num_frames} frame{'' if files.num_frames == 1 else 's'}"
    return (
        f"{counted_frames}: {'; '.join(sentences + files.notes)}\n"
        f"  {files.folder}/: {names}\n"
        f"  {seconds:.2f} s, {frames_per_second:.1f} frames/s"
    )
