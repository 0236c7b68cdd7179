"""`seem data`: what is in a data set and what is wrong with it, evaluation subsets of it, shards of it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from seem.checkpoints.safe import atomic_write
from seem.cli.errors import FAILED
from seem.data.dataset import Dataset
from seem.data.inspection import DataReport, inspect
from seem.data.opening import Spec, list_splits, open_dataset
from seem.data.readers.shards import PER_SHARD, shards_in, write_shards
from seem.data.records import DataError
from seem.data.subset import draw_subset
from seem.errors import SeemError

SPEC = "KIND:PATH, or a PATH whose layout tells: COCO, LVIS, YOLO, VOC, ADE20K, a folder of photos and masks, ..."

data = typer.Typer(
    help="Look at data sets.", no_args_is_help=True, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


@data.command()
def check(
    path: Annotated[str, typer.Argument(metavar="PATH", help=SPEC)],
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Only this part: train, val, ...")] = None,
    quick: Annotated[bool, typer.Option("--quick", metavar=" ", help="Read only the sizes of photos.")] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar=" ", help="Print one JSON object.")] = False,
) -> None:
    """Report what a data set holds and what is wrong with it; exit code 1 if anything is."""
    spec = Spec.parse(path)
    reports = inspected(opened(spec, split), pixels=not quick)
    if as_json:
        kind = spec.layout().kind
        whole = {"kind": kind, "ok": all(r.ok for r in reports), "parts": [r.to_json() for r in reports]}
        typer.echo(json.dumps(whole))
    else:
        typer.echo("\n\n".join("\n".join(report.lines()) for report in reports))
    if not all(report.ok for report in reports):
        raise typer.Exit(FAILED)


@data.command()
def subset(
    path: Annotated[str, typer.Argument(metavar="PATH", help=SPEC)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The JSON file to write.")],
    split: Annotated[str, typer.Option(metavar="NAME", help="Which part.")] = "val",
    photos: Annotated[int, typer.Option(metavar="N", min=1, help="How many photos.")] = 600,
    per_photo: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many objects a photo.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, another subset.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar=" ", help="Replace OUT.")] = False,
) -> None:
    """Draw an evaluation subset with its first prompts; the same data and seed give the same file."""
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; pass --overwrite or another OUT.")
    with bar(photos, "drawing") as step:
        drawn = draw_subset(open_dataset(path, split), photos, seed, per_photo, step)
    with atomic_write(out) as aside:
        aside.write_text(json.dumps(drawn.to_json(), indent=1) + "\n", encoding="utf-8")
    objects = sum(len(photo.objects) for photo in drawn.photos)
    typer.echo(f"{out}: {len(drawn.photos)} photos, {objects} objects, fingerprint {drawn.fingerprint[:16]}")


@data.command()
def shards(
    path: Annotated[str, typer.Argument(metavar="PATH", help=SPEC)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write into.")],
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Only this part: train, val, ...")] = None,
    per_shard: Annotated[int, typer.Option(metavar="N", min=1, help="Photos in one tar.")] = PER_SHARD,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar=" ", help="Replace what is in OUT.")] = False,
) -> None:
    """Write a data set as WebDataset shards: tar files that hold photos and annotations, for large sets.

    What `seem data check` finds unreadable is left out.
    """
    from seem.finetuning.datasets import without_images

    spec = Spec.parse(path)
    if out.exists() and spec.path.exists() and out.samefile(spec.path):
        raise ValueError(f"OUT is the data set itself; choose another folder than {out}.")
    old = shards_in(out)
    if old and not overwrite:
        raise FileExistsError(f"{out} holds shards already; pass --overwrite or another OUT.")
    parts = opened(spec, split)
    reports = inspected(parts, pixels=True)
    kept = [without_images(part, report.unusable) for part, report in zip(parts, reports, strict=True)]
    if not any(part.photos for part in kept):
        raise SeemError(f"{spec.path} has no photo that can be read; run: seem data check {spec.path}")
    with bar(sum(len(part.photos) for part in kept), "writing") as step, beside(out) as aside:
        counts = [len(write_shards(part, aside, per_shard, step)) for part in kept]
        for file in old:  # not before all is written
            file.unlink()
        for file in sorted(aside.iterdir()):
            file.replace(out / file.name)
    for part, report, tars in zip(kept, reports, counts, strict=True):
        lost = f"; {len(report.unusable)} that cannot be used are left out" if report.unusable else ""
        typer.echo(f"{out}: part {report.split}, {len(part.photos)} photos in {tars} tar{'s' * (tars > 1)}{lost}")
    if not all(report.ok for report in reports):
        typer.echo(f"Not everything could be used; what is wrong says: seem data check {spec.path}")
    typer.echo(f"Use it: seem finetune --data shards:{out}")


def opened(spec: Spec, split: str | None) -> list[Dataset]:
    """Open one part or all; what makes a set unreadable as a whole is work that failed, not a wrong call."""
    if not spec.path.exists():
        raise ValueError(f"There is no data set at {spec.path}; check the path.")
    try:
        return [open_dataset(spec, name, tolerant=True) for name in ((split,) if split else list_splits(spec))]
    except DataError as error:
        raise SeemError(str(error)) from error


def inspected(parts: Sequence[Dataset], *, pixels: bool) -> list[DataReport]:
    """Look at everything, with progress on a terminal."""
    with bar(sum(len(part.photos) for part in parts), "looking") as step:
        return [inspect(part, pixels=pixels, step=step) for part in parts]


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """Make a folder inside `out` to write into, and `out` too; neither is left empty by a failure."""
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".shards-", dir=out) as aside:
            yield Path(aside)
    finally:
        if new:
            with suppress(OSError):  # something is in it
                out.rmdir()


@contextmanager
def bar(count: int, what: str) -> Iterator[Callable[[], object]]:
    """Show progress on a terminal; yields what to call after each photo."""
    with tqdm(total=count, desc=what, unit="photo", file=sys.stderr, disable=not sys.stderr.isatty()) as shown:
        yield shown.update
