"""Which photos and objects a score is taken on, and their fingerprint."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from seem.data.pack import PhotoRecord, ValidationObject

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Selection:
    """What was scored: `fingerprint` is the sha256 of the ids, one a line, in order."""

    set_name: str
    split: str
    photos: int
    items: int
    fingerprint: str

    @classmethod
    def of(cls, set_name: str, split: str, items: Iterable[tuple[PhotoRecord, object]]) -> Selection:
        """Describe items of photos, each with what singles it out in its photo."""
        rows = [(photo.id, what) for photo, what in items]
        lines = "".join(f"{set_name}/{split}/{photo_id}/{what}\n" for photo_id, what in rows)
        digest = hashlib.sha256(lines.encode()).hexdigest()
        return cls(set_name, split, len({photo_id for photo_id, _ in rows}), len(rows), digest)

    @classmethod
    def of_objects(cls, set_name: str, split: str, objects: Iterable[ValidationObject]) -> Selection:
        """Describe objects by their annotation ids."""
        return cls.of(set_name, split, ((item.photo, item.truth.id) for item in objects))


def drawn(items: Sequence[Item], at_most: int | None, seed: int) -> list[Item]:
    """Draw `at_most` items and keep their order; None keeps them all.

    An item's lot is a hash of the seed and its place, so that a smaller draw is part of every larger one.
    """
    if at_most is None or at_most >= len(items):
        return list(items)
    if at_most < 1:
        raise ValueError(f"at_most is {at_most}; score at least one object.")
    lots = sorted(range(len(items)), key=lambda place: hashlib.sha256(f"{seed}:{place}".encode()).digest())
    return [items[place] for place in sorted(lots[:at_most])]


def by_photo(objects: Iterable[ValidationObject]) -> Iterator[tuple[PhotoRecord, list[ValidationObject]]]:
    """Group neighbours that share a photo, so that it is encoded once."""
    for photo, group in itertools.groupby(objects, key=lambda item: item.photo):
        yield photo, list(group)
