"""Captions and retrieval of full images, for models that are trained for them.

Captions: CIDEr-D of `caption()` against those that people wrote. Retrieval: the similarity of every image with every
caption of the data set, the mean of two cosines as in X-Decoder; at most the first five captions of an image, as in the
usual splits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.encoded_image import EncodedImage
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.metrics.caption import CiderD
from seem.evaluation.metrics.retrieval import RetrievalRecall
from seem.models.precision import arithmetic
from seem.tasks.retrieval import image_vectors

CAPTION, RETRIEVAL = "caption", "retrieval"
MAX_CAPTIONS = 5


def caption_benchmark(dataset: Dataset) -> Benchmark:  # noqa: ARG001 - every benchmark is made from a data set
    """Score the caption of every image that has written ones."""
    return Benchmark(
        title=CAPTION,
        specs=(EntrySpec(CAPTION, "model", CiderD),),
        items=lambda image: image.captions,
        evaluate=_evaluate_caption,
    )


def _evaluate_caption(
    context: EvaluationContext,
    captions: Sequence[str],
    accumulators: Sequence[ScoreAccumulator],
) -> None:
    (accumulator,) = accumulators
    encoded = context.encoded
    with context.timing(accumulator, "caption"):
        predicted = encoded.caption()
    accumulator.metric.update(predicted, list(captions))
    context.record_item(accumulator, "caption")


def retrieval_benchmark(dataset: Dataset) -> Benchmark:  # noqa: ARG001
    """Score the ranking of captions for images, and of images for captions."""
    rules = (f"the first {MAX_CAPTIONS} captions of a photo", "fit: the mean of two cosines")
    return Benchmark(
        title=RETRIEVAL,
        specs=(EntrySpec(RETRIEVAL, "model", RetrievalRecall, rules),),
        items=_retrieval_captions,
        evaluate=_evaluate_retrieval,
    )


def _retrieval_captions(image: ImageRecord) -> tuple[str, ...]:
    return image.captions[:MAX_CAPTIONS]


def _evaluate_retrieval(
    context: EvaluationContext,
    captions: Sequence[str],
    accumulators: Sequence[ScoreAccumulator],
) -> None:
    (accumulator,) = accumulators
    encoded = context.encoded
    assert isinstance(encoded, EncodedImage)
    with context.timing(accumulator, "retrieval"):
        image_embedding = retrieval_embedding(encoded)
        phrases = encoded.model.encode_phrases(list(captions)).phrases.double()
        caption_embeddings = F.normalize(phrases, dim=-1).cpu().numpy()
    accumulator.metric.update(image_embedding, caption_embeddings)
    context.record_item(accumulator, len(captions))


def retrieval_embedding(encoded: EncodedImage) -> Float[np.ndarray, " d"]:
    """Return the embedding of an image; its product with a phrase's unit vector is the mean of two cosines."""
    model = encoded.model
    with arithmetic(model.device, model.precision):
        vectors = image_vectors(model.network, encoded.at_full_image_size().encoding)
    both = torch.cat((vectors.query, vectors.mean)).double()
    embedding: Float[np.ndarray, " d"] = F.normalize(both, dim=-1).mean(dim=0).cpu().numpy()
    return embedding
