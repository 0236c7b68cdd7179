"""`seem retrieve`: photos ranked by how well they fit a phrase."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from seem.cli.errors import EXIT_FAILED, report_error, write_line
from seem.cli.image_files import ImageJob, plan_jobs, report_unusable
from seem.cli.job_images import encode_jobs
from seem.cli.options import (
    FLAG,
    MODEL_PANEL,
    RESULTS_PANEL,
    DeviceOption,
    EngineName,
    EngineOption,
    OverwriteOption,
    PhotosArgument,
    Precision,
    PrecisionOption,
    SizeOption,
    check_size_of,
)
from seem.cli.prompts import read_option
from seem.cli.report import ProgressReporter
from seem.cli.segmentation import with_origin
from seem.encoded_image import EncodedImage
from seem.loading import load
from seem.model import Model
from seem.prompts import Text


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """An image and its similarity to the phrase (`EncodedImage.similarity`)."""

    score: float
    job: ImageJob


@dataclass(frozen=True, slots=True)
class Ranking:
    """Images by similarity, the best first, and the encoded best image."""

    images: tuple[ScoredImage, ...]
    best: EncodedImage | None
    num_failed: int


def rank_images(
    model: Model,
    phrase: Text,
    jobs: Sequence[ImageJob],
    size: int | None,
    reporter: ProgressReporter,
) -> Ranking:
    """Score one image after the other; only the best so far stays encoded. An image that fails is reported."""
    images: list[ScoredImage] = []
    best: EncodedImage | None = None
    best_score = float("-inf")
    config = model.network.config
    encoded = encode_jobs(model, jobs, size or config.full_image_side)
    for job, image in reporter.iterate(zip(jobs, encoded, strict=True)):
        if isinstance(image, Exception):
            report_error(image, about=job.image.source)
            continue
        try:
            score = float(image.similarity([phrase.phrase])[0])
        except Exception as error:
            report_error(error, about=job.image.source)
            continue
        if best is None or score > best_score:
            best, best_score = image, score
        images.append(ScoredImage(score, job))
    num_failed = len(jobs) - len(images)
    images.sort(key=lambda scored: -scored.score)
    return Ranking(tuple(images), best, num_failed)


def retrieve_command(
    photos: PhotosArgument,
    text: Annotated[str, typer.Option(metavar="PHRASE", help="Phrase that describes the photo.")],
    top: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of photos to print. Default: all."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="nano, an X-Decoder or a file of weights; see seem models.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "nano",
    device: DeviceOption = None,
    precision: PrecisionOption = Precision.AUTO,
    engine: EngineOption = EngineName.TORCH,
    size: SizeOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for a segmentation of the phrase in the best photo.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar=FLAG,
            help="Print one JSON object a photo.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            metavar=FLAG,
            help="Print only answers and errors.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
) -> None:
    """Rank photos by how well they fit a phrase, the best first.

    Scores of nano say how surely a photo shows the phrase (0 to 1), those of X-Decoder are cosines (-1 to 1).

    seem retrieve photos/ --text "two owls" --top 3

    seem retrieve photos/ --text "a cup of coffee" --out found/
    """
    phrase = read_option("text", text, Text)
    jobs = plan_jobs(photos, out or Path(), overwrite or out is None)
    reporter = ProgressReporter(len(jobs), out or Path(), as_json, quiet)
    check_size_of(model, size)
    if report_unusable(jobs):
        raise typer.Exit(EXIT_FAILED)
    started = time.perf_counter()
    network = load(model, device, precision.value, engine.value)
    network.retrieve([], phrase.phrase)  # raises if the model cannot compare full images
    reporter.model_loaded(network, time.perf_counter() - started)
    ranking = rank_images(network, phrase, jobs, size, reporter)
    for scored in ranking.images[:top]:
        source = scored.job.image.source
        line = f"{scored.score:.3f}  {source}"
        if as_json:
            line = json.dumps({"photo": source, "score": round(scored.score, 6)})
        write_line(line)
    if out is not None and ranking.best is not None:
        job = ranking.images[0].job
        resized = network.encode(ranking.best.image, size)
        results = with_origin(resized.segment(phrase, text_threshold=0.0), job.image.name)
        paths = results.save(job.folder, job.stem, overwrite)
        if not as_json:
            reporter.print_line(f"{len(paths)} files about the best are in {job.folder}/.")
    if ranking.num_failed:
        raise typer.Exit(EXIT_FAILED)
