"""Options about the data sets that results are written into, for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from seem.annotation_formats.formats import IMAGE_FORMATS, VIDEO_FORMATS, parse_format_names
from seem.cli.options import FLAG, RESULTS_PANEL, OptionGroup, Values
from seem.results.datasets import DatasetExport, VideoExport

FORMAT_HELP = "Also write a data set for other tools into a folder of this name; repeatable."


@dataclass(frozen=True, slots=True)
class DatasetOptions(OptionGroup):
    """Which data sets are written beside the results of every photo."""

    format: Annotated[
        Values,
        typer.Option(
            "--format",
            metavar="NAME,...",
            help=f"{FORMAT_HELP} Names: {', '.join(format.name for format in IMAGE_FORMATS)}.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = None
    ids_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="COCO file whose ids --format coco takes over (to be scored against it) and --boxes refers to.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = None
    copy_photos: Annotated[
        bool,
        typer.Option(
            "--copy-photos",
            metavar=FLAG,
            help="Also copy the photos into the data sets of --format (yolo and voc always do).",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False

    def with_format(self, name: str) -> DatasetOptions:
        """Return the options with one format."""
        return replace(self, format=[name])

    def open(self, folder: Path, overwrite: bool, has_boxes: bool) -> DatasetExport | None:
        """Check the options and open the data sets; None if there is none. `has_boxes`: ids are of --boxes too."""
        formats = parse_format_names(self.format or [], IMAGE_FORMATS)
        if not formats:
            self._check_needed(has_boxes)
            return None
        is_for_boxes = has_boxes and not any(format.takes_ids for format in formats)
        return DatasetExport(
            folder,
            formats,
            ids_from=None if is_for_boxes else self.ids_from,
            copies_images=self.copy_photos,
            overwrite=overwrite,
        )

    def _check_needed(self, has_boxes: bool) -> None:
        """Raise `ValueError` for an option that has no effect without a format."""
        if self.ids_from is not None and not has_boxes:
            raise ValueError(
                f"--ids-from {self.ids_from} is for --format coco and --boxes; add one, or leave the file out."
            )
        if self.copy_photos:
            raise ValueError("--copy-photos has an effect on --format alone; add a format.")


@dataclass(frozen=True, slots=True)
class VideoDatasetOptions(OptionGroup):
    """Which data sets are written beside the results of a video."""

    format: Annotated[
        Values,
        typer.Option(
            "--format",
            metavar="NAME,...",
            help=f"{FORMAT_HELP} Names: {', '.join(format.name for format in VIDEO_FORMATS)}.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = None
    copy_frames: Annotated[
        bool,
        typer.Option(
            "--copy-frames",
            metavar=FLAG,
            help="Also write the frames, as JPEG, into the data set of --format davis.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False

    def open(self, folder: Path, clip: str, overwrite: bool) -> VideoExport:
        """Check the options and open the data sets, if there are any."""
        formats = parse_format_names(self.format or [], VIDEO_FORMATS)
        if self.copy_frames and not any(format.name == "davis" for format in formats):
            raise ValueError("--copy-frames has an effect on --format davis alone; leave it out.")
        return VideoExport(
            folder, clip, formats, copies_frames=self.copy_frames, overwrite=overwrite
        )


def describe_datasets(paths: Sequence[Path]) -> list[str]:
    """Name the files of each data set, a folder a line; of many files the first."""
    by_folder: dict[Path, list[str]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path.name)
    lines = []
    for parent, names in by_folder.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"{parent}/: {', '.join(names[:3])}{more}")
    return lines
