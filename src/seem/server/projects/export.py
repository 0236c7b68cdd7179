"""All annotations of a project in one file, or as a data set beside its photos."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, TypeAlias

import numpy as np
from PIL import Image

from seem.annotation_formats.formats import IMAGE_FORMATS, parse_format_names
from seem.data.coco_rle import rle_to_mask
from seem.errors import FULL_DISK, SeemError, naming_file
from seem.part_files import new_part, remove_part
from seem.results import Results
from seem.results.datasets import DatasetExport
from seem.server.exports import (
    SINGLE_FILES,
    Annotation,
    annotation_results,
    vocabulary_of_labels,
    write_zip,
)
from seem.server.jobs import blank_image
from seem.server.problems import Problem
from seem.server.projects.annotation_store import StoredObject, StoredPhoto
from seem.server.projects.project import Project, other_size
from seem.server.stored_images import new_id
from seem.vocabulary import Vocabulary

DATASET_FILE = "seem-project.json"
FORMATS_WITH_PHOTOS = ("yolo",)
UNSAFE_IN_NAMES = re.compile(r"[^\w-]+")

ExportedPhotos: TypeAlias = Literal["done", "annotated"]
"""Those that are done, or all that have an object or are done."""


@dataclass(frozen=True, slots=True)
class ProjectArchive:
    """A file to download, which is removed afterwards."""

    path: Path
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class WrittenDataset:
    """A COCO file beside the photos of a project; `file` begins with the name of the folder."""

    file: str
    num_photos: int
    num_objects: int

    @property
    def quoted_file(self) -> str:
        """The file as it is typed in a shell."""
        return shlex.quote(self.file)


@dataclass(frozen=True, slots=True)
class AnnotatedPhoto:
    """A photo of a project with its accepted objects; `path` is its file."""

    photo: StoredPhoto
    path: Path
    hw: tuple[int, int]
    objects: list[StoredObject]


class PhotoWriter(Protocol):
    """Takes photos one by one."""

    def add(self, annotated: AnnotatedPhoto) -> None:
        """Take a photo."""

    def finish(self) -> None:
        """Write what is about all photos."""


def write_archive(
    project: Project, format_name: str, which: ExportedPhotos, *, has_photos: bool, folder: Path
) -> ProjectArchive:
    """Write the annotations of a project in a format, as a new file in `folder`."""
    with written_files(project, format_name, which, has_photos, folder) as home:
        if format_name in SINGLE_FILES and not has_photos:
            suffix, media_type = "json", "application/json"
            path = folder / f"{new_id()}.{suffix}"
            (home / SINGLE_FILES[format_name]).replace(path)
        else:
            suffix, media_type = "zip", "application/zip"
            path = folder / f"{new_id()}.{suffix}"
            with path.open("xb") as file:
                write_zip(home, file)
    stem = UNSAFE_IN_NAMES.sub("_", project.name).strip("_") or "project"
    return ProjectArchive(path, f"{stem}-{format_name}.{suffix}", media_type)


def write_dataset_file(project: Project, which: ExportedPhotos, folder: Path) -> WrittenDataset:
    """Write the COCO file that `seem finetune --data` takes beside the photos; `folder` is for files on the way."""
    with written_files(project, "coco", which, False, folder) as home:
        written = home / SINGLE_FILES["coco"]
        copy_into(written, project.folder.root / DATASET_FILE)
    chosen = list(annotated_photos(project, which))
    return WrittenDataset(
        file=f"{project.folder.title}/{DATASET_FILE}",
        num_photos=len(chosen),
        num_objects=sum(len(annotated.objects) for annotated in chosen),
    )


def copy_into(source: Path, target: Path) -> None:
    """Copy a file in one step; `Problem` for a full disk, else `SeemError` where it cannot be written."""
    try:
        part = new_part(target.parent)
        try:
            with naming_file(target):
                shutil.copyfile(source, part)
            part.replace(target)
        finally:
            remove_part(part)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise Problem(
                "disk-full",
                f"The disk of the photos is full, {target.name} is not written; download an export instead.",
            ) from None
        reason = error.strerror or str(error)
        raise SeemError(
            f"The server cannot write {target.name} beside the photos: {reason}; download an export instead."
        ) from None


@contextmanager
def written_files(
    project: Project, format_name: str, which: ExportedPhotos, has_photos: bool, folder: Path
) -> Iterator[Path]:
    """Write the annotations of a project in a format below a folder that is removed afterwards; yields its top."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        top = Path(home) / format_name
        writer = open_writer(project, format_name, has_photos, Path(home))
        num_photos = 0
        for annotated in annotated_photos(project, which):
            writer.add(annotated)
            num_photos += 1
        if not num_photos:
            raise Problem("invalid-request", nothing_to_export(which))
        writer.finish()
        yield top


def open_writer(project: Project, format_name: str, has_photos: bool, folder: Path) -> PhotoWriter:
    """Return the writer of a format."""
    if format_name == "masks":
        return MaskFilesWriter(folder / format_name)
    return FormatWriter(project, format_name, has_photos, folder)


class FormatWriter:
    """Writes one of the formats of results."""

    def __init__(self, project: Project, format_name: str, has_photos: bool, folder: Path) -> None:
        formats = parse_format_names([format_name], IMAGE_FORMATS)
        self._export = DatasetExport(folder, formats, copies_images=has_photos)
        self._copies = has_photos or format_name in FORMATS_WITH_PHOTOS
        self._vocabulary = project_vocabulary(project)

    def add(self, annotated: AnnotatedPhoto) -> None:
        """Take a photo."""
        file = annotated.path if self._copies else None
        results = photo_results(annotated, self._vocabulary)
        self._export.add(results, file=file, file_name=annotated.photo.name)

    def finish(self) -> None:
        """Write what is about all photos."""
        self._export.finish()


class MaskFilesWriter:
    """Writes a folder a photo, with a black and white PNG file an object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, annotated: AnnotatedPhoto) -> None:
        """Write the masks of a photo."""
        home = self._folder / PurePosixPath(annotated.photo.name)
        home.mkdir(parents=True)
        for one in annotated.objects:
            label = UNSAFE_IN_NAMES.sub("_", one.label or "object")
            pixels = rle_to_mask(one.mask_counts, annotated.hw).astype(np.uint8) * 255
            Image.fromarray(pixels).save(home / f"{one.number:03}_{label[:60]}.png")

    def finish(self) -> None:
        """Everything is written."""


def annotated_photos(project: Project, which: ExportedPhotos) -> Iterator[AnnotatedPhoto]:
    """Yield the photos to export whose files are in the folder; `Problem` for one whose size has changed."""
    for listed in project.list_photos():
        photo = listed.photo
        is_chosen = photo.is_done or (which == "annotated" and photo.num_objects > 0)
        path = project.folder.path_of(photo.name)
        if not is_chosen or path is None:
            continue
        photo, objects = project.store.photo_and_objects(photo.id)
        hw = project.photo_hw(photo)
        if objects and photo.hw is not None and photo.hw != hw:
            raise other_size(photo.name, photo.hw, hw)
        accepted = [one for one in objects if not one.is_proposal]
        yield AnnotatedPhoto(photo, path, hw, accepted)


def photo_results(annotated: AnnotatedPhoto, vocabulary: Vocabulary) -> Results:
    """Return the objects of a photo as a result."""
    annotations = []
    for one in annotated.objects:
        mask = rle_to_mask(one.mask_counts, annotated.hw)
        annotations.append(Annotation(mask, one.label, one.score))
    pixels = blank_image(annotated.hw)
    return annotation_results(annotated.photo.name, pixels, annotations, vocabulary)


def project_vocabulary(project: Project) -> Vocabulary:
    """Return the classes of a project, and after them the labels that objects have beside these."""
    return vocabulary_of_labels([*project.store.classes().names, *project.store.labels()])


def nothing_to_export(which: ExportedPhotos) -> str:
    """Say what to do before there is something to export."""
    if which == "done":
        return "No photo is done yet; mark photos as done, or export all that have objects."
    return "No photo has an object yet; annotate one first."
