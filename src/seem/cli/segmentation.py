"""A call that segments photos: what is left of it, the model that answers, results photo by photo, then data sets."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seem.annotation_formats.annotated_image import AnnotatedImage
from seem.cli.dataset_options import describe_datasets
from seem.cli.errors import print_error, report_error, write_line
from seem.cli.graph_choice import choose_graphs
from seem.cli.image_files import (
    STANDARD_INPUT,
    ImageJob,
    ImageSource,
    check_writable,
    plan_jobs,
    report_unusable,
)
from seem.cli.options import ModelOptions, OutputOptions
from seem.cli.report import ProgressReporter
from seem.cli.resuming import EarlierResults
from seem.cli.review_page import ReviewPage
from seem.cli.saved_results import read_annotated_image
from seem.cli.segment_request import EncodedOrExportedImage, SegmentRequest
from seem.cli.tile_options import NO_TILES, TileOptions
from seem.errors import SeemError
from seem.exported_model import ExportedModel
from seem.folder_lock import hold_folder
from seem.read_ahead import check_workers, run_ahead
from seem.results import Results
from seem.results.datasets import DatasetExport, annotate_image
from seem.results.segment_map import SegmentMap
from seem.writing import explained_write_error

if TYPE_CHECKING:
    from seem.model import Model
else:  # imported with PyTorch, where a model is loaded
    Model = Any


# --- What is left to do -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SegmentationPlan:
    """All images of a call, those that have no results yet, and the results that are there.

    `options` are those of the call that results depend on; they are recorded with each.
    """

    all_jobs: Sequence[ImageJob]
    jobs: Sequence[ImageJob]
    earlier: EarlierResults
    options: tuple[str, ...]
    resumes: bool = False

    @classmethod
    def of(
        cls, photos: Sequence[str], output: OutputOptions, options: Sequence[str], *, resume: bool
    ) -> SegmentationPlan:
        """Find the images of a call; with `resume` those that have results are left out.

        Raises `ValueError` for options that exclude going on, and for results of other options than these; `OSError` as
        `plan_jobs` does.
        """
        if not resume:
            jobs = plan_jobs(photos, output.out, output.overwrite, "pass --resume, --overwrite")
            return cls(jobs, jobs, EarlierResults(), tuple(options))
        if output.overwrite:
            raise ValueError(
                "--resume leaves results as they are and --overwrite replaces them; choose one."
            )
        planned = plan_jobs(photos, output.out, overwrite=True)
        jobs = [job for job in planned if not job.is_complete]
        earlier = EarlierResults.read([job.record_file for job in planned if job.is_complete])
        earlier.check_options(options)
        num_complete = len(planned) - len(jobs)
        if num_complete and not output.quiet:
            write_line(
                f"{num_complete} of {len(planned)} photos have results already.", to_errors=True
            )
        return cls(planned, jobs, earlier, tuple(options), resumes=True)


@contextmanager
def hold_output(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder of results.

    Raises `SeemError` where one is at work on it, `OSError` for a folder that cannot be made or written.
    """
    check_writable(out)
    with ExitStack() as lock:
        try:
            lock.enter_context(hold_folder(out))
        except SeemError:
            raise
        except OSError as error:
            raise explained_write_error(error, out, "") from None
        yield


# --- The call ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SegmentationCall:
    """A request about photos, the model that answers it, and where results go."""

    request: SegmentRequest
    network: ModelOptions
    output: OutputOptions
    workers: int = 1
    embeddings: bool = False
    as_json: bool = False
    tiles: TileOptions = NO_TILES
    ray_address: str | None = None

    def run(
        self,
        plan: SegmentationPlan,
        export: DatasetExport | None = None,
        review: ReviewPage | None = None,
    ) -> int:
        """Segment the images that are left, then write data sets and the review page of all; return the exit code.

        An interrupted run leaves results of single images alone; going on with it makes the same data sets.
        """
        if not plan.jobs and export is None and review is None:
            return 0
        reporter = ProgressReporter(
            len(plan.jobs), self.output.out, self.as_json, self.output.quiet
        )
        self.network.check_size()
        self._check_sharing(plan.jobs)
        check = self.request.check_image if self.tiles.tile is None else check_is_there
        codes = report_unusable(plan.jobs, check)
        if codes:
            return reporter.finished(codes)
        code, failed = 0, set()
        unfiled: dict[Path, AnnotatedImage] = {}
        if plan.jobs:
            segmentation = self._load(plan, reporter)
            codes = self._segment_all(segmentation, plan.jobs)
            code = reporter.finished(codes)
            failed = {job.name for job, each in zip(plan.jobs, codes, strict=True) if each}
            unfiled = segmentation.unfiled
        segmented = [job for job in plan.all_jobs if job.name not in failed]
        finishing = DatasetFinish(reporter, export, review)
        finishing.run(segmented, unfiled, self.output.out)
        return code

    def _check_sharing(self, jobs: Sequence[ImageJob]) -> None:
        """Raise `ValueError` for processes or machines that cannot share these images."""
        if self.ray_address is None:
            check_worker_option(self.workers, jobs)
        elif any(job.image.source == STANDARD_INPUT for job in jobs):
            raise ValueError(
                f"--ray {self.ray_address} reads files, not standard input; leave - out."
            )

    def _segment_all(self, segmentation: ImageSegmentation, jobs: Sequence[ImageJob]) -> list[int]:
        """Segment images here or on the machines of a cluster; returns their exit codes."""
        if self.ray_address is None:
            return segmentation.run(jobs)
        from seem.cli.ray_segmentation import segment_on_cluster

        num_models = self.workers if self.workers > 1 else None
        return segment_on_cluster(segmentation, self.network, jobs, self.ray_address, num_models)

    def _load(self, plan: SegmentationPlan, reporter: ProgressReporter) -> ImageSegmentation:
        """Load the model and check that the request is one for it."""
        started = time.perf_counter()
        model = self._open_model(len(plan.jobs))
        self.request.check_model(model)
        plan.earlier.check_model(model)
        if self.request.boxes is not None and not self.output.quiet:
            for note in self.request.boxes.notes:
                print_error(note)
        reporter.model_loaded(model, time.perf_counter() - started)
        return ImageSegmentation(
            model,
            self.request,
            self.network.size,
            self.output.overwrite or plan.resumes,
            self.embeddings,
            reporter,
            plan.options,
            self.workers,
            self.tiles,
        )

    def _open_model(self, num_photos: int) -> Model | ExportedModel:
        """Load the model, or its exported graphs where they answer and PyTorch is not there or not worth its start."""
        option = "--embeddings" if self.embeddings else self.request.option_beyond_graphs()
        if self.tiles.tile is not None:
            option = f"--tile {self.tiles.tile}"
        if self.workers > 1:
            option = f"--workers {self.workers}"
        if self.ray_address is not None:
            option = f"--ray {self.ray_address}"
        graphs = choose_graphs(self.network, option, num_photos)
        if graphs is not None:
            return ExportedModel(graphs)
        from seem.loading import find_config
        from seem.preprocess import check_short_side

        known = find_config(self.network.model)
        if known is not None:
            self.request.check_policy(known.name, known.policy)
        model = self.network.load()
        check_short_side(self.network.size, model.network.config.image)
        if self.ray_address is None:
            check_workers(self.workers, model.device.type)
        return model


def check_worker_option(workers: int, jobs: Sequence[ImageJob]) -> None:
    """Raise `ValueError` for a number of processes that cannot share these images."""
    check_workers(workers, "cpu")
    if workers > 1 and any(job.image.source == STANDARD_INPUT for job in jobs):
        raise ValueError(
            f"--workers {workers} processes read files, not standard input; leave it or - out."
        )


# --- Image by image ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """An image and its results, or the error that it met."""

    job: ImageJob
    results: Results | SegmentMap | Exception


@dataclass(frozen=True, slots=True)
class ImageSegmentation:
    """A request to a loaded model, with the settings that hold for every image.

    `unfiled` are the results about images that are in no file (standard input), by name: they cannot be read again.
    """

    model: Model | ExportedModel
    request: SegmentRequest
    size: int | None
    overwrite: bool
    embeddings: bool
    reporter: ProgressReporter
    options: tuple[str, ...] = ()
    workers: int = 1
    tiles: TileOptions = NO_TILES
    unfiled: dict[Path, AnnotatedImage] = field(default_factory=dict)

    def run(self, jobs: Sequence[ImageJob]) -> list[int]:
        """Segment one image after the other and return their exit codes; an error ends that image alone."""
        return list(self.reporter.iterate(self.exit_codes(jobs)))

    def exit_codes(self, jobs: Sequence[ImageJob]) -> Iterator[int]:
        """Yield the exit code of every image; results are written while the next image is segmented.

        Raises `OSError` if results cannot be written, which would happen to every other image as well.
        """
        with (
            ThreadPoolExecutor(1, "seem-write") as writer,
            closing(self.answer_each(jobs)) as answers,
        ):
            for code in run_ahead(writer, self.write, answers, num_ahead=1):
                yield code.result()

    def answer_each(self, jobs: Sequence[ImageJob]) -> Generator[JobAnswer]:
        """Yield the results of every image, or the error that it met."""
        if self.tiles.tile is not None:
            for job in jobs:
                yield JobAnswer(job, self.answer_in_tiles(job))
            return
        for job, image in zip(jobs, self.encode(jobs), strict=True):
            yield JobAnswer(job, self.answer(job, image))

    def encode(self, jobs: Sequence[ImageJob]) -> Iterator[EncodedOrExportedImage | Exception]:
        """Yield the encoded image of every job, or the error that it met."""
        if not isinstance(self.model, ExportedModel):
            from seem.cli.job_images import encode_jobs

            yield from encode_jobs(self.model, jobs, self.size, self.workers)
            return
        for job in jobs:
            try:
                image: EncodedOrExportedImage | Exception = self.model.encode(
                    job.image.open(), self.size
                )
            except Exception as error:
                image = error
            yield image

    def answer_in_tiles(self, job: ImageJob) -> Results | SegmentMap | Exception:
        """Return the results about a photo in tiles, or the error that it met."""
        assert not isinstance(self.model, ExportedModel)
        assert self.tiles.tile is not None
        try:
            image = self.model.encode_tiled(
                job.image.open(),
                self.tiles.tile,
                overlap=self.tiles.overlap,
                size=self.size,
                bands=self.tiles.band_numbers,
            )
            with self.reporter.counting("tile") as progress:
                results = self.request.run_in_tiles(image, progress)
            results.labels  # noqa: B018  (computed here: the network runs in one thread)
        except Exception as error:
            return error
        if isinstance(results, SegmentMap):
            return with_origin(results, job.image.name, self.options)
        return with_origin(results, job.image.name, self.options)

    def answer(
        self, job: ImageJob, image: EncodedOrExportedImage | Exception
    ) -> Results | Exception:
        """Return the results about an image, with labels, or the error that it met."""
        if isinstance(image, Exception):
            return image
        try:
            results = with_origin(self.request.run(image), job.image.name, self.options)
            results.labels  # noqa: B018  (computed here: the network runs in one thread)
        except Exception as error:
            return error
        return results

    def write(self, answer: JobAnswer) -> int:
        """Write the results about an image, or report its error, and return the exit code."""
        job, results = answer.job, answer.results
        if isinstance(results, Exception):
            return report_error(results, about=job.image.source)
        started = time.perf_counter()
        try:
            paths = self.save(job, results)
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, (SeemError, FileExistsError)):
                raise
            return report_error(error, about=job.image.source)
        if job.image.file is None and isinstance(results, Results):
            self.unfiled[job.name] = annotate_image(
                results, file=None, file_name=job.file_name, stem=job.name.as_posix()
            )
        self.reporter.image_saved(job, results, paths, time.perf_counter() - started)
        return 0

    def save(self, job: ImageJob, results: Results | SegmentMap) -> tuple[Path, ...]:
        """Write the files about an image."""
        if isinstance(results, SegmentMap):
            return results.save(job.folder, job.stem, self.overwrite)
        return results.save(job.folder, job.stem, self.overwrite, embeddings=self.embeddings)


def check_is_there(image: ImageSource) -> None:
    """Raise `SeemError` for a file that is not there."""
    if image.file is not None and not image.file.exists():
        raise SeemError(f"There is no photo at {image.source}; check the path.")


Answer = TypeVar("Answer", Results, SegmentMap)


def with_origin(results: Answer, name: Path, options: tuple[str, ...] | None = None) -> Answer:
    """Return results whose JSON file names the image with its sub-folder, and the options of the call."""
    provenance = replace(results.provenance, image_name=name.as_posix(), options=options)
    return replace(results, provenance=provenance)


# --- About all images -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DatasetFinish:
    """Data sets and a review page of all images of a call, from their saved results."""

    reporter: ProgressReporter
    export: DatasetExport | None = None
    review: ReviewPage | None = None

    def run(self, jobs: Sequence[ImageJob], unfiled: dict[Path, AnnotatedImage], out: Path) -> None:
        """Read the results about every image again, write the files about all, and print where they are.

        Raises `SeemError` for a saved result that cannot be read.
        """
        if not jobs or (self.export is None and self.review is None):
            return
        for job in jobs:
            image = unfiled.get(job.name) or read_annotated_image(job)
            if self.export is not None:
                self.export.add_image(image)
            if self.review is not None:
                self.review.add(image, job.folder / f"{job.stem}.overlay.png")
        if self.export is not None:
            self._print_datasets(self.export)
        if self.review is not None:
            page = self.review.write(out)
            self.reporter.print_line(f"  {page}: to look through, the least certain first")

    def _print_datasets(self, export: DatasetExport) -> None:
        """Write the files about all images, and print what was left out of them."""
        paths = export.finish()
        if self.reporter.quiet:
            return
        for note in export.notes:
            print_error(note)
        if not self.reporter.as_json:
            for line in describe_datasets(paths):
                self.reporter.print_line(f"  {line}")
