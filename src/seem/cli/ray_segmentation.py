"""Images of a call segmented on the machines of a Ray cluster: a model an actor, results in a folder that all share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seem.adapters.ray_cluster import answer_with_actors, connected, num_cores
from seem.cli.errors import EXIT_USAGE, message_and_code, report_error
from seem.cli.image_files import ImageJob
from seem.cli.options import ModelOptions
from seem.cli.report import ProgressReporter, SavedImage
from seem.cli.segment_request import SegmentRequest
from seem.cli.segmentation import ImageSegmentation
from seem.cli.tile_options import TileOptions
from seem.errors import SeemError


@dataclass(frozen=True, slots=True)
class NumberedJob:
    """An image of a call, and its number there."""

    number: int
    job: ImageJob


@dataclass(frozen=True, slots=True)
class JobReport:
    """What became of an image: what is said about its saved results, or the message and exit code of an error.

    `ends_run`: the same would happen to every other image, for example where the disk is full.
    """

    number: int
    saved: SavedImage | None = None
    message: str = ""
    code: int = 0
    ends_run: bool = False


@dataclass(frozen=True, slots=True)
class ClusterWork:
    """What every actor does: a request, the model that answers it, and how results are written."""

    request: SegmentRequest
    network: ModelOptions
    embeddings: bool
    options: tuple[str, ...]
    tiles: TileOptions

    @classmethod
    def of(cls, segmentation: ImageSegmentation, network: ModelOptions) -> ClusterWork:
        """Describe a segmentation without its model, which every actor loads."""
        return cls(
            segmentation.request,
            network,
            segmentation.embeddings,
            segmentation.options,
            segmentation.tiles,
        )

    def start(self) -> ClusterWorker:
        """Load the model."""
        return ClusterWorker(
            ImageSegmentation(
                self.network.load(),
                self.request,
                self.network.size,
                overwrite=True,  # what a machine that died had written; the plan has left out what was there before
                embeddings=self.embeddings,
                reporter=ProgressReporter(num_images=2, out=Path(), quiet=True),
                options=self.options,
                tiles=self.tiles,
            )
        )


@dataclass(frozen=True, slots=True)
class ClusterWorker:
    """Segments one image after the other, on a machine of a cluster."""

    segmentation: ImageSegmentation

    def __call__(self, numbered: NumberedJob) -> JobReport:
        """Segment an image and write its files; an error is part of the report."""
        number, job = numbered.number, numbered.job
        (answer,) = self.segmentation.answer_each([job])
        if isinstance(answer.results, Exception):
            message, code = message_and_code(answer.results)
            return JobReport(number, message=message, code=code)
        started = time.perf_counter()
        try:
            paths = self.segmentation.save(job, answer.results)
        except OSError as error:
            message, code = message_and_code(error)
            is_about_image = isinstance(error, (SeemError, FileExistsError))
            return JobReport(number, message=message, code=code, ends_run=not is_about_image)
        saved = SavedImage.of(job, answer.results, paths, time.perf_counter() - started)
        return JobReport(number, saved)


def segment_on_cluster(
    segmentation: ImageSegmentation,
    network: ModelOptions,
    jobs: Sequence[ImageJob],
    address: str,
    num_models: int | None,
) -> list[int]:
    """Segment images on a cluster and return their exit codes; `num_models` None = one a core.

    Images, weights and the folder of results lie where every machine finds them under the same path. An image that was
    on a machine that died is segmented again elsewhere; its files are written all or none, so it has one result.
    Raises `SeemError` for a cluster that cannot be reached or does not finish, `OSError` if results cannot be written.
    """
    codes: dict[int, int] = {}
    reports = reports_of_cluster(segmentation, network, jobs, address, num_models)
    for report in segmentation.reporter.iterate(reports):
        codes[report.number] = report.code
        job = jobs[report.number]
        if report.saved is not None:
            segmentation.reporter.print_saved(job, report.saved)
        elif report.ends_run:
            raise OSError(report.message)
        else:
            report_error(reported_error(report), about=job.image.source)
    return [codes[number] for number in range(len(jobs))]


def reports_of_cluster(
    segmentation: ImageSegmentation,
    network: ModelOptions,
    jobs: Sequence[ImageJob],
    address: str,
    num_models: int | None,
) -> Iterator[JobReport]:
    """Yield what became of every image, in the order in which the machines are done."""
    work = ClusterWork.of(segmentation, network)
    numbered = [NumberedJob(number, absolute_job(job)) for number, job in enumerate(jobs)]
    num_gpus = 1 if str(segmentation.model.device).startswith("cuda") else 0
    with connected(address) as ray:
        count = min(num_models or num_cores(ray), len(jobs))
        yield from answer_with_actors(ray, numbered, work.start, count, num_gpus)


def absolute_job(job: ImageJob) -> ImageJob:
    """Return a job with paths that hold in every working folder."""
    source = str(Path(job.image.source).absolute())
    return replace(job, image=replace(job.image, source=source), folder=job.folder.absolute())


def reported_error(report: JobReport) -> Exception:
    """Return an error with the message and the exit code of a report."""
    if report.code == EXIT_USAGE:
        return ValueError(report.message)
    return SeemError(report.message)
