"""`seem segment`: photos to overlays, masks and JSON files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from seem.cli.dataset_options import DatasetOptions, describe_datasets
from seem.cli.errors import print_error, report_error, write_line
from seem.cli.image_files import ImageJob, plan_jobs, report_unusable
from seem.cli.options import (
    FLAG,
    RESULTS_PANEL,
    ModelOptions,
    OutputOptions,
    PhotosArgument,
    PromptOptions,
    takes_option_groups,
)
from seem.cli.prompts import objects_from_options, typed_prompts
from seem.cli.report import ProgressReporter
from seem.cli.resuming import EarlierResults, recorded_options
from seem.cli.segment_request import AnswerOptions, FullImageOptions, SegmentRequest
from seem.errors import SeemError
from seem.loading import find_config, load
from seem.model import Model
from seem.preprocess import check_short_side
from seem.results import Results
from seem.results.datasets import DatasetExport


@takes_option_groups
def segment_command(
    ctx: typer.Context,
    *,
    photos: PhotosArgument,
    prompts: PromptOptions,
    answer: AnswerOptions,
    image: FullImageOptions,
    network: ModelOptions,
    output: OutputOptions,
    datasets: DatasetOptions,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            metavar=FLAG,
            help="Go on with an interrupted call: photos that have results are left out.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings",
            metavar=FLAG,
            help="Also write an embedding vector for each mask (.npy).",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
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

    Coordinates are (x, y) in pixels of the photo as shown. Points name pixels: 410 and 410.0 are the centre of
    pixel 410. Boxes and polygons run along edges: 410 is the left edge of that pixel.
    """
    answer.warn_deprecated()
    objects = objects_from_options(ctx, prompts)
    request = SegmentRequest.from_options(objects, answer, image, datasets.ids_from)
    options = [*typed_prompts(ctx, prompts), *recorded_options(answer, image, network, embeddings)]
    earlier = EarlierResults()
    if resume:
        jobs, earlier = plan_remaining_jobs(photos, output, options, bool(datasets.format))
    else:
        jobs = plan_jobs(photos, output.out, output.overwrite, "pass --resume, --overwrite")
    if not jobs:
        return
    export = datasets.open(output.out, output.overwrite, request.boxes is not None)
    reporter = ProgressReporter(len(jobs), output.out, as_json, output.quiet)
    known = find_config(network.model)
    if known is not None:
        check_short_side(network.size, known.config.image)
        request.check_model(known.name, known.config)
    codes = report_unusable(jobs, request.check_image)
    if codes:
        raise typer.Exit(reporter.finished(codes))
    started = time.perf_counter()
    model = load(network.model, network.device, network.precision.value)
    request.check_model(model.name, model.network.config)
    check_short_side(network.size, model.network.config.image)
    earlier.check_model(model)
    if request.boxes is not None and not output.quiet:
        for note in request.boxes.notes:
            print_error(note)
    reporter.model_loaded(model, time.perf_counter() - started)
    segmentation = ImageSegmentation(
        model,
        request,
        network.size,
        output.overwrite or resume,
        embeddings,
        reporter,
        export,
        tuple(options),
    )
    code = segmentation.run(jobs)
    if code:
        raise typer.Exit(code)


def plan_remaining_jobs(
    photos: Sequence[str], output: OutputOptions, options: Sequence[str], has_datasets: bool
) -> tuple[list[ImageJob], EarlierResults]:
    """Return the images that have no results yet, and the results that are there.

    Raises `ValueError` for options that exclude going on, and for results of other options than these.
    """
    if output.overwrite:
        raise ValueError(
            "--resume leaves results as they are and --overwrite replaces them; choose one."
        )
    if has_datasets:
        raise ValueError(
            "--resume goes on with single files, --format needs all photos at once; leave one of them away."
        )
    planned = plan_jobs(photos, output.out, overwrite=True)
    jobs = [job for job in planned if not job.is_complete]
    earlier = EarlierResults.read([job.record_file for job in planned if job.is_complete])
    earlier.check_options(options)
    num_complete = len(planned) - len(jobs)
    if num_complete and not output.quiet:
        write_line(f"{num_complete} of {len(planned)} photos have results already.", to_errors=True)
    return jobs, earlier


@dataclass(frozen=True, slots=True)
class ImageSegmentation:
    """A request to a loaded model, with the settings that hold for every image."""

    model: Model
    request: SegmentRequest
    size: int | None
    overwrite: bool
    embeddings: bool
    reporter: ProgressReporter
    export: DatasetExport | None = None
    options: tuple[str, ...] = ()

    def run(self, jobs: Sequence[ImageJob]) -> int:
        """Segment one image after the other and return the exit code; an error ends that image alone."""
        try:
            codes = [self.segment(job) for job in self.reporter.iterate(jobs)]
        finally:  # an interrupted run leaves data sets of the images so far
            self.finish_datasets()
        return self.reporter.finished(codes)

    def segment(self, job: ImageJob) -> int:
        """Segment one image, write the results and return the exit code.

        Raises `OSError` if results cannot be written, which would happen to every other image as well.
        """
        try:
            results = self.request.run(self.model.encode(job.image.open(), self.size))
            started = time.perf_counter()
            named = with_origin(results, job.image.name, self.options)
            paths = named.save(job.folder, job.stem, self.overwrite, embeddings=self.embeddings)
            if self.export is not None:
                self.export.add(
                    named, file=job.image.file, file_name=job.file_name, stem=job.name.as_posix()
                )
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, (SeemError, FileExistsError)):
                raise
            return report_error(error, about=job.image.source)
        saving = time.perf_counter() - started
        writing = saving - results.seconds.get(
            "labels", 0.0
        )  # labels are computed when they are saved
        self.reporter.image_saved(job, results, paths, writing)
        return 0

    def finish_datasets(self) -> None:
        """Write the files about all images, and print what was left out of them."""
        if self.export is None:
            return
        paths = self.export.finish()
        if self.reporter.quiet:
            return
        for note in self.export.notes:
            print_error(note)
        if not self.reporter.as_json:
            for line in describe_datasets(paths):
                self.reporter.print_line(f"  {line}")


def with_origin(results: Results, name: Path, options: tuple[str, ...] | None = None) -> Results:
    """Return results whose JSON file names the image with its sub-folder, and the options of the call."""
    provenance = replace(results.provenance, image_name=name.as_posix(), options=options)
    return replace(results, provenance=provenance)
