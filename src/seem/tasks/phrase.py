"""A phrase to the mask that fits it best."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter, join_phrases, unit_vectors
from seem.models.structures import DecoderQuery, PhraseTokens, TextFeatures
from seem.tasks.interactive import ObjectMasks, top_queries


def answer_phrases(
    model: Segmenter, image: ImageEncoding, phrases: TextFeatures, draws: Draws, top: int = 1
) -> ObjectMasks:
    """Answer the phrases that together describe one object, with the mask of the best query or of the `top` best.

    The phrase queries read the tokens of all phrases; the one whose class vector fits them best on average answers
    (official `evaluate_grounding`).
    """
    answering = model.decoder.policy.phrase
    output = model.decode(
        image, DecoderQuery(phrases=join_phrases(phrases)), frozenset({answering}), draws
    )
    queries = output.phrase if answering is RowKind.PHRASE else output.object
    assert queries is not None
    similarity = model.phrase_logits(queries.class_vectors, phrases.phrases).mean(dim=-1)
    chosen = top_queries(queries, similarity[:, None], top)
    masks = image.pixels.mask_features.logits(chosen.mask_embeddings)
    return ObjectMasks(masks, None, chosen.class_vectors)


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The phrases of a pass as decoder rows (spoken ones apart where a policy has rows for them), and as vectors.

    `vectors` is the sum of each object's phrase vectors, each of length 1. None without phrases.
    """

    written: PhraseTokens | None = None
    spoken: PhraseTokens | None = None
    vectors: Float[Tensor, "1 n d"] | None = None


def lay_out_text(
    features: TextFeatures, owner: Int[Tensor, " p"], spoken: Bool[Tensor, " p"], num_objects: int
) -> EncodedText:
    """Lay out encoded phrases as decoder rows; `owner` is the index of each phrase's object."""

    def rows(chosen: Bool[Tensor, " p"]) -> PhraseTokens | None:
        valid = features.valid & chosen[:, None]
        owners = owner[:, None].expand_as(valid)[valid]
        if not len(owners):
            return None
        return PhraseTokens(features.tokens[valid][None], owners[None])

    vectors = unit_vectors(features.phrases)
    sums = vectors.new_zeros(num_objects, vectors.shape[-1]).index_add(0, owner, vectors)
    return EncodedText(rows(~spoken), rows(spoken), sums[None])
