"""How well a picture and a phrase fit: X-Decoder's image query and pooled features.

X-Decoder, section 3.2 (retrieval); official `evaluate_retrieval`, whose score is the mean of two cosines.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.models.structures import DecoderQuery

IMAGE = frozenset({RowKind.IMAGE})


@dataclass(frozen=True, slots=True)
class ImageVectors:
    """Two vectors of a whole photo in the text space: the image query's, and the mean of the coarsest features.

    Not normalised.
    """

    query: Float[Tensor, "b d"]
    mean: Float[Tensor, "b d"]


def image_vectors(model: Segmenter, image: ImageEncoding) -> ImageVectors:
    """Describe whole photos by vectors."""
    output = model.decode(image, DecoderQuery(), IMAGE, FairDraws())
    assert output.image is not None
    assert image.summary is not None
    return ImageVectors(output.image.class_vectors[:, 0], image.summary)


def fit_scores(images: ImageVectors, phrases: Float[Tensor, "n d"]) -> Float[Tensor, "b n"]:
    """Score every photo against every phrase vector, -1 to 1: the mean of the two cosines."""
    text = F.normalize(phrases, dim=-1)
    both = torch.stack(
        [F.normalize(vectors, dim=-1) @ text.T for vectors in (images.query, images.mean)]
    )
    return both.mean(dim=0)
