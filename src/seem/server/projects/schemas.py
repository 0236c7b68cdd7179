"""Projects as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, Field

from seem.data.coco_rle import parse_rle
from seem.server.exports import MAX_ANNOTATIONS, MAX_SIDE
from seem.server.projects.annotation_store import (
    PhotoEdit,
    ProjectClasses,
    StoredObject,
    StoredPhoto,
)
from seem.server.projects.project import ListedPhoto
from seem.server.prompt_schemas import (
    MAX_PROMPTS,
    MAX_TEXT,
    MarkSchema,
    RleSchema,
    StrictModel,
    StrokePrompt,
    TextPrompt,
    check_num_points,
)
from seem.server.question_schemas import ClassName, Probability

MAX_NUMBER = 1_000_000_000
MAX_CLASSES = 1000

Version: TypeAlias = Annotated[
    int, Field(ge=0, le=MAX_NUMBER, description="Counts the edits; an edit names the one it knows.")
]


def without_control_characters(text: str) -> str:
    """Return a text that every database stores; `ValueError` for another."""
    if any(ord(letter) < ord(" ") for letter in text):
        raise ValueError("it has control characters; leave them out")
    return text


PlainName: TypeAlias = Annotated[ClassName, AfterValidator(without_control_characters)]
DrawnPrompts: TypeAlias = Annotated[
    list[Annotated[MarkSchema | TextPrompt, Field(discriminator="kind")]],
    Field(max_length=MAX_PROMPTS),
    AfterValidator(check_num_points),
]
ErasedStrokes: TypeAlias = Annotated[
    list[StrokePrompt], Field(max_length=MAX_PROMPTS), AfterValidator(check_num_points)
]


class ProjectObjectSchema(StrictModel):
    """One object of a photo. A proposal is one that nobody has accepted yet: exports leave it out."""

    id: Annotated[int, Field(ge=1, le=MAX_NUMBER, description="Unique in the photo.")]
    label: PlainName | None = None
    score: Probability = 1.0
    proposed: bool = False
    mask: RleSchema
    color: Annotated[int, Field(ge=0, le=MAX_NUMBER)] = 0
    visible: bool = True
    source: Annotated[
        str, Field(max_length=MAX_TEXT + 20), AfterValidator(without_control_characters)
    ] = ""
    prompts: DrawnPrompts = Field(default_factory=list)
    erased: ErasedStrokes = Field(default_factory=list)


def check_distinct_ids(objects: list[ProjectObjectSchema]) -> list[ProjectObjectSchema]:
    """Return objects unchanged; `ValueError` if two have the same id."""
    if len({one.id for one in objects}) < len(objects):
        raise ValueError("two objects have the same id; number them apart")
    return objects


class PhotoEditSchema(StrictModel):
    """All that a photo is to hold from now on."""

    version: Version
    width: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    done: bool = Field(default=False, description="Nothing is left to annotate.")
    objects: Annotated[
        list[ProjectObjectSchema],
        Field(max_length=MAX_ANNOTATIONS),
        AfterValidator(check_distinct_ids),
    ]


class ProjectClassesSchema(StrictModel):
    """The class names of a project, in the order of their ids in exports."""

    version: Version
    names: Annotated[list[PlainName], Field(max_length=MAX_CLASSES)]


class PhotoBody(BaseModel):
    """A photo of a project."""

    id: str
    name: str = Field(description="Path below the folder.")
    version: int
    done: bool
    objects: int = Field(description="How many objects it has, proposals aside.")
    proposals: int = Field(description="How many proposals nobody has accepted.")
    missing: bool = Field(description="Its file has left the folder.")


class ProjectBody(BaseModel):
    """A project and all its photos."""

    name: str
    classes: ProjectClassesSchema
    photos: list[PhotoBody]


class AnnotatedPhotoBody(BaseModel):
    """A photo with its objects. Its size is that of its file now; objects of another size are not returned."""

    id: str
    name: str
    version: int
    done: bool
    width: int
    height: int
    objects: list[ProjectObjectSchema]
    notes: list[str]


def to_photo_body(listed: ListedPhoto) -> PhotoBody:
    """Describe a photo in a list."""
    photo = listed.photo
    return PhotoBody(
        id=photo.id,
        name=photo.name,
        version=photo.version,
        done=photo.is_done,
        objects=photo.num_objects,
        proposals=photo.num_proposals,
        missing=not listed.is_present,
    )


def to_classes_body(classes: ProjectClasses) -> ProjectClassesSchema:
    """Describe the classes."""
    return ProjectClassesSchema(version=classes.version, names=list(classes.names))


def to_annotated_body(
    photo: StoredPhoto, objects: Sequence[StoredObject], hw: tuple[int, int]
) -> AnnotatedPhotoBody:
    """Describe a photo of height and width `hw` and its objects."""
    notes = []
    if objects and photo.hw is not None and photo.hw != hw:
        old, new = f"{photo.hw[1]} x {photo.hw[0]}", f"{hw[1]} x {hw[0]}"
        notes.append(
            f"{photo.name} has changed: it is {new} now, its {len(objects)} objects were drawn on {old}. "
            "They are replaced once you store new ones."
        )
        objects = []
    return AnnotatedPhotoBody(
        id=photo.id,
        name=photo.name,
        version=photo.version,
        done=photo.is_done,
        width=hw[1],
        height=hw[0],
        objects=[to_object_schema(one, hw) for one in objects],
        notes=notes,
    )


def to_object_schema(one: StoredObject, hw: tuple[int, int]) -> ProjectObjectSchema:
    """Describe a stored object of a photo of height and width `hw`."""
    return ProjectObjectSchema(
        id=one.number,
        label=one.label,
        score=one.score,
        proposed=one.is_proposal,
        mask=RleSchema(size=list(hw), counts=one.mask_counts),
        **one.drawing,
    )


def to_photo_edit(photo_id: str, schema: PhotoEditSchema) -> PhotoEdit:
    """Read an edit; `ValueError` for a mask that cannot be read or has another size than the photo."""
    hw = (schema.height, schema.width)
    objects = [to_stored_object(one, hw) for one in schema.objects]
    return PhotoEdit(photo_id, schema.version, hw, schema.done, objects)


def to_stored_object(one: ProjectObjectSchema, hw: tuple[int, int]) -> StoredObject:
    """Read an object of a photo of height and width `hw`."""
    try:
        mask = parse_rle(one.mask.model_dump(), hw)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"The mask of object {one.id} cannot be read: {error}.") from None
    drawing = one.model_dump(include={"color", "visible", "source", "prompts", "erased"})
    return StoredObject(one.id, one.label, one.score, mask.counts, one.proposed, drawing)
