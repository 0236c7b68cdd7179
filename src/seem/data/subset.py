"""Evaluation subsets that anybody can make again: which images, which objects, which first prompts.

SEEM scored five kinds of prompt on 600 images each of COCO, Open Images and ADE20K; which ones was never published.
Ours follow from the data set, a seed and the rules below alone.

- An image's rank is the SHA-256 of "<seed>:<its file name without ending>"; those of the lowest ranks that have an
  object are chosen, so that a smaller subset is part of every larger one.
- Objects are `validation_objects`: things, no crowds or groups, at least 0.5% of the image; of more than `per_image`
  those with the lowest SHA-256 of "<seed>:<file name>:<object id>".
- First prompts are drawn by `seem.simulation` with the object's id as seed, each kind from the start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from seem.data.dataset import Dataset
from seem.data.object_selection import promptable_objects
from seem.data.records import DataError, DatasetRequestError, ImageRecord, ObjectRecord
from seem.data.text_files import read_content
from seem.simulation.next_click import first_click
from seem.simulation.strokes import (
    PromptKind,
    SimulatedPrompt,
    draw_box,
    draw_circle,
    draw_polygon,
    draw_scribble,
)

FORMAT = "seem evaluation subset 1"
FRAME = "pixels of the stored photo; points are (x, y) with integers at pixel centres, boxes xyxy with exclusive ends"


@dataclass(frozen=True, slots=True)
class SubsetObject:
    """One object: `seed` draws its prompts, `prompts` are they, by kind."""

    id: int
    category: str
    seed: int
    prompts: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Describe the object for the subset's file."""
        return {
            "id": self.id,
            "category": self.category,
            "seed": self.seed,
            "prompts": self.prompts,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SubsetObject:
        """Read an object from a subset's file."""
        return cls(row["id"], row["category"], row["seed"], row["prompts"])


@dataclass(frozen=True, slots=True)
class SubsetImage:
    """One image with its chosen objects."""

    id: int
    file_name: str
    hw: tuple[int, int]
    objects: tuple[SubsetObject, ...]

    def to_json(self) -> dict[str, Any]:
        """Describe the image for the subset's file."""
        return {
            "id": self.id,
            "file_name": self.file_name,
            "height": self.hw[0],
            "width": self.hw[1],
            "objects": [entry.to_json() for entry in self.objects],
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SubsetImage:
        """Read an image from a subset's file."""
        objects = tuple(map(SubsetObject.from_json, row["objects"]))
        return cls(row["id"], row["file_name"], (row["height"], row["width"]), objects)


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of one part of a data set; `fingerprint` is the SHA-256 of image and object ids, one pair a line."""

    set_name: str
    split: str
    seed: int
    per_image: int
    images: tuple[SubsetImage, ...]

    @property
    def fingerprint(self) -> str:
        """Tell whether two subsets are the same."""
        digest = hashlib.sha256()
        for image in self.images:
            for entry in image.objects:
                digest.update(f"{image.file_name}/{entry.id}\n".encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Describe the subset for its file."""
        return {
            "format": FORMAT,
            "frame": FRAME,
            "set": self.set_name,
            "split": self.split,
            "seed": self.seed,
            "objects_per_photo": self.per_image,
            "fingerprint": self.fingerprint,
            "photos": [image.to_json() for image in self.images],
        }

    @classmethod
    def read(cls, file: Path) -> Subset:
        """Read a subset's file; `DataError` if it is none, or if its list was changed by hand."""
        text = read_content(file)
        try:
            content = json.loads(text)
            subset = cls(
                set_name=content["set"],
                split=content["split"],
                seed=content["seed"],
                per_image=content["objects_per_photo"],
                images=tuple(map(SubsetImage.from_json, content["photos"])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file} is no evaluation subset ({error!r}); write one with `seem data subset`."
            ) from error
        if content.get("format") != FORMAT or content.get("fingerprint") != subset.fingerprint:
            raise DataError(
                f"{file} is no evaluation subset of this version, or was changed; write it again."
            )
        return subset


def draw_subset(
    dataset: Dataset,
    num_images: int = 600,
    seed: int = 0,
    per_image: int = 5,
    step: Callable[[], object] = lambda: None,
) -> Subset:
    """Choose a subset by the rules at the top of the file; `step` is called after each image.

    Raises:
        DataError: the set has fewer images with an object than asked for.
    """
    chosen: list[SubsetImage] = []
    for image in sorted(dataset.images, key=lambda image: _rank(f"{seed}:{image.path.stem}")):
        if len(chosen) == num_images:
            break
        objects = promptable_objects(dataset, image)
        if objects:
            chosen.append(_subset_image(image, objects, seed, per_image))
            step()
    if len(chosen) < num_images:
        raise DatasetRequestError(
            f"{dataset.name}, part {dataset.split}, has {len(chosen)} photos with a single object of 0.5% or more, "
            f"{num_images} were asked for; ask for fewer, or add the annotations of single objects."
        )
    return Subset(
        set_name=dataset.name,
        split=dataset.split,
        seed=seed,
        per_image=per_image,
        images=tuple(sorted(chosen, key=lambda image: image.file_name)),
    )


def first_prompts(truth: Bool[np.ndarray, "h w"], seed: int) -> dict[str, dict[str, Any]]:
    """Draw the first prompt of every kind for an object (not empty)."""
    click = first_click(truth)
    assert click is not None
    prompts: dict[str, dict[str, Any]] = {}
    prompts[PromptKind.POINT.value] = {"point": [click.x, click.y]}
    for draw in (draw_circle, draw_scribble, draw_polygon, draw_box):
        prompt = draw(truth, np.random.default_rng(seed))
        prompts[prompt.kind.value] = _prompt_json(prompt)
    return prompts


def _prompt_json(prompt: SimulatedPrompt) -> dict[str, Any]:
    paths = []
    for path in prompt.paths:
        rounded = np.round(path.astype(np.float64), 2)
        paths.append(rounded.tolist())
    if prompt.kind is PromptKind.BOX:
        low, high = paths[0]
        return {"box": [*low, *high]}
    if prompt.kind is PromptKind.POLYGON:
        return {"points": paths[0]}
    return {"strokes": paths, "width": prompt.width}


def _subset_image(
    image: ImageRecord, objects: Sequence[ObjectRecord], seed: int, per_image: int
) -> SubsetImage:
    by_rank = sorted(objects, key=lambda record: _rank(f"{seed}:{image.path.stem}:{record.id}"))
    chosen = sorted(by_rank[:per_image], key=lambda record: record.id)
    return SubsetImage(
        id=image.id,
        file_name=image.path.name,
        hw=image.hw,
        objects=tuple(map(_subset_object, chosen)),
    )


def _subset_object(record: ObjectRecord) -> SubsetObject:
    return SubsetObject(
        id=record.id,
        category=record.category.name,
        seed=record.id,
        prompts=first_prompts(record.mask(), record.id),
    )


def _rank(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
