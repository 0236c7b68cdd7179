"""Prompts as JSON: the same names as in Python and in the files of results."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field

from seem.data.coco_rle import parse_rle, rle_to_mask
from seem.encoded_image import EncodedImage
from seem.errors import SeemError
from seem.images import open_image
from seem.prompts import (
    Box,
    Mask,
    Point,
    Polygon,
    Prompt,
    Reference,
    Scribble,
    Stroke,
    Text,
)

MAX_POINTS = 10_000  # of one line
MAX_POINTS_TOGETHER = 20_000  # of a request: every segment of a line is drawn pixel by pixel
MAX_STROKES = 1000
MAX_PROMPTS = 1000  # about one object
MAX_OBJECTS = 256
MAX_TEXT = 1000  # characters
MAX_COORDINATE = 1_000_000.0
MAX_COUNTS = 8_000_000  # characters of a run-length code

FindImage: TypeAlias = "Callable[[str], EncodedImage]"
"""From the id of an uploaded image to the encoded image."""

Coordinate: TypeAlias = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
Position: TypeAlias = Annotated[
    list[Coordinate], Field(min_length=2, max_length=2, description="x and y, in pixels.")
]
Line: TypeAlias = Annotated[list[Position], FailFast(), Field(min_length=2, max_length=MAX_POINTS)]
BrushWidth: TypeAlias = Annotated[float, Field(gt=0, le=10_000, description="In image pixels.")]
Phrase: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class StrictModel(BaseModel):
    """Base of what clients send: no unknown fields, no conversions, no infinite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class RleSchema(StrictModel):
    """A mask in COCO's compressed run-length code, of the image's size."""

    size: Annotated[
        list[Annotated[int, Field(ge=1)]],
        Field(min_length=2, max_length=2, description="Height and width."),
    ]
    counts: Annotated[str, Field(max_length=MAX_COUNTS)]

    def decode(self, image_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask (H, W); `ValueError` for a code that is none, or of another size."""
        try:
            parsed = parse_rle(self.model_dump(), image_hw)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"A run-length code cannot be read: {error}.") from None
        return rle_to_mask(parsed.counts, image_hw)


class PointPrompt(StrictModel):
    """A click on pixel (x, y)."""

    kind: Literal["point"]
    x: Coordinate
    y: Coordinate
    positive: bool = Field(default=True, description='false says "not this".')


class StrokePrompt(StrictModel):
    """One brush stroke."""

    kind: Literal["stroke"]
    points: Line
    width: BrushWidth = 8.0
    positive: bool = True


class ScribblePrompt(StrictModel):
    """Several strokes that are one prompt."""

    kind: Literal["scribble"]
    strokes: Annotated[list[Line], FailFast(), Field(min_length=1, max_length=MAX_STROKES)]
    width: BrushWidth = 8.0
    positive: bool = True


class PolygonPrompt(StrictModel):
    """A closed outline, along the edges of pixels."""

    kind: Literal["polygon"]
    points: Annotated[list[Position], FailFast(), Field(min_length=3, max_length=MAX_POINTS)]


class BoxPrompt(StrictModel):
    """A box along the edges of pixels; maxima are exclusive."""

    kind: Literal["box"]
    x0: Coordinate
    y0: Coordinate
    x1: Coordinate
    y1: Coordinate


class MaskPrompt(StrictModel):
    """A region drawn pixel by pixel: `rle`, or `png`, of the image's size; what is not black is inside."""

    kind: Literal["mask"]
    rle: RleSchema | None = None
    png: str | None = Field(default=None, description="A PNG file in base64.")

    def decode(self, image_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask (H, W); `ValueError` if there is not exactly one, or it cannot be read."""
        if (self.rle is None) == (self.png is None):
            raise ValueError("A mask prompt has either rle or png, exactly one of the two.")
        if self.rle is not None:
            return self.rle.decode(image_hw)
        assert self.png is not None
        return decode_png_mask(self.png, image_hw)


class TextPrompt(StrictModel):
    """A phrase that names the object, in English."""

    kind: Literal["text"]
    phrase: Phrase


MarkSchema: TypeAlias = (
    PointPrompt | StrokePrompt | ScribblePrompt | PolygonPrompt | BoxPrompt | MaskPrompt
)


class ReferencePrompt(StrictModel):
    """The object in another uploaded image that `prompts` mark there."""

    kind: Literal["reference"]
    image_id: Id
    prompts: Annotated[
        list[Annotated[MarkSchema | TextPrompt, Field(discriminator="kind")]],
        Field(min_length=1, max_length=MAX_PROMPTS),
    ]


PromptSchema: TypeAlias = Annotated[
    MarkSchema | TextPrompt | ReferencePrompt, Field(discriminator="kind")
]


def count_points(schemas: Sequence[MarkSchema | TextPrompt | ReferencePrompt]) -> int:
    """Return how many points prompts have together, those of their references included."""
    count = 0
    for schema in schemas:
        match schema:
            case StrokePrompt(points=points) | PolygonPrompt(points=points):
                count += len(points)
            case ScribblePrompt(strokes=strokes):
                count += sum(map(len, strokes))
            case ReferencePrompt(prompts=prompts):
                count += count_points(prompts)
            case _:
                count += 1
    return count


def check_num_points(schemas: list[Any]) -> list[Any]:
    """Return prompts, or lists of prompts, unchanged; `ValueError` if they have too many points together."""
    count = sum(count_points(each if isinstance(each, list) else [each]) for each in schemas)
    if count > MAX_POINTS_TOGETHER:
        raise ValueError(
            f"{count:,} points are more than the limit of {MAX_POINTS_TOGETHER:,}; simplify the lines"
        )
    return schemas


ObjectSchema: TypeAlias = Annotated[
    list[PromptSchema],
    FailFast(),
    Field(min_length=1, max_length=MAX_PROMPTS, description="About one object."),
    AfterValidator(check_num_points),
]
ObjectsSchema: TypeAlias = Annotated[
    list[ObjectSchema],
    FailFast(),
    Field(min_length=1, max_length=MAX_OBJECTS),
    AfterValidator(check_num_points),
]


def to_prompts(
    schemas: Sequence[MarkSchema | TextPrompt | ReferencePrompt],
    image_hw: tuple[int, int],
    find_image: FindImage,
) -> list[Prompt]:
    """Turn the prompts about one object in an image of height and width `image_hw` into those of the API."""
    return [to_prompt(schema, image_hw, find_image) for schema in schemas]


def to_prompt(
    schema: MarkSchema | TextPrompt | ReferencePrompt,
    image_hw: tuple[int, int],
    find_image: FindImage,
) -> Prompt:
    """Turn one prompt into that of the API; `ValueError` where the API raises it."""
    match schema:
        case PointPrompt(x=x, y=y, positive=positive):
            return Point(x, y, positive)
        case StrokePrompt(points=points, width=width, positive=positive):
            return Stroke(to_points(points), width, positive)
        case ScribblePrompt(strokes=strokes, width=width, positive=positive):
            return Scribble([to_points(points) for points in strokes], width, positive)
        case PolygonPrompt(points=points):
            return Polygon(to_points(points))
        case BoxPrompt(x0=x0, y0=y0, x1=x1, y1=y1):
            return Box(x0, y0, x1, y1)
        case MaskPrompt():
            return Mask(schema.decode(image_hw))
        case TextPrompt(phrase=phrase):
            return Text(phrase)
        case ReferencePrompt(image_id=image_id, prompts=prompts):
            other = find_image(image_id)
            return Reference(other, *to_prompts(prompts, other.hw, find_image))


def to_points(positions: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Turn positions into pairs."""
    return [(x, y) for x, y in positions]


def decode_png_mask(text: str, image_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a PNG in base64 as a mask of the image's size; `ValueError` if it is none."""
    height, width = image_hw
    try:
        content = base64.b64decode(text, validate=True)
        image = open_image(io.BytesIO(content), "The mask", max_pixels=height * width)
        if image.format != "PNG" or image.size != (width, height):
            raise ValueError(
                f"The mask is {image.format} of {image.width} x {image.height} pixels; "
                f"send a PNG of {width} x {height}."
            )
        return np.asarray(image.convert("L")) > 0
    except (binascii.Error, SeemError, OSError, SyntaxError) as error:
        raise ValueError(f"The mask is no PNG in base64 ({error}).") from None
