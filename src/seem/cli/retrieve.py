"""`seem retrieve`: which of many photos a phrase means, and where in it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from seem.api import EncodedImage, Model
from seem.cli.errors import FAILED, explain, write_line
from seem.cli.options import FLAG, MODEL, RESULTS, DeviceOption, OverwriteOption, Precision, PrecisionOption, SizeOption
from seem.cli.photos import Job, plan
from seem.cli.prompts import read
from seem.cli.report import Report
from seem.cli.segment import under_its_name
from seem.loading import load
from seem.prompts import Text


@dataclass(frozen=True, slots=True)
class Ranking:
    """Photos by how well they fit, the best first, and the best one as the model has seen it."""

    places: tuple[tuple[float, Job], ...]
    best: EncodedImage | None
    num_failed: int


def rank(model: Model, phrase: Text, jobs: Sequence[Job], size: int | None, report: Report) -> Ranking:
    """Look at one photo after the other; of all but the best so far only the score is kept. A bad one is reported."""
    places: list[tuple[float, Job]] = []
    best: EncodedImage | None = None
    for job in report.progress(jobs):
        try:
            photo = model.encode(job.photo.open(), size or model.network.config.full_image_side)
            score = float(photo.similarity([phrase.phrase])[0])
        except Exception as error:
            explain(error, about=job.photo.source)
            continue
        best = photo if best is None or score > max(places, key=lambda place: place[0])[0] else best
        places.append((score, job))
    return Ranking(tuple(sorted(places, key=lambda place: -place[0])), best, len(jobs) - len(places))


def retrieve(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO", help="Files, folders, patterns in quotes, or - for standard input."),
    ],
    text: Annotated[str, typer.Option(metavar="PHRASE", help="What the photo shows.")],
    top: Annotated[int | None, typer.Option(metavar="N", min=1, help="Tell no more than so many.")] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="An X-Decoder; see seem models.", rich_help_panel=MODEL)
    ] = "xdecoder-focal-t",
    device: DeviceOption = None,
    precision: PrecisionOption = Precision.AUTO,
    size: SizeOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also segment the phrase in the best photo; files go here.", rich_help_panel=RESULTS
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print one JSON object a photo.", rich_help_panel=RESULTS)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar=FLAG, help="Say nothing but answers and errors.", rich_help_panel=RESULTS)
    ] = False,
) -> None:
    """Rank photos by how well they fit a phrase, the best first (-1 to 1).

    seem retrieve photos/ --text "two owls" --top 3

    seem retrieve photos/ --text "a cup of coffee" --out found/
    """
    phrase = read("text", text, Text)
    jobs = plan(photos, out or Path(), overwrite or out is None)
    report = Report(len(jobs), out or Path(), as_json, quiet)
    started = time.perf_counter()
    network = load(model, device, precision.value)
    network.retrieve([], phrase.phrase)  # a model that compares no photos says so before it looks at any
    report.loaded(network, time.perf_counter() - started)
    ranking = rank(network, phrase, jobs, size, report)
    for score, job in ranking.places[:top]:
        row = {"photo": job.photo.source, "score": round(score, 6)}
        write_line(json.dumps(row) if as_json else f"{score:.3f}  {job.photo.source}")
    if out is not None and ranking.best is not None:
        _, job = ranking.places[0]
        closer = network.encode(ranking.best.picture, size)
        found = under_its_name(closer.segment(phrase, text_threshold=0.0), job.photo.name)
        paths = found.save(job.folder, job.stem, overwrite)
        if not as_json:
            report.say(f"{len(paths)} files about the best are in {job.folder}/.")
    if ranking.num_failed:
        raise typer.Exit(FAILED)
