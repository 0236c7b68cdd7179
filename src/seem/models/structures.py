"""What flows through the network, in the order in which it flows.

Frames: pixels here are *network* pixels (the resized, zero-padded photo), unless a name ends in `_unit` (0-1 over the
padded image). Shape letters: B photos, N objects asked about, Q queries, T text tokens, P prompt points, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.mask_features import MaskFeatures


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Normalised photos, zero-padded at the right and bottom to one size.

    `input_hw` holds each photo's size before padding.
    """

    pixels: Float[Tensor, "b 3 h w"]
    input_hw: tuple[tuple[int, int], ...]

    @property
    def padded_hw(self) -> tuple[int, int]:
        """Height and width of the padded batch."""
        return int(self.pixels.shape[-2]), int(self.pixels.shape[-1])

    def to(self, device: torch.device) -> ImageBatch:
        """Return the batch on another device."""
        return ImageBatch(self.pixels.to(device), self.input_hw)


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Backbone features at strides 4, 8, 16 and 32, finest first."""

    maps: tuple[Float[Tensor, "b _c _h _w"], ...]


@dataclass(frozen=True, slots=True)
class PixelFeatures:
    """What the pixel decoder answers: fine features for masks, three coarser maps for the queries to read.

    `levels` are at strides 32, 16 and 8, in this order, the order in which decoder layers read them.
    """

    mask_features: MaskFeatures
    levels: tuple[Float[Tensor, "b d _hl _wl"], ...]


@dataclass(frozen=True, slots=True)
class VisualPrompts:
    """Rasterised visual prompts of every object, at network resolution (padded).

    `bounds` are filled boxes, and to nano the areas of polygons; None = neither. The object lies inside, not all that
    is inside belongs to it. The published models take them as positive pixels. An object without any pixel in any map
    is "missing" and asks nothing (padding in training batches).
    """

    positive: Bool[Tensor, "b n h w"]
    negative: Bool[Tensor, "b n h w"]
    bounds: Bool[Tensor, "b n h w"] | None = None

    @property
    def inside(self) -> Bool[Tensor, "b n h w"]:
        """Everything that is marked as meant: positive pixels and boxes."""
        return self.positive if self.bounds is None else self.positive | self.bounds


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """Features of the prompted pixels, signed and owned.

    `levels[l]` are the rows that join self-attention when level `l` is read. `owner` is the object that a row belongs
    to, -1 on padding. `positive_vectors` are the mean mask features under each object's positive points (-1 in every
    component where there are none).
    """

    levels: tuple[Float[Tensor, "b p d"], ...]
    owner: Int[Tensor, "b p"]
    positive_vectors: Float[Tensor, "b n c"]
    negative_vectors: Float[Tensor, "b n c"]

    @property
    def num_objects(self) -> int:
        """Objects asked about in every photo, missing ones included."""
        return self.positive_vectors.shape[1]


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Encoded phrases: a vector for every token, and the vector at the end token for the whole phrase.

    Not normalised. `valid` marks start to end token.
    """

    tokens: Float[Tensor, "n t d"]
    valid: Bool[Tensor, "n t"]
    phrases: Float[Tensor, "n d"]


@dataclass(frozen=True, slots=True)
class PhraseTokens:
    """Phrases as decoder rows: for each photo the valid tokens of its phrases, one after the other.

    `owner` is the object that a token speaks about (0 when a policy shares phrases between objects), -1 on padding.
    """

    tokens: Float[Tensor, "b t d"]
    owner: Int[Tensor, "b t"]


@dataclass(frozen=True, slots=True)
class CaptionPrefix:
    """The words of a caption, whole context, and the pixels that they may not look at (padded frame; None = none)."""

    tokens: Float[Tensor, "b t d"]
    hidden: Bool[Tensor, "b h w"] | None = None


@dataclass(frozen=True, slots=True)
class DecoderQuery:
    """Everything that one decoder pass is asked about a batch of photos.

    `num_objects` counts the objects described by prompts that visual queries answer. `composed`: visual queries also
    listen to the phrases (the published composition of a visual prompt with text).
    """

    visual: VisualTokens | None = None
    phrases: PhraseTokens | None = None
    reference: VisualTokens | None = None
    """Tokens of a region of another photo."""
    audio: PhraseTokens | None = None
    """Transcripts of spoken prompts."""
    caption: CaptionPrefix | None = None
    previous: Float[Tensor, "b n h4 w4"] | None = None
    """Mask logits of the previous round."""
    has_previous: Bool[Tensor, "b n"] | None = None
    """Which objects have a previous mask; None = all."""
    num_objects: int = 0
    composed: bool = False


@dataclass(frozen=True, slots=True)
class QueryOutputs:
    """What the queries of one group say.

    `class_vectors` live in the text space (compare with phrases or class names by cosine); a mask is the product of a
    mask embedding with the mask features (`MaskFeatures.logits`). For groups with one set of queries per object the
    rows are object-major.
    """

    class_vectors: Float[Tensor, "b q d"]
    mask_embeddings: Float[Tensor, "b q c"]


@dataclass(frozen=True, slots=True)
class DecoderOutput:
    """The answers of every query group that was asked, and of the layers before the last.

    `intermediate[i]` is the output of the heads after i layers (0 = before the first); empty unless asked for.
    """

    object: QueryOutputs | None = None
    image: QueryOutputs | None = None
    phrase: QueryOutputs | None = None
    visual: QueryOutputs | None = None
    caption: Float[Tensor, "b t d"] | None = None
    """Vectors that are compared with word embeddings to read the next word."""
    intermediate: tuple[DecoderOutput, ...] = ()

    @property
    def regions(self) -> QueryOutputs:
        """What the picture holds: the object queries, and behind them the image query where a version has one."""
        assert self.object is not None
        if self.image is None:
            return self.object
        return QueryOutputs(
            torch.cat((self.object.class_vectors, self.image.class_vectors), dim=1),
            torch.cat((self.object.mask_embeddings, self.image.mask_embeddings), dim=1),
        )
