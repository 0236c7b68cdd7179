"""Annotations that a client has edited, as files of other tools."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from seem.annotation_formats.formats import IMAGE_FORMATS, VIDEO_FORMATS, parse_format_names
from seem.part_files import temporary_folder
from seem.results import Labels, Provenance, Results
from seem.results.columns import ResultImage
from seem.results.datasets import DatasetExport, VideoExport
from seem.server.file_names import plain_name
from seem.server.jobs import blank_image
from seem.server.problems import Problem
from seem.server.prompt_schemas import FindImage, Id, RleSchema, StrictModel
from seem.server.question_schemas import ClassList, ClassName, Probability
from seem.vocabulary import Vocabulary

MAX_IMAGES = 1000
MAX_ANNOTATIONS = 5000  # of one image
MAX_SIDE = 100_000

ImageFormatName: TypeAlias = Literal[
    "coco",
    "coco-polygons",
    "coco-panoptic",
    "yolo",
    "voc",
    "labelme",
    "cvat",
    "label-studio",
    "geojson",
]
VideoFormatName: TypeAlias = Literal["davis", "youtube-vis", "mots"]

SINGLE_FILES = {
    "coco": "annotations/instances_all.json",
    "coco-polygons": "annotations/instances_all.json",
}
"""Formats that are sent as one JSON file."""


class AnnotationSchema(StrictModel):
    """One object, as the client has it now."""

    mask: RleSchema
    label: ClassName | None = None
    score: Probability = 1.0


class AnnotatedImageSchema(StrictModel):
    """An image and its objects. `image_id` is needed only where the format holds the image itself (yolo)."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    width: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    image_id: Id | None = None
    objects: Annotated[list[AnnotationSchema], Field(max_length=MAX_ANNOTATIONS)]


class ExportRequest(StrictModel):
    """Annotations of one or more images."""

    format: ImageFormatName = "coco"
    images: Annotated[list[AnnotatedImageSchema], Field(min_length=1, max_length=MAX_IMAGES)]
    classes: ClassList | None = Field(
        default=None, description="Class names in the order of their ids; null = those in use."
    )


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file to download."""

    name: str
    media_type: str
    content: bytes


def export_annotations(
    request: ExportRequest, find_image: FindImage, max_pixels: int
) -> ExportedFile:
    """Write the annotations of a request in its format."""
    vocabulary = requested_vocabulary(request)
    with temporary_folder() as folder:
        formats = parse_format_names([request.format], IMAGE_FORMATS)
        export = DatasetExport(folder, formats)
        for image in request.images:
            pixels = pixels_of(image, request.format, find_image, max_pixels)
            export.add(to_results(image, pixels, vocabulary))
        export.finish()
        home = folder / request.format
        if request.format in SINGLE_FILES:
            content = (home / SINGLE_FILES[request.format]).read_bytes()
            return ExportedFile(f"{request.format}.json", "application/json", content)
        return ExportedFile(f"{request.format}.zip", "application/zip", zipped(home))


def export_tracks(
    frames: Iterable[Results], format_name: VideoFormatName, clip: str
) -> ExportedFile:
    """Write the frames of a video in a format."""
    with temporary_folder() as folder:
        formats = parse_format_names([format_name], VIDEO_FORMATS)
        export = VideoExport(folder, Path(plain_name(clip, "clip")).stem, formats)
        for results in frames:
            export.add(results)
        export.finish()
        content = zipped(folder / format_name)
    return ExportedFile(f"{format_name}.zip", "application/zip", content)


def requested_vocabulary(request: ExportRequest) -> Vocabulary:
    """Return the classes of an export: those given, or else those in use, in the order of their first use."""
    if request.classes is not None:
        return Vocabulary.of(request.classes.names, request.classes.stuff)
    labels: list[str] = []
    for image in request.images:
        labels += [annotation.label for annotation in image.objects if annotation.label is not None]
    return vocabulary_of_labels(labels)


def vocabulary_of_labels(labels: Iterable[str]) -> Vocabulary:
    """Return labels as classes, those that differ in case alone as one; COCO's where there is none."""
    names: dict[str, str] = {}
    for label in labels:
        names.setdefault(label.casefold(), label)
    if not names:
        return Vocabulary.coco_panoptic()
    return Vocabulary.of(list(names.values()))


def pixels_of(
    image: AnnotatedImageSchema, format_name: str, find_image: FindImage, max_pixels: int
) -> ResultImage:
    """Return the image itself where the format needs it, else a blank one of its size."""
    hw = (image.height, image.width)
    if hw[0] * hw[1] > max_pixels:
        raise Problem("too-many-pixels", f"{image.name} has more than {max_pixels:,} pixels.")
    if format_name != "yolo":
        return blank_image(hw)
    if image.image_id is None:
        raise Problem(
            "invalid-request",
            f"The format yolo holds the images; give the image_id of {image.name}.",
        )
    encoded = find_image(image.image_id)
    if encoded.hw != hw:
        raise Problem(
            "invalid-request",
            f"{image.name} is {image.width} x {image.height} in the request, "
            f"{encoded.hw[1]} x {encoded.hw[0]} on the server.",
        )
    return encoded.image


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object: its mask (H, W), the name of its class (None for none) and its score, 0-1."""

    mask: NDArray[np.bool_]
    label: str | None
    score: float


def to_results(image: AnnotatedImageSchema, pixels: ResultImage, vocabulary: Vocabulary) -> Results:
    """Turn annotations of a request into a result."""
    hw = (image.height, image.width)
    annotations = [Annotation(one.mask.decode(hw), one.label, one.score) for one in image.objects]
    return annotation_results(plain_name(image.name), pixels, annotations, vocabulary)


def annotation_results(
    name: str, pixels: ResultImage, annotations: Sequence[Annotation], vocabulary: Vocabulary
) -> Results:
    """Turn the annotations of an image into a result; labels are spelt as the vocabulary spells them."""
    spellings = {name.casefold(): name for name in vocabulary.names}
    names = tuple(spelling_of(annotation.label, spellings) for annotation in annotations)
    scores = tuple(annotation.score for annotation in annotations)
    return Results.of(
        pixels,
        (annotation.mask for annotation in annotations),
        scores,
        vocabulary=vocabulary,
        kind="annotations",
        provenance=Provenance("annotation", "annotations", image_name=name),
        labels=Labels(names, scores),
    )


def spelling_of(label: str | None, spellings: Mapping[str, str]) -> str | None:
    """Return a label as the list of classes spells it."""
    if label is None:
        return None
    return spellings.get(label.casefold(), label)


def zipped(folder: Path) -> bytes:
    """Return a ZIP archive of all files below a folder."""
    file = io.BytesIO()
    write_zip(folder, file)
    return file.getvalue()


def write_zip(folder: Path, file: io.BytesIO | io.BufferedWriter) -> None:
    """Write a ZIP archive of all files below a folder."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
