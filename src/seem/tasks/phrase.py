"""A phrase to the mask that fits it best."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.models.decoder.decoder import ImageMemory
from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import Kind
from seem.models.ops.masks import dot
from seem.models.segmenter import Segmenter, join_phrases
from seem.models.structures import Question, TextFeatures


def best_queries(similarity: Float[Tensor, "q n"]) -> Int[Tensor, " n"]:
    """Return the query that fits each phrase best (official `evaluate_grounding`)."""
    return similarity.argmax(dim=0)


def segment_phrases(model: Segmenter, image: ImageMemory, phrases: TextFeatures, draws: Draws) -> Float[Tensor, "h w"]:
    """Answer the phrases that together describe one object: mask logits at stride 4, padded frame.

    The phrase queries read the tokens of all phrases; the one whose class vector fits them best on average answers.
    """
    answering = model.decoder.policy.phrase
    output = model.decode(image, Question(phrases=join_phrases(phrases)), frozenset({answering}), draws)
    answers = output.phrase if answering is Kind.PHRASE else output.object
    assert answers is not None
    similarity = model.phrase_logits(answers.class_vectors, phrases.phrases)[0]
    best = best_queries(similarity.mean(dim=1, keepdim=True))
    chosen = torch.index_select(answers.mask_embeddings, 1, best)
    return dot(chosen, image.pixels.mask_features)[0, 0].float()
