"""The images of a data set that can be read with everything that is said about them, and those that cannot."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from seem.data.dataset import Dataset
from seem.data.lazy_dataset import READ_ERRORS, LazyDataset
from seem.data.pack import Pack
from seem.data.records import ImageRecord

_READERS = 4


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """An image that is left out: its id in its data set, None for what has none there; its file, and why."""

    photo: int | None
    file: str
    why: str

    def __str__(self) -> str:
        return f"{self.file} ({self.why})"


def find_unreadable_images(dataset: Dataset) -> tuple[SkippedImage, ...]:
    """Read every image with its masks and maps; return those that cannot be read, and the flaws of the set itself.

    A video with such a frame is unreadable as a whole: what is tracked in its other frames depends on it.
    """
    strict = dataset
    if isinstance(dataset, LazyDataset):
        strict = replace(dataset, tolerant=False)
    with ThreadPoolExecutor(_READERS) as readers:
        reasons = list(readers.map(lambda image: _reason(strict, image), strict.images))
    reason_of_sequence: dict[str, str] = {}
    for image, reason in zip(strict.images, reasons, strict=True):
        if image.sequence and reason:
            reason_of_sequence.setdefault(image.sequence, f"frame {image.path.name}: {reason}")
    skipped = []
    for flaw in dataset.flaws:
        skipped.append(SkippedImage(None, flaw.where, f"{flaw.kind.value}, {flaw.what}"))
    for image, reason in zip(strict.images, reasons, strict=True):
        why = reason or reason_of_sequence.get(image.sequence, "")
        if why:
            skipped.append(SkippedImage(image.id, image.path.name, why))
    return tuple(skipped)


def without_skipped(dataset: Dataset, skipped: Iterable[SkippedImage]) -> Dataset:
    """Return a data set without the images that are left out, with all its classes."""
    ids = {each.photo for each in skipped}
    images = tuple(image for image in dataset.images if image.id not in ids)
    if isinstance(dataset, Pack):
        return dataset.with_images(images)
    assert isinstance(dataset, LazyDataset)  # there is no other kind of data set on disk
    expressions = tuple(each for each in dataset.expressions if each.image_id not in ids)
    return replace(dataset, images=images, expressions=expressions)


def _reason(dataset: Dataset, image: ImageRecord) -> str:
    """Say why an image, its objects or its maps cannot be read; empty if they can."""
    try:
        dataset.pixels(image)
        dataset.objects[image.id]
        dataset.panoptic(image)
        dataset.semantic(image)
    except READ_ERRORS as error:
        return str(error).partition("; `seem data check`")[0]
    return ""
