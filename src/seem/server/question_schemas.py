"""Questions as JSON: the arguments of `EncodedImage`'s methods, with bounds."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from seem.server.prompt_schemas import ObjectSchema, ObjectsSchema, Phrase, StrictModel
from seem.server.result_schemas import MaskForm
from seem.vocabulary import Classes, Vocabulary

MAX_NAMES = 1000
MAX_NAME_CHARACTERS = 200

Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
ClassName: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
ClassNames: TypeAlias = Annotated[list[ClassName], Field(max_length=MAX_NAMES)]
ListName: TypeAlias = Literal["coco", "ade20k", "imagenet"]


class Question(StrictModel):
    """What every question has."""

    masks: MaskForm = Field(default="rle", description="How masks are written.")


class ClassList(StrictModel):
    """Your own class names."""

    names: Annotated[list[ClassName], Field(min_length=1, max_length=MAX_NAMES)]
    stuff: ClassNames | None = Field(
        default=None, description="Those that are regions, such as sky; null = what COCO says."
    )
    background: bool = Field(
        default=False, description="A pixel of `semantic` may be none of them."
    )


ClassesSchema: TypeAlias = ClassNames | ListName | ClassList | None


class ClassQuestion(Question):
    """A question about classes."""

    classes: ClassesSchema = Field(
        default=None, description="Names, or the name of a list; null = the model's own."
    )

    def vocabulary(self) -> Classes:
        """Return the classes as the API takes them."""
        if not isinstance(self.classes, ClassList):
            return self.classes
        given = self.classes
        return Vocabulary.of(given.names, given.stuff, background=given.background)


class PanopticQuestion(ClassQuestion):
    """Every thing and stuff region."""

    threshold: Probability | None = None


class InstancesQuestion(ClassQuestion):
    """Every countable thing; masks may overlap."""

    threshold: Probability | None = None
    top: Annotated[int, Field(ge=1, le=1000)] = 100
    mask_nms_threshold: Probability | None = None


class SemanticQuestion(ClassQuestion):
    """A class for every pixel."""


class FindQuestion(Question):
    """Every object that fits a phrase, or one of several."""

    phrases: Annotated[list[Phrase], Field(min_length=1, max_length=100)]
    threshold: Probability | None = None
    against: ClassNames | None = Field(
        default=None, description="Names that an object may be instead; null = the model's choice."
    )


class EverythingQuestion(Question):
    """Every region, without a prompt."""

    points_per_side: Annotated[int, Field(ge=0, le=64)] = 16
    pred_iou_threshold: Probability | None = None
    stability_score_threshold: Probability | None = None
    box_nms_threshold: Probability = 0.7
    crop_n_layers: Annotated[int, Field(ge=0, le=2)] = 0
    min_mask_region_area: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    labels: bool = Field(default=False, description="Also name the objects.")


class SegmentQuestion(Question):
    """The one object that all prompts together describe."""

    prompts: ObjectSchema
    candidates: Annotated[int, Field(ge=1, le=10)] = 1
    text_threshold: Probability | None = None
    refine: Literal["zoom"] | None = None
    labels: bool = Field(default=False, description="Also name the object, which costs more.")


class SegmentManyQuestion(Question):
    """Several objects, each described by its own prompts."""

    objects: ObjectsSchema
    text_threshold: Probability | None = None
    refine: Literal["zoom"] | None = None
    labels: bool = False


class NewSession(StrictModel):
    """Rounds of prompts about one object."""

    refine: Literal["zoom"] | None = None


class RoundQuestion(Question):
    """Prompts that are added to those so far."""

    prompts: ObjectSchema
    after: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="How many rounds the client knows of; others are a conflict."
    )
    labels: bool = False
