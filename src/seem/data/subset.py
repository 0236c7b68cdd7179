"""Evaluation subsets that anybody can make again: which photos, which objects, which first prompts.

SEEM scored five kinds of prompt on 600 photos each of COCO, Open Images and ADE20K; which ones was never published.
Ours follow from the data set, a seed and the rules below alone.

- A photo's lot is the SHA-256 of "<seed>:<its file name without ending>"; the lowest lots that have an object are
  drawn, so that a smaller subset is part of every larger one.
- Objects are `validation_objects`: things, no crowds or groups, at least 0.5% of the photo; of more than `per_photo`
  those with the lowest SHA-256 of "<seed>:<file name>:<object id>".
- First prompts are drawn by `seem.simulation` with the object's id as seed, each kind from the start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from seem.data.dataset import Dataset, promptable_objects
from seem.data.records import DataError, ImageRecord, ObjectRecord
from seem.simulation.next_click import first_click
from seem.simulation.strokes import PromptKind, SimulatedPrompt, draw_box, draw_circle, draw_polygon, draw_scribble

FORMAT = "seem evaluation subset 1"
FRAME = "pixels of the stored photo; points are (x, y) with integers at pixel centres, boxes xyxy with exclusive ends"


@dataclass(frozen=True, slots=True)
class SubsetObject:
    """One object: `seed` draws its prompts, `prompts` are they, by kind."""

    id: int
    category: str
    seed: int
    prompts: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SubsetImage:
    """One photo with its chosen objects."""

    id: int
    file_name: str
    hw: tuple[int, int]
    objects: tuple[SubsetObject, ...]


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of one part of a data set; `fingerprint` is the SHA-256 of photo and object ids, one pair a line."""

    set_name: str
    split: str
    seed: int
    per_photo: int
    images: tuple[SubsetImage, ...]

    @property
    def fingerprint(self) -> str:
        """Tell whether two subsets are the same."""
        lines = (f"{photo.file_name}/{each.id}\n" for photo in self.images for each in photo.objects)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Describe the subset for its file."""
        return {
            "format": FORMAT,
            "frame": FRAME,
            "set": self.set_name,
            "split": self.split,
            "seed": self.seed,
            "objects_per_photo": self.per_photo,
            "fingerprint": self.fingerprint,
            "photos": [
                {
                    "id": photo.id,
                    "file_name": photo.file_name,
                    "height": photo.hw[0],
                    "width": photo.hw[1],
                    "objects": [
                        {"id": each.id, "category": each.category, "seed": each.seed, "prompts": each.prompts}
                        for each in photo.objects
                    ],
                }
                for photo in self.images
            ],
        }

    @classmethod
    def read(cls, file: Path) -> Subset:
        """Read a subset's file; `DataError` if it is none, or if its list was changed by hand."""
        try:
            told = json.loads(file.read_bytes())
            photos = tuple(
                SubsetImage(
                    row["id"],
                    row["file_name"],
                    (row["height"], row["width"]),
                    tuple(SubsetObject(o["id"], o["category"], o["seed"], o["prompts"]) for o in row["objects"]),
                )
                for row in told["photos"]
            )
            found = cls(told["set"], told["split"], told["seed"], told["objects_per_photo"], photos)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file} is no evaluation subset ({error!r}); write one with `seem data subset`."
            ) from error
        if told.get("format") != FORMAT or told.get("fingerprint") != found.fingerprint:
            raise DataError(f"{file} is no evaluation subset of this version, or was changed; write it again.")
        return found


def draw_subset(
    dataset: Dataset, photos: int = 600, seed: int = 0, per_photo: int = 5, step: Callable[[], object] = lambda: None
) -> Subset:
    """Draw a subset by the rules at the top of the file; `step` is called after each photo.

    Raises:
        DataError: the set has fewer photos with an object than asked for.
    """
    chosen: list[SubsetImage] = []
    for photo in sorted(dataset.images, key=lambda photo: _lot(f"{seed}:{photo.path.stem}")):
        if len(chosen) == photos:
            break
        objects = promptable_objects(dataset, photo)
        if objects:
            chosen.append(_prompted(photo, objects, seed, per_photo))
            step()
    if len(chosen) < photos:
        raise DataError(
            f"{dataset.name}, part {dataset.split}, has {len(chosen)} photos with a single object of 0.5% or more, "
            f"{photos} were asked for; ask for fewer, or add the annotations of single objects."
        )
    return Subset(
        dataset.name, dataset.split, seed, per_photo, tuple(sorted(chosen, key=lambda photo: photo.file_name))
    )


def first_prompts(truth: Bool[np.ndarray, "h w"], seed: int) -> dict[str, dict[str, Any]]:
    """Draw the first prompt of every kind for an object (not empty)."""
    click = first_click(truth)
    assert click is not None
    found: dict[str, dict[str, Any]] = {PromptKind.POINT.value: {"point": [click.x, click.y]}}
    for draw in (draw_circle, draw_scribble, draw_polygon, draw_box):
        drawn: SimulatedPrompt = draw(truth, np.random.default_rng(seed))
        paths = [np.round(path.astype(np.float64), 2).tolist() for path in drawn.paths]
        match drawn.kind:
            case PromptKind.BOX:
                found[drawn.kind.value] = {"box": [value for corner in paths[0] for value in corner]}
            case PromptKind.POLYGON:
                found[drawn.kind.value] = {"points": paths[0]}
            case _:
                found[drawn.kind.value] = {"strokes": paths, "width": drawn.width}
    return found


def _prompted(photo: ImageRecord, objects: list[ObjectRecord], seed: int, per_photo: int) -> SubsetImage:
    by_lot = sorted(objects, key=lambda each: _lot(f"{seed}:{photo.path.stem}:{each.id}"))
    kept = sorted(by_lot[:per_photo], key=lambda each: each.id)
    return SubsetImage(
        photo.id,
        photo.path.name,
        photo.hw,
        tuple(SubsetObject(each.id, each.category.name, each.id, first_prompts(each.mask(), each.id)) for each in kept),
    )


def _lot(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
