"""Answers as JSON: objects with compact masks, and what a reader must know about them."""

from __future__ import annotations

import base64
import io
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from seem.coco_format import packed_to_rle
from seem.mask_codec import PackedMask
from seem.results import Results

MaskForm: TypeAlias = Literal["rle", "png"]

SCORE_DIGITS = 6


class RleMaskBody(BaseModel):
    """A mask in COCO's compressed run-length code, of the image's size."""

    form: Literal["rle"] = "rle"
    size: list[int] = Field(description="Height and width.")
    counts: str


class PngMaskBody(BaseModel):
    """The part of a mask inside its box: a PNG of one bit a pixel, transparent outside the object."""

    form: Literal["png"] = "png"
    box: list[int] = Field(description="x0, y0, x1, y1: where the PNG lies in the image.")
    data: str = Field(description="The file in base64.")


class ObjectBody(BaseModel):
    """One object."""

    id: int = Field(description="Positive, different for every object of an answer.")
    box: list[int] = Field(description="x0, y0, x1, y1, maxima exclusive; zeros for an empty mask.")
    area: int = Field(description="Pixels.")
    score: float = Field(description="0-1.")
    label: str | None = Field(
        description="null where there is none, or where it was not asked for."
    )
    label_score: float | None = Field(description="0-1; null without a label.")
    category_id: int | None = Field(
        description="In `categories`; 0 is no class, null is not asked."
    )
    mask: RleMaskBody | PngMaskBody = Field(discriminator="form")


class CategoryBody(BaseModel):
    """A class that occurs in an answer, as COCO describes it."""

    id: int
    name: str
    isthing: int
    color: list[int]


class ResultBody(BaseModel):
    """The answer to a question about an image."""

    task: str
    kind: str = Field(description="The rule that answered.")
    width: int
    height: int
    objects: list[ObjectBody]
    categories: list[CategoryBody] = Field(description="Those that occur in `objects`.")
    notes: list[str] = Field(description="What a reader must know, such as a phrase not found.")
    rules: list[str] = Field(description="How prompts were drawn.")
    seconds: dict[str, float] = Field(description="Time of each step.")
    model: str
    precision: str


def to_result_body(results: Results, form: MaskForm, labels: bool) -> ResultBody:
    """Describe a result; labels that are not known yet are computed only if `labels` says so."""
    has_labels = labels or results.lazy_labels.known is not None
    objects = to_object_bodies(results, form, has_labels)
    provenance = results.provenance
    height, width = results.image_hw
    return ResultBody(
        task=provenance.task,
        kind=results.kind,
        width=width,
        height=height,
        objects=objects,
        categories=used_categories(results, objects),
        notes=list(results.notes),
        rules=list(provenance.rules),
        seconds={step: round(seconds, SCORE_DIGITS) for step, seconds in results.seconds.items()},
        model=provenance.model,
        precision=provenance.precision,
    )


def to_object_bodies(results: Results, form: MaskForm, has_labels: bool) -> list[ObjectBody]:
    """Describe every object."""
    count = len(results)
    names: tuple[str | None, ...] = (None,) * count
    name_scores: tuple[float, ...] = (0.0,) * count
    category_ids: list[int | None] = [None] * count
    if has_labels:
        names, name_scores = results.labels, results.label_scores
        category_ids = list(results.category_ids.tolist())
    bodies = []
    for row, packed in enumerate(results.packed):
        name = names[row]
        body = ObjectBody(
            id=int(results.ids[row]),
            box=list(packed.box),
            area=packed.area,
            score=round(float(results.scores[row]), SCORE_DIGITS),
            label=name,
            label_score=None if name is None else round(name_scores[row], SCORE_DIGITS),
            category_id=category_ids[row],
            mask=to_mask_body(packed, form),
        )
        bodies.append(body)
    return bodies


def used_categories(results: Results, objects: list[ObjectBody]) -> list[CategoryBody]:
    """Describe the categories that objects have."""
    used = {body.category_id for body in objects}
    return [CategoryBody(**category) for category in results.categories if category["id"] in used]


def to_mask_body(packed: PackedMask, form: MaskForm) -> RleMaskBody | PngMaskBody:
    """Write a mask in a form."""
    if form == "rle":
        return RleMaskBody(**packed_to_rle(packed))
    crop = packed.crop() if packed.area else np.zeros((1, 1), dtype=np.bool_)
    file = io.BytesIO()
    Image.fromarray(crop).save(file, format="PNG", transparency=0)
    return PngMaskBody(box=list(packed.box), data=base64.b64encode(file.getvalue()).decode())
