"""Results of many images as data sets of other tools: `save_dataset`, and `DatasetExport` image by image."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from PIL import Image

from seem.annotation_formats.annotated_image import AnnotatedImage
from seem.annotation_formats.coco_ids import CocoIds, CountedIds, GivenIds
from seem.annotation_formats.formats import (
    IMAGE_FORMATS,
    VIDEO_FORMATS,
    AnnotationFormat,
    VideoFormat,
    parse_format_names,
)
from seem.annotation_formats.video import VideoDatasetWriter, VideoSettings
from seem.annotation_formats.writer import DatasetWriter, WriterSettings
from seem.argument_types import explained
from seem.part_files import is_part
from seem.results.columns import rgb_pixels
from seem.results.export import to_annotated_objects
from seem.results.results import Results
from seem.writing import checked_stem

UNNAMED_IMAGE = "photo"


@explained
def save_dataset(
    results: Results | Iterable[Results],
    folder: str | Path,
    formats: str | Sequence[str] = "coco",
    *,
    photos: str | Path | None = None,
    ids_from: str | Path | None = None,
    copy_photos: bool = False,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write results of several images as one data set a format, each in a sub-folder of its name; return the files.

    Args:
        results: one result an image; an iterator is read one at a time.
        folder: where the sub-folders go.
        formats: "coco", "coco-polygons", "coco-panoptic", "yolo", "voc", "labelme", "cvat", "label-studio",
            "geojson", one or several.
        photos: the folder that the images' names count from; without it, copies are PNG files of the images as shown.
        ids_from: a COCO file whose image and category ids the COCO formats take over, matched by names; what it does
            not list is left out, with a warning.
        copy_photos: put copies of the images into the data sets ("yolo" and "voc" have them in any case).
        overwrite: replace files that are there.

    Masks lie in the image as shown (EXIF rotation applied). Raises `ValueError` for a format or ids that cannot be,
    `FileExistsError` for a sub-folder that holds files, `OSError` where it cannot be written.
    """
    export = DatasetExport(
        Path(folder),
        parse_format_names(_listed(formats), IMAGE_FORMATS),
        ids_from=None if ids_from is None else Path(ids_from),
        copies_images=copy_photos,
        overwrite=overwrite,
    )
    photo_folder = None
    if photos is not None:
        photo_folder = Path(photos)
    for result in _all_of(results):
        export.add(result, photos=photo_folder)
    paths = export.finish()
    for note in export.notes:
        warnings.warn(note, stacklevel=3)  # beyond what explains arguments
    return paths


class DatasetExport:
    """Writes results into one folder a format, image after image."""

    def __init__(
        self,
        folder: Path,
        formats: Sequence[AnnotationFormat],
        *,
        ids_from: Path | None = None,
        copies_images: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Check the folders and read the file of ids; nothing is written yet."""
        if ids_from is not None and not any(format.takes_ids for format in formats):
            raise ValueError(
                f"The ids of {ids_from} are for COCO's formats; add the format coco, or leave the file out."
            )
        self.writers: list[DatasetWriter] = []
        self._stems: set[str] = set()
        for format in formats:
            home = folder / format.name
            check_empty(home, overwrite)
            ids: CocoIds = CountedIds() if ids_from is None else GivenIds.read(ids_from)
            self.writers.append(format.open(WriterSettings(home, ids, overwrite, copies_images)))

    def add(
        self,
        results: Results,
        *,
        photos: Path | None = None,
        file: Path | None = None,
        file_name: str | None = None,
        stem: str | None = None,
    ) -> None:
        """Write an image: `file` holds it, or the file of its name below `photos`; `stem` is a name without suffix.

        Without `file_name` and `stem` the image's own name is taken, with a number where it was there before.
        """
        name = PurePosixPath(file_name or results.provenance.image_name or UNNAMED_IMAGE)
        if file is None and photos is not None and (photos / name).is_file():
            file = photos / name
        if stem is None:
            stem = self._free_stem(name)
        self.add_image(annotate_image(results, file=file, file_name=str(name), stem=stem))

    def add_image(self, image: AnnotatedImage) -> None:
        """Write an image whose name no other image of the data sets has."""
        self._stems.add(image.stem)
        for writer in self.writers:
            writer.add(image)

    def finish(self) -> tuple[Path, ...]:
        """Write the files about all images and return the paths of these; without an image nothing is written."""
        if not self._stems:
            return ()
        return tuple(path for writer in self.writers for path in writer.finish())

    @property
    def notes(self) -> list[str]:
        """What was left out, and what a format cannot hold."""
        return list(dict.fromkeys(note for writer in self.writers for note in writer.notes))

    def _free_stem(self, name: PurePosixPath) -> str:
        """Return the name without suffix, or with it, or with a number: the first that no image has."""
        stem = str(name.with_suffix(""))
        if stem not in self._stems:
            return stem
        if str(name) not in self._stems:
            return str(name)
        number = 2
        while f"{stem}-{number}" in self._stems:
            number += 1
        return f"{stem}-{number}"


@explained
def save_tracks(
    results: Iterable[Results],
    folder: str | Path,
    formats: str | Sequence[str] = "davis",
    *,
    clip: str,
    copy_frames: bool = False,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write the results of a video (`Model.track`), frame by frame, for other tools; return the files.

    Args:
        results: one result a frame, read one at a time.
        folder: where the sub-folders go, one a format.
        formats: "davis" (a palette PNG a frame), "youtube-vis" (JSON), "mots" (text), one or several.
        clip: the name of the video in the files.
        copy_frames: DAVIS gets the frames as JPEG files.
        overwrite: replace files that are there.

    Raises `ValueError` for a format that cannot be, `FileExistsError` for files of that clip, `OSError` where they
    cannot be written; nothing is left behind then.
    """
    export = VideoExport(
        Path(folder),
        checked_stem(clip),
        parse_format_names(_listed(formats), VIDEO_FORMATS),
        copies_frames=copy_frames,
        overwrite=overwrite,
    )
    try:
        for result in results:
            export.add(result)
    except BaseException:
        export.discard()
        raise
    paths = export.finish()
    for note in export.notes:
        warnings.warn(note, stacklevel=3)  # beyond what explains arguments
    return paths


class VideoExport:
    """Writes the results of one video into one folder a format, frame after frame."""

    def __init__(
        self,
        folder: Path,
        clip: str,
        formats: Sequence[VideoFormat],
        *,
        copies_frames: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Check that the files may be written; nothing is yet."""
        self.writers: list[VideoDatasetWriter] = []
        for format in formats:
            settings = VideoSettings(folder / format.name, clip, overwrite, copies_frames)
            self.writers.append(format.open(settings))

    def add(self, results: Results) -> None:
        """Write the next frame."""
        stem = f"{results.frame or 0:05}"
        frame = annotate_image(results, file=None, file_name=f"{stem}.jpg", stem=stem)
        for writer in self.writers:
            writer.add(frame)

    def finish(self) -> tuple[Path, ...]:
        """Complete the files and return those that a reader opens first."""
        return tuple(path for writer in self.writers for path in writer.finish())

    def discard(self) -> None:
        """Remove what was written."""
        for writer in self.writers:
            writer.discard()

    @property
    def notes(self) -> list[str]:
        """What a format cannot hold."""
        return list(chain.from_iterable(writer.notes for writer in self.writers))


def _all_of(results: Results | Iterable[Results]) -> Iterable[Results]:
    if isinstance(results, Results):
        return [results]
    return results


def _listed(formats: str | Sequence[str]) -> list[str]:
    """Return names of formats as a list; `ValueError` for none."""
    if isinstance(formats, str):
        return [formats]
    names = list(formats)
    if not names:
        raise ValueError("There is no format; give at least one, such as 'coco' or 'davis'.")
    return names


def check_empty(folder: Path, overwrite: bool) -> None:
    """Raise `FileExistsError` if a folder holds files that may not be replaced, `NotADirectoryError` for a file."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"Results cannot go to {folder}: it is a file; choose another folder."
        )
    if overwrite or not folder.is_dir():
        return
    if not all(map(is_part, folder.iterdir())):
        raise FileExistsError(
            f"{folder} holds files already; pass --overwrite (overwrite=True) or another folder."
        )


def annotate_image(
    results: Results, *, file: Path | None, file_name: str, stem: str
) -> AnnotatedImage:
    """Return what writers of annotation files are handed; labels are computed."""
    return AnnotatedImage(
        file_name=file_name,
        stem=stem,
        hw=results.image_hw,
        objects=to_annotated_objects(results),
        classes=[category for category in results.categories if category["id"]],
        draw=lambda: Image.fromarray(rgb_pixels(results.image)),
        file=file,
        orientation=results.provenance.orientation,
        model=results.provenance.model,
    )
