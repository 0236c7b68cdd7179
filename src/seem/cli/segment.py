"""`seem segment`: photos to overlays, masks and JSON files."""

from __future__ import annotations

from typing import Annotated

import typer

from seem.cli.dataset_options import DatasetOptions
from seem.cli.options import (
    FLAG,
    MODEL_PANEL,
    RESULTS_PANEL,
    ModelOptions,
    OutputOptions,
    PhotosArgument,
    PromptOptions,
    ResumeOption,
    WorkersOption,
    takes_option_groups,
)
from seem.cli.prompts import objects_from_options, typed_prompts
from seem.cli.resuming import recorded_options
from seem.cli.segment_request import AnswerOptions, FullImageOptions, SegmentRequest
from seem.cli.segmentation import SegmentationCall, SegmentationPlan, hold_output
from seem.cli.tile_options import TileOptions


@takes_option_groups
def segment_command(
    ctx: typer.Context,
    *,
    photos: PhotosArgument,
    prompts: PromptOptions,
    answer: AnswerOptions,
    image: FullImageOptions,
    tiles: TileOptions,
    network: ModelOptions,
    output: OutputOptions,
    datasets: DatasetOptions,
    resume: ResumeOption = False,
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings",
            metavar=FLAG,
            help="Also write an embedding vector for each mask (.npy).",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
    workers: WorkersOption = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|auto|ADDRESS",
            help="Ray cluster whose machines share the photos; --workers then counts models (extra: scale).",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar=FLAG,
            help="Print the JSON file of every photo as one line.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
) -> None:
    """Segment photos: one object, several, or everything.

    Every photo gives an overlay, a mask for each object, and a JSON file that COCO's tools read. --format writes data
    sets of all photos for other tools besides. Printed scores (0-1) are those of names; "mask" is that of the mask.

    seem segment street.jpg

    seem segment street.jpg --point 410,220 --not-point 80,40

    seem segment street.jpg --text "the red car" --object --box 30,40,300,400

    seem segment street.jpg --find "a red car" --find "a bicycle"

    seem segment street.jpg --reference other.jpg --reference-box 30,40,300,400

    seem segment photos/ --task instance --classes "person,dog,surf board" --json > found.jsonl

    seem segment street.jpg --everything

    seem segment photos/ --task instance --format coco,yolo

    seem segment scan.tif --tile 1024

    Coordinates are (x, y) in pixels of the photo as shown. Points name pixels: 410 and 410.0 are the centre of
    pixel 410. Boxes and polygons run along edges: 410 is the left edge of that pixel.
    """
    answer.warn_deprecated()
    objects = objects_from_options(ctx, prompts)
    request = SegmentRequest.from_options(objects, answer, image, datasets.ids_from)
    further = ["--embeddings"] if embeddings else []
    if workers > 1 and ray is None:
        further.append(f"--workers {workers}")
    tiles.check(request, datasets, further)
    options = [
        *typed_prompts(ctx, prompts),
        *recorded_options(answer, image, network, embeddings, tiles),
    ]
    call = SegmentationCall(
        request, network, output, workers, embeddings, as_json, tiles, ray_address=ray
    )
    with hold_output(output.out):
        plan = SegmentationPlan.of(photos, output, options, resume=resume)
        export = None
        if plan.all_jobs:
            has_boxes = request.boxes is not None
            export = datasets.open(output.out, output.overwrite or resume, has_boxes)
        code = call.run(plan, export)
    if code:
        raise typer.Exit(code)
