"""`seem label`: photos to a data set of classes, and a page on which a person looks the labels through."""

from __future__ import annotations

from typing import Annotated

import typer

from seem.annotation_formats.formats import IMAGE_FORMATS, parse_format_names
from seem.cli.dataset_options import DatasetOptions
from seem.cli.options import (
    ModelOptions,
    OutputOptions,
    PhotosArgument,
    ResumeOption,
    WorkersOption,
    takes_option_groups,
)
from seem.cli.resuming import recorded_options
from seem.cli.review_page import ReviewPage
from seem.cli.segment_request import (
    AnswerOptions,
    FullImageOptions,
    FullImageTask,
    SegmentRequest,
)
from seem.cli.segmentation import SegmentationCall, SegmentationPlan, hold_output

DEFAULT_FORMAT = "coco"
PANOPTIC_FORMAT = "coco-panoptic"


@takes_option_groups
def label_command(
    *,
    photos: PhotosArgument,
    classes: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME,...|ade20k", help="Class names of the data set.", show_default=False
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="0-1",
            help="Lowest score of an object that is labelled. Default: the model's own.",
            show_default=False,
        ),
    ] = None,
    network: ModelOptions,
    output: OutputOptions,
    datasets: DatasetOptions,
    resume: ResumeOption = False,
    workers: WorkersOption = 1,
) -> None:
    """Label photos with classes, for a data set that a person then looks through.

    Writes the data sets of --format (default: coco) and review/index.html, which shows the least certain photos first,
    beside the results of every photo. A call that was interrupted goes on with --resume.

    seem label photos/ --classes "cat,dog" --format coco,yolo

    seem label street/ --classes "car,person,road,sky" --format coco-panoptic --threshold 0.4
    """
    image = FullImageOptions(task=task_for(datasets), classes=classes, threshold=threshold)
    answer = AnswerOptions()
    request = SegmentRequest.from_options((), answer, image, datasets.ids_from)
    options = recorded_options(answer, image, network, embeddings=False)
    chosen = datasets if datasets.format else datasets.with_format(DEFAULT_FORMAT)
    call = SegmentationCall(request, network, output, workers)
    review = ReviewPage(f"Labels: {', '.join(classes.split(','))}")
    with hold_output(output.out):
        plan = SegmentationPlan.of(photos, output, options, resume=resume)
        export = chosen.open(output.out, output.overwrite or resume, has_boxes=False)
        code = call.run(plan, export, review)
    if code:
        raise typer.Exit(code)


def task_for(datasets: DatasetOptions) -> FullImageTask:
    """Return the task whose results a format is for: panoptic for panoptic maps, else objects one by one.

    Raises `ValueError` for formats that want both.
    """
    names = {format.name for format in parse_format_names(datasets.format or [], IMAGE_FORMATS)}
    if PANOPTIC_FORMAT not in names:
        return FullImageTask.INSTANCE
    others = sorted(names - {PANOPTIC_FORMAT})
    if others:
        raise ValueError(
            f"--format {PANOPTIC_FORMAT} gives every pixel to one segment, {others[0]} has objects one by one; "
            "call seem label once for each, with another --out."
        )
    return FullImageTask.PANOPTIC
