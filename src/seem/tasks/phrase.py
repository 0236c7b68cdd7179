"""A phrase to the mask that fits it best."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import RowKind
from seem.models.ops.masks import dot
from seem.models.segmenter import Segmenter, join_phrases, unit_vectors
from seem.models.structures import DecoderQuery, PhraseTokens, TextFeatures
from seem.tasks.interactive import ObjectMasks, best


def best_queries(similarity: Float[Tensor, "q n"]) -> Int[Tensor, " n"]:
    """Return the query that fits each phrase best (official `evaluate_grounding`)."""
    return similarity.argmax(dim=0)


def segment_phrases(
    model: Segmenter, image: ImageEncoding, phrases: TextFeatures, draws: Draws
) -> Float[Tensor, "h w"]:
    """Answer the phrases that together describe one object: mask logits at stride 4, padded frame."""
    return answer_phrases(model, image, phrases, draws).logits[0, 0].float()


def answer_phrases(
    model: Segmenter, image: ImageEncoding, phrases: TextFeatures, draws: Draws, top: int = 1
) -> ObjectMasks:
    """Answer the phrases that together describe one object, with the mask of the best query or of the `top` best.

    The phrase queries read the tokens of all phrases; the one whose class vector fits them best on average answers.
    """
    answering = model.decoder.policy.phrase
    output = model.decode(image, DecoderQuery(phrases=join_phrases(phrases)), frozenset({answering}), draws)
    answers = output.phrase if answering is RowKind.PHRASE else output.object
    assert answers is not None
    similarity = model.phrase_logits(answers.class_vectors, phrases.phrases).mean(dim=-1)
    chosen = best(answers, similarity[:, None], top)
    return ObjectMasks(dot(chosen.mask_embeddings, image.pixels.mask_features), None, chosen.class_vectors)


@dataclass(frozen=True, slots=True)
class Words:
    """The phrases of a pass as decoder rows (spoken ones apart where a policy has rows for them), and as vectors.

    `meant` is the sum of an object's phrase vectors, each of length 1. None where nothing is said.
    """

    written: PhraseTokens | None = None
    spoken: PhraseTokens | None = None
    meant: Float[Tensor, "1 n d"] | None = None


def words_of(features: TextFeatures, owner: Int[Tensor, " p"], spoken: Bool[Tensor, " p"], num_objects: int) -> Words:
    """Lay out encoded phrases, each by the object that it speaks about."""

    def rows(chosen: Bool[Tensor, " p"]) -> PhraseTokens | None:
        valid = features.valid & chosen[:, None]
        owners = owner[:, None].expand_as(valid)[valid]
        return PhraseTokens(features.tokens[valid][None], owners[None]) if len(owners) else None

    vectors = unit_vectors(features.phrases)
    meant = vectors.new_zeros(num_objects, vectors.shape[-1]).index_add(0, owner, vectors)
    return Words(rows(~spoken), rows(spoken), meant[None])
