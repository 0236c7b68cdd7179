"""The images and objects that are scored, and their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seem.data.dataset import Dataset
from seem.data.records import ImageRecord


@dataclass(frozen=True, slots=True)
class Selection:
    """What was scored: `fingerprint` is the sha256 of the ids, one a line, in order."""

    set_name: str
    split: str
    photos: int
    items: int
    fingerprint: str

    @classmethod
    def of(cls, set_name: str, split: str, items: Iterable[tuple[int, object]]) -> Selection:
        """Describe items: each is an image id and a label that identifies it in the image."""
        digest = hashlib.sha256()
        image_ids, num_items = set(), 0
        for image_id, label in items:
            digest.update(f"{set_name}/{split}/{image_id}/{label}\n".encode())
            image_ids.add(image_id)
            num_items += 1
        return cls(
            set_name=set_name,
            split=split,
            photos=len(image_ids),
            items=num_items,
            fingerprint=digest.hexdigest(),
        )


def sample_indices(
    images: Sequence[ImageRecord],
    has_items: Callable[[ImageRecord], bool],
    at_most: int,
    seed: int,
) -> list[int]:
    """Sample `at_most` of the images that have items; returns their indices in order.

    Images are ranked by a hash of the seed and their id, so that a smaller sample is part of every larger one.
    """
    if at_most < 1:
        raise ValueError(f"--max is {at_most}; score at least one photo.")

    def rank(index: int) -> bytes:
        return hashlib.sha256(f"{seed}:{images[index].id}".encode()).digest()

    sampled: list[int] = []
    for index in sorted(range(len(images)), key=rank):
        if len(sampled) == at_most:
            break
        if has_items(images[index]):
            sampled.append(index)
    return sorted(sampled)


def data_fingerprint(dataset: Dataset) -> str:
    """Return the sha256 of a data set, wherever it is stored.

    It covers the content of the files that describe the data set, the id and size of every image, and the number of
    bytes of every image and map: reading gigabytes of images would take too long.
    """
    digest = hashlib.sha256(dataset.split.encode())
    for file in dataset.files:
        digest.update(f"\n{file.name}\n".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    for image in dataset.images:
        files = (image.path, image.panoptic_path, image.semantic_path)
        sizes = list(map(_num_bytes, files))
        digest.update(f"\n{image.id} {image.path.name} {image.hw} {sizes}".encode())
    return digest.hexdigest()


def _num_bytes(path: Path | None) -> int:
    """Return the size of a file; 0 where it is missing, which the reader of the data set reports."""
    if path is None or not path.is_file():
        return 0
    return path.stat().st_size
