"""A region of another photo as a prompt: "this, there".

SEEM, section 3.2 (visual sampler of a referred image); official `evaluate_referring_image`. The other photo's own
features under the region are the tokens. Where they go differs: into rows of their own (the demo, nano), or, under
SEEM v0, in the place of the photo's own visual tokens. SEEM v1's published code cannot use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.models.structures import VisualPrompts, VisualTokens
from seem.models.text_embedding_head import pooled_text_vectors

PLACES: dict[str, RowKind] = {
    "seem-v0": RowKind.VISUAL_TOKENS,
    "seem-demo": RowKind.REFERENCE_TOKENS,
    "nano": RowKind.REFERENCE_TOKENS,
}
"""The rows that a reference becomes, by the name of the policy; a policy that is not here takes none."""


def place_of(model: Segmenter) -> RowKind | None:
    """Return the rows that a reference becomes; None for a model that takes none."""
    return PLACES.get(model.config.decoder.policy)


@dataclass(frozen=True, slots=True)
class Shown:
    """One region of another photo: its tokens, and what it means in the text space where a model has a map of that."""

    tokens: VisualTokens
    text_vector: Float[Tensor, " d"] | None


def look_at(model: Segmenter, image: ImageEncoding, region: Bool[Tensor, "1 1 h w"], draws: Draws) -> Shown:
    """Describe a region (padded network frame) of the photo in `image`."""
    tokens = model.encode_prompts(VisualPrompts(region, torch.zeros_like(region)), image, draws)
    meaning = None if image.text_map is None else pooled_text_vectors(image.text_map, region.float())[0, 0]
    return Shown(tokens, meaning)


def lay_out(references: Mapping[int, Shown], num_objects: int) -> VisualTokens:
    """Join the references of a pass, by the row of the object that each belongs to; at least one.

    The vectors of objects without a reference are zeros.
    """
    mine = {row: reference.tokens for row, reference in references.items()}
    first = next(iter(mine.values()))
    silent = first.positive_vectors.new_zeros(1, num_objects, first.positive_vectors.shape[-1])
    positive = silent.clone()
    for row, tokens in mine.items():
        positive[:, row] = tokens.positive_vectors[:, 0]
    return VisualTokens(
        levels=tuple(torch.cat(levels, dim=1) for levels in zip(*(t.levels for t in mine.values()), strict=True)),
        owner=torch.cat([torch.where(t.owner < 0, t.owner, row) for row, t in mine.items()], dim=1),
        positive_vectors=positive,
        negative_vectors=silent,
    )


def has_reference(reference: VisualTokens) -> Bool[Tensor, "b n"]:
    """Say which objects have a reference."""
    objects = torch.arange(reference.num_objects, device=reference.owner.device)
    return (reference.owner[:, :, None] == objects).any(dim=1)


def in_place_of_marks(tokens: VisualTokens, reference: VisualTokens) -> VisualTokens:
    """Let references stand where the photo's own visual tokens would, for the objects that have one (SEEM v0)."""
    return replace(
        tokens,
        levels=tuple(torch.cat(pair, dim=1) for pair in zip(tokens.levels, reference.levels, strict=True)),
        owner=torch.cat((tokens.owner, reference.owner), dim=1),
        positive_vectors=torch.where(
            has_reference(reference)[..., None], reference.positive_vectors, tokens.positive_vectors
        ),
    )


def with_meanings(
    vectors: Float[Tensor, "1 n d"] | None, references: Mapping[int, Shown], num_objects: int
) -> Float[Tensor, "1 n d"] | None:
    """Add what was shown about each object to what was said, in the text space; None where neither was."""
    for row, reference in references.items():
        if reference.text_vector is not None:
            empty = reference.text_vector.new_zeros(1, num_objects, len(reference.text_vector))
            mine = torch.tensor([row], device=empty.device)
            vectors = (empty if vectors is None else vectors).index_add(1, mine, reference.text_vector[None, None])
    return vectors
