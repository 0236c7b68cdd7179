"""A region of another image as a prompt: the object here that is like that region.

SEEM, section 3.2 (visual sampler of a referred image); official `evaluate_referring_image`. The other image's features
under the region are the tokens. `Policy.reference` says which decoder rows they become.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.segmenter import Segmenter
from seem.models.structures import VisualPrompts, VisualTokens
from seem.models.text_embedding_head import pooled_text_vectors


@dataclass(frozen=True, slots=True)
class ReferenceFeatures:
    """One region of another image: its tokens, and its mean text vector where a model has a text map."""

    tokens: VisualTokens
    text_vector: Float[Tensor, " d"] | None


def encode_region(
    model: Segmenter, image: ImageEncoding, region: Bool[Tensor, "1 1 h w"], draws: Draws
) -> ReferenceFeatures:
    """Encode a region (padded network frame) of `image` as a reference."""
    tokens = model.encode_prompts(VisualPrompts(region, torch.zeros_like(region)), image, draws)
    if image.text_map is None:
        return ReferenceFeatures(tokens, None)
    return ReferenceFeatures(tokens, pooled_text_vectors(image.text_map, region.float())[0, 0])


def join_references(references: Mapping[int, ReferenceFeatures], num_objects: int) -> VisualTokens:
    """Join the references of a pass (at least one) by object index; objects without one have zero vectors."""
    tokens = {index: reference.tokens for index, reference in references.items()}
    first = next(iter(tokens.values()))
    zeros = first.positive_vectors.new_zeros(1, num_objects, first.positive_vectors.shape[-1])
    positive_vectors = zeros.clone()
    owners = []
    for index, mine in tokens.items():
        positive_vectors[:, index] = mine.positive_vectors[:, 0]
        owners.append(torch.where(mine.owner < 0, mine.owner, index))
    levels = zip(*(mine.levels for mine in tokens.values()), strict=True)
    return VisualTokens(
        levels=tuple(torch.cat(level, dim=1) for level in levels),
        owner=torch.cat(owners, dim=1),
        positive_vectors=positive_vectors,
        negative_vectors=zeros,
    )


def has_reference(reference: VisualTokens) -> Bool[Tensor, "b n"]:
    """Tell which objects have a reference."""
    objects = torch.arange(reference.num_objects, device=reference.owner.device)
    return (reference.owner[:, :, None] == objects).any(dim=1)


def replace_visual_tokens(tokens: VisualTokens, reference: VisualTokens) -> VisualTokens:
    """Put references where the image's own visual tokens would be, for the objects that have one (SEEM v0)."""
    levels = zip(tokens.levels, reference.levels, strict=True)
    referenced = has_reference(reference)[..., None]
    return replace(
        tokens,
        levels=tuple(torch.cat(level, dim=1) for level in levels),
        owner=torch.cat((tokens.owner, reference.owner), dim=1),
        positive_vectors=torch.where(
            referenced, reference.positive_vectors, tokens.positive_vectors
        ),
    )


def add_reference_vectors(
    text_vectors: Float[Tensor, "1 n d"] | None,
    references: Mapping[int, ReferenceFeatures],
    num_objects: int,
) -> Float[Tensor, "1 n d"] | None:
    """Add the references' text vectors to those of the phrases, object by object; None where there are neither."""
    for index, reference in references.items():
        vector = reference.text_vector
        if vector is None:
            continue
        if text_vectors is None:
            text_vectors = vector.new_zeros(1, num_objects, len(vector))
        object_index = torch.tensor([index], device=vector.device)
        text_vectors = text_vectors.index_add(1, object_index, vector[None, None])
    return text_vectors
