"""Which photos and objects a score is taken on, and their fingerprints."""

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
        """Describe items of photos, by the photo's id, each with what singles it out in its photo."""
        rows = list(items)
        lines = "".join(f"{set_name}/{split}/{image_id}/{what}\n" for image_id, what in rows)
        digest = hashlib.sha256(lines.encode()).hexdigest()
        return cls(set_name, split, len({image_id for image_id, _ in rows}), len(rows), digest)


def drawn_places(
    photos: Sequence[ImageRecord], is_asked: Callable[[ImageRecord], bool], at_most: int, seed: int
) -> list[int]:
    """Draw `at_most` of the photos about which something is asked; returns their places in order.

    A photo's lot is a hash of the seed and its id, so that a smaller draw is part of every larger one.
    """
    if at_most < 1:
        raise ValueError(f"--max is {at_most}; score at least one photo.")
    found: list[int] = []
    for place in sorted(range(len(photos)), key=lambda place: _lot(f"{seed}:{photos[place].id}")):
        if len(found) == at_most:
            break
        if is_asked(photos[place]):
            found.append(place)
    return sorted(found)


def data_fingerprint(dataset: Dataset) -> str:
    """Take the sha256 of what a data set is, wherever it lies.

    Of the files that describe it the content counts, of every photo its id, size and bytes on disk, of its maps the
    bytes: nobody waits until gigabytes of photos are read.
    """
    digest = hashlib.sha256(dataset.split.encode())
    for file in dataset.files:
        digest.update(f"\n{file.name}\n".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    for photo in dataset.images:
        sizes = [_num_bytes(path) for path in (photo.path, photo.panoptic_path, photo.semantic_path)]
        digest.update(f"\n{photo.id} {photo.path.name} {photo.hw} {sizes}".encode())
    return digest.hexdigest()


def _num_bytes(path: Path | None) -> int:
    """Return the size of a file; 0 where it is missing, which is for the reader to tell."""
    return path.stat().st_size if path is not None and path.is_file() else 0


def _lot(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
