"""Questions as JSON: the arguments of `EncodedImage`'s methods, with bounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from seem.encoded_image import EncodedImage
from seem.results import Results
from seem.server.prompt_schemas import (
    FindImage,
    ObjectSchema,
    ObjectsSchema,
    Phrase,
    StrictModel,
    to_prompts,
)
from seem.server.result_schemas import MaskForm
from seem.vocabulary import Classes, Vocabulary

MAX_NAMES = 1000
MAX_NAME_CHARACTERS = 200

Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
ClassName: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
ClassNames: TypeAlias = Annotated[list[ClassName], Field(max_length=MAX_NAMES)]
ListName: TypeAlias = Literal["coco", "ade20k", "imagenet"]


class MaskQuestion(StrictModel):
    """What every request has whose answer holds masks."""

    masks: MaskForm = Field(default="rle", description="How masks are written.")


class Question(MaskQuestion, ABC):
    """A question about an encoded image; `task` is what logs and metrics call it."""

    task: ClassVar[str]

    @property
    def has_labels(self) -> bool:
        """Whether objects of the answer are named."""
        return True

    @abstractmethod
    def answer(self, image: EncodedImage, find_image: FindImage) -> Results:
        """Ask the image; `find_image` has the images of references."""


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

    task: ClassVar[str] = "panoptic"
    threshold: Probability | None = None

    def answer(self, image: EncodedImage, _find_image: FindImage) -> Results:
        """Ask the image."""
        return image.panoptic(self.vocabulary(), self.threshold)


class InstancesQuestion(ClassQuestion):
    """Every countable thing; masks may overlap."""

    task: ClassVar[str] = "instances"
    threshold: Probability | None = None
    top: Annotated[int, Field(ge=1, le=1000)] = 100
    mask_nms_threshold: Probability | None = None

    def answer(self, image: EncodedImage, _find_image: FindImage) -> Results:
        """Ask the image."""
        return image.instances(
            self.vocabulary(),
            self.threshold,
            self.top,
            mask_nms_threshold=self.mask_nms_threshold,
        )


class SemanticQuestion(ClassQuestion):
    """A class for every pixel."""

    task: ClassVar[str] = "semantic"

    def answer(self, image: EncodedImage, _find_image: FindImage) -> Results:
        """Ask the image."""
        return image.semantic(self.vocabulary())


class FindQuestion(Question):
    """Every object that fits a phrase, or one of several."""

    task: ClassVar[str] = "find"
    phrases: Annotated[list[Phrase], Field(min_length=1, max_length=100)]
    threshold: Probability | None = None
    against: ClassNames | None = Field(
        default=None, description="Names that an object may be instead; null = the model's choice."
    )

    def answer(self, image: EncodedImage, _find_image: FindImage) -> Results:
        """Ask the image."""
        return image.find(self.phrases, self.threshold, against=self.against)


class EverythingQuestion(Question):
    """Every region, without a prompt."""

    task: ClassVar[str] = "everything"
    points_per_side: Annotated[int, Field(ge=0, le=64)] = 16
    pred_iou_threshold: Probability | None = None
    stability_score_threshold: Probability | None = None
    box_nms_threshold: Probability = 0.7
    crop_n_layers: Annotated[int, Field(ge=0, le=2)] = 0
    min_mask_region_area: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    labels: bool = Field(default=False, description="Also name the objects.")

    @property
    def has_labels(self) -> bool:
        """Whether objects of the answer are named."""
        return self.labels

    def answer(self, image: EncodedImage, _find_image: FindImage) -> Results:
        """Ask the image."""
        options = self.model_dump(exclude={"masks", "labels"})
        return image.everything(**options)


class SegmentQuestion(Question):
    """The one object that all prompts together describe."""

    task: ClassVar[str] = "segment"
    prompts: ObjectSchema
    candidates: Annotated[int, Field(ge=1, le=10)] = 1
    text_threshold: Probability | None = None
    refine: Literal["zoom"] | None = None
    labels: bool = Field(default=False, description="Also name the object, which costs more.")

    @property
    def has_labels(self) -> bool:
        """Whether the object is named."""
        return self.labels

    def answer(self, image: EncodedImage, find_image: FindImage) -> Results:
        """Ask the image."""
        return image.segment(
            *to_prompts(self.prompts, image.hw, find_image),
            text_threshold=self.text_threshold,
            candidates=self.candidates,
            refine=self.refine,
        )


class SegmentManyQuestion(Question):
    """Several objects, each described by its own prompts."""

    task: ClassVar[str] = "segment-many"
    objects: ObjectsSchema
    text_threshold: Probability | None = None
    refine: Literal["zoom"] | None = None
    labels: bool = False

    @property
    def has_labels(self) -> bool:
        """Whether objects of the answer are named."""
        return self.labels

    def answer(self, image: EncodedImage, find_image: FindImage) -> Results:
        """Ask the image."""
        objects = [to_prompts(each, image.hw, find_image) for each in self.objects]
        return image.segment_many(objects, text_threshold=self.text_threshold, refine=self.refine)


class NewSession(StrictModel):
    """Rounds of prompts about one object."""

    refine: Literal["zoom"] | None = None


class RoundQuestion(MaskQuestion):
    """Prompts that are added to those so far."""

    prompts: ObjectSchema
    after: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="How many rounds the client knows of; others are a conflict."
    )
    labels: bool = False
