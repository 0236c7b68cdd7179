"""Prompts to masks: which query answers for an object, and the dense head where a model has one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.models.decoder.decoder import ImageMemory
from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import Kind
from seem.models.mask_refiner import prompt_maps
from seem.models.ops.masks import dot
from seem.models.segmenter import Segmenter
from seem.models.structures import Answers, PhraseTokens, Question, VisualPrompts, VisualTokens


@dataclass(frozen=True, slots=True)
class Chosen:
    """The answering query of every object."""

    mask_embeddings: Float[Tensor, "b n c"]
    class_vectors: Float[Tensor, "b n d"]
    queries: Int[Tensor, "b n"]


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """One mask an object: logits in the network's padded frame (stride 4, or 2 from a dense head), quality 0-1.

    `quality` is None where the model does not predict it.
    """

    logits: Float[Tensor, "b n h w"]
    quality: Float[Tensor, "b n"] | None
    class_vectors: Float[Tensor, "b n d"]


def choose(visual: Answers, tokens: VisualTokens) -> Chosen:
    """Pick, among each object's own queries, the one whose mask embedding agrees most with the prompted pixels.

    The plain product with the mean mask feature under the positive pixels (official rule of SEEM v1).
    """
    embeddings = torch.unflatten(visual.mask_embeddings, 1, (tokens.num_objects, -1))
    best = torch.einsum("bnqc,bnc->bnq", embeddings, tokens.positive_vectors).argmax(dim=-1)
    vectors = torch.unflatten(visual.class_vectors, 1, (tokens.num_objects, -1))

    def take(rows: Float[Tensor, "b n q c"]) -> Float[Tensor, "b n c"]:
        return rows.gather(2, best[:, :, None, None].expand(-1, -1, 1, rows.shape[-1]))[:, :, 0]

    return Chosen(take(embeddings), take(vectors), best)


def segment_objects(
    model: Segmenter,
    image: ImageMemory,
    prompts: VisualPrompts,
    draws: Draws,
    phrases: PhraseTokens | None = None,
    previous: Float[Tensor, "b n h w"] | None = None,
) -> ObjectMasks:
    """Answer visual prompts about any number of objects in one pass.

    `previous` are the mask logits of the round before. With `phrases` the visual queries also hear the text.
    """
    tokens = model.encode_prompts(prompts, image, draws)
    question = Question(
        visual=tokens,
        phrases=phrases,
        previous=previous,
        num_objects=tokens.num_objects,
        composed=phrases is not None,
    )
    answering = model.decoder.policy.visual
    assert answering is not None
    output = model.decode(image, question, frozenset({answering}), draws)
    answers = output.visual if answering is Kind.VISUAL else output.object
    assert answers is not None
    chosen = choose(answers, tokens)
    coarse = dot(chosen.mask_embeddings, image.pixels.mask_features)
    if model.mask_refiner is None:
        return ObjectMasks(coarse, None, chosen.class_vectors)
    maps = prompt_maps(prompts, coarse, previous)
    refined = model.mask_refiner(image.pixels.mask_features, maps, chosen.class_vectors)
    return ObjectMasks(refined.logits, refined.quality_logits.sigmoid(), chosen.class_vectors)
