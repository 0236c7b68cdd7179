"""`seem data`: inspect a data set, draw an evaluation subset of it, write it as shards."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from tqdm import tqdm

from seem.checkpoints.safe import atomic_write
from seem.cli.errors import EXIT_FAILED
from seem.cli.options import FLAG, check_file_to_write
from seem.data.dataset import Dataset
from seem.data.inspection import MAX_LISTED_FLAWS, DatasetReport, inspect_dataset
from seem.data.opening import DatasetSpec, list_splits, open_dataset
from seem.data.readers.shards import (
    IMAGES_PER_SHARD,
    is_class_file,
    list_shards,
    write_shards,
)
from seem.data.records import DataError
from seem.data.subset import draw_subset
from seem.data.unused_files import find_unused_files
from seem.errors import SeemError
from seem.part_files import naming_final_files, part_folder

SPEC = (
    "KIND:PATH, or a PATH (folder, zip or file) whose layout is recognised: COCO, YOLO, labelme, CVAT, Label Studio, "
    "VOC, ADE20K, a folder of photos and masks, ... "
    "(PATH,frame=stored: annotations lie on photos as stored, EXIF ignored)"
)

data_commands = typer.Typer(
    help="Inspect data sets, draw subsets, write shards.",
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

DatasetArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="PATH", help=f"Data set: {SPEC}")
]
SplitOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Split to read: train, val, ... Default: all.")
]


@data_commands.command("check")
def check_command(
    path: DatasetArgument,
    split: SplitOption = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", metavar=FLAG, help="Read only the sizes of photos, not their pixels."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print one JSON object.")
    ] = False,
) -> None:
    """Report what a data set holds and what is wrong with it; exit code 1 if anything is."""
    spec = DatasetSpec.parse(path)
    parts, problems = open_readable_parts(spec, split)
    reports = inspect_parts(parts, pixels=not quick)
    unused = () if split else find_unused_files(spec.root, parts)
    ok = not problems and all(report.ok for report in reports)
    if as_json:
        record = {
            "kind": spec.layout().kind,
            "ok": ok,
            "parts": [report.to_json() for report in reports],
            "unreadable_parts": problems,
            "unused_files": [{"where": note.where, "what": note.what} for note in unused],
        }
        typer.echo(json.dumps(record))
    else:
        texts = ["\n".join(report.lines()) for report in reports]
        texts += [f"Problem: {problem}" for problem in problems]
        if unused:
            listed = [f"  {note.where}: {note.what}" for note in unused[:MAX_LISTED_FLAWS]]
            if len(unused) > MAX_LISTED_FLAWS:
                listed.append(f"  ... and {len(unused) - MAX_LISTED_FLAWS} more kinds")
            texts.append("\n".join(["Files that are not used:", *listed]))
        typer.echo("\n\n".join(texts))
    if not ok:
        raise typer.Exit(EXIT_FAILED)


@data_commands.command("subset")
def subset_command(
    path: DatasetArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="JSON file to write.")],
    split: Annotated[str, typer.Option(metavar="NAME", help="Split to draw from.")] = "val",
    photos: Annotated[int, typer.Option(metavar="N", min=1, help="Number of photos.")] = 600,
    per_photo: Annotated[
        int, typer.Option(metavar="N", min=1, help="Largest number of objects of one photo.")
    ] = 5,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Random seed for sampling photos, objects and prompts.")
    ] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Replace an existing OUT.")
    ] = False,
) -> None:
    """Draw an evaluation subset with its first prompts; the same data and seed give the same file."""
    check_file_to_write(out, overwrite)
    with progress_bar(photos, "drawing") as step:
        subset = draw_subset(open_dataset(path, split), photos, seed, per_photo, step)
    with atomic_write(out) as temporary:
        temporary.write_text(json.dumps(subset.to_json(), indent=1) + "\n", encoding="utf-8")
    objects = sum(len(photo.objects) for photo in subset.images)
    typer.echo(
        f"{out}: {len(subset.images)} photos, {objects} objects, fingerprint {subset.fingerprint[:16]}"
    )


@data_commands.command("shards")
def shards_command(
    path: DatasetArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write into.")],
    split: SplitOption = None,
    per_shard: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of photos in one tar file.")
    ] = IMAGES_PER_SHARD,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Replace existing shards in OUT.")
    ] = False,
) -> None:
    """Write a data set as WebDataset shards: tar files that hold photos and annotations, for large sets.

    What `seem data check` finds unreadable is left out.
    """
    from seem.finetuning.usable_dataset import without_images

    spec = DatasetSpec.parse(path)
    if out.exists() and spec.path.exists() and out.samefile(spec.path):
        raise ValueError(f"OUT is the data set itself; choose another folder than {out}.")
    old_shards = list_shards(out)
    if old_shards and not overwrite:
        raise FileExistsError(f"{out} holds shards already; pass --overwrite or another OUT.")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; name a folder.")
    parts = open_parts(spec, split)
    reports = inspect_parts(parts, pixels=True)
    usable = [
        without_images(part, report.unusable_images)
        for part, report in zip(parts, reports, strict=True)
    ]
    num_photos = count_images(usable)
    if num_photos == 0:
        raise SeemError(
            f"{spec.path} has no photo that can be read; run: seem data check {spec.path}"
        )
    with progress_bar(num_photos, "writing") as step, part_in_new_folder(out) as temporary:
        counts = [len(write_shards(part, temporary, per_shard, step)) for part in usable]
        replace_shards(old_shards, temporary, out)
    for part, report, num_shards in zip(usable, reports, counts, strict=True):
        typer.echo(f"{out}: {describe_shards(part, report, num_shards)}")
    if not all(report.ok for report in reports):
        typer.echo(
            f"Not everything could be used; to see what is wrong, run: seem data check {spec.path}"
        )
    typer.echo(f"Use it: seem finetune --data shards:{out}")


def replace_shards(old_shards: Sequence[Path], written: Path, out: Path) -> None:
    """Remove the old shards and move the written ones to `out`.

    The classes are removed first and moved last: a folder without them is no data set, so that nobody trains on half of
    one after an interruption.
    """
    for file in reversed(old_shards):
        file.unlink()
    for file in sorted(written.iterdir(), key=is_class_file):
        file.replace(out / file.name)


def describe_shards(part: Dataset, report: DatasetReport, num_shards: int) -> str:
    """Word what was written of one part of a data set."""
    plural = "s" if num_shards > 1 else ""
    text = f"part {report.split}, {len(part.images)} photos in {num_shards} tar{plural}"
    if report.unusable_images:
        text += f"; {len(report.unusable_images)} that cannot be used are left out"
    return text


def open_parts(spec: DatasetSpec, split: str | None) -> list[Dataset]:
    """Open one part of a data set, or all; `DataError` where one cannot be read."""
    return [open_dataset(spec, name, tolerant=True) for name in part_names(spec, split)]


def part_names(spec: DatasetSpec, split: str | None) -> Sequence[str]:
    """Return the name of one part of a data set, or of all; `DatasetRequestError` for a part that it does not have."""
    if split is None:
        return list_splits(spec)
    spec.layout().resolve_split(spec.root, split)
    return [split]


def open_readable_parts(spec: DatasetSpec, split: str | None) -> tuple[list[Dataset], list[str]]:
    """Open one part of a data set, or all that can be read; return them and why the others cannot be.

    Raises as `open_parts` does where none can be read.
    """
    if split is not None:
        return open_parts(spec, split), []
    parts: list[Dataset] = []
    errors: list[DataError] = []
    for name in part_names(spec, None):
        opened = _open_or_error(spec, name)
        if isinstance(opened, DataError):
            errors.append(opened)
        else:
            parts.append(opened)
    if not parts:
        raise errors[0]
    return parts, list(map(str, errors))


def _open_or_error(spec: DatasetSpec, name: str) -> Dataset | DataError:
    """Open a part of a data set; return why it cannot be read if it cannot."""
    try:
        return open_dataset(spec, name, tolerant=True)
    except DataError as error:
        return error


def inspect_parts(parts: Sequence[Dataset], *, pixels: bool) -> list[DatasetReport]:
    """Inspect the parts of a data set, with a progress bar on a terminal."""
    with progress_bar(count_images(parts), "looking") as step:
        return [inspect_dataset(part, pixels=pixels, step=step) for part in parts]


def count_images(parts: Sequence[Dataset]) -> int:
    """Return the number of images in the parts of a data set."""
    return sum(len(part.images) for part in parts)


@contextmanager
def part_in_new_folder(out: Path) -> Iterator[Path]:
    """Make a folder to write to inside `out`, and `out` itself, which is removed again if it stays empty."""
    new_folders = [each for each in (out, *out.parents) if not each.exists()]
    try:
        with part_folder(out) as part, naming_final_files(part, out):
            yield part
    finally:
        for each in new_folders:
            with suppress(OSError):  # it is not empty
                each.rmdir()


@contextmanager
def progress_bar(total: int, verb: str) -> Iterator[Callable[[], object]]:
    """Show a progress bar on a terminal; yields the function to call after each photo."""
    with tqdm(
        total=total, desc=verb, unit="photo", file=sys.stderr, disable=not sys.stderr.isatty()
    ) as bar:
        yield bar.update
