"""Words about whole photos, for models that have learned them: captions, and retrieval in both directions.

Captions: CIDEr-D of `caption()` against what people wrote. Retrieval: every photo's fit with every caption of the set,
the mean of two cosines as in X-Decoder; at most the first five captions of a photo, as in the usual splits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from seem.api import EncodedImage
from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.metrics.caption import CiderD
from seem.evaluation.metrics.retrieval import Retrieval
from seem.models.precision import arithmetic
from seem.tasks.retrieval import image_vectors

CAPTION, RETRIEVAL = "caption", "retrieval"
MOST_CAPTIONS = 5


def caption(dataset: Dataset) -> Measure:  # noqa: ARG001 - every protocol is made from a data set
    """Describe every photo that people have described."""
    return Measure(CAPTION, (Line(CAPTION, "model", CiderD),), lambda photo: photo.captions, _describe)


def _describe(look: Look, captions: Sequence[str], tallies: Sequence[Tally]) -> None:
    (tally,) = tallies
    seen = look.seen
    with look.asking(tally, "caption"):
        told = seen.caption()
    tally.metric.update(told, list(captions))
    tally.note(look.place, look.photo, "caption")


def retrieval(dataset: Dataset) -> Measure:  # noqa: ARG001
    """Rank captions for photos, and photos for captions."""
    rules = (f"the first {MOST_CAPTIONS} captions of a photo", "fit: the mean of two cosines")
    return Measure(RETRIEVAL, (Line(RETRIEVAL, "model", Retrieval, rules),), _captions, _compare)


def _captions(photo: ImageRecord) -> tuple[str, ...]:
    return photo.captions[:MOST_CAPTIONS]


def _compare(look: Look, captions: Sequence[str], tallies: Sequence[Tally]) -> None:
    (tally,) = tallies
    seen = look.seen
    assert isinstance(seen, EncodedImage)
    with look.asking(tally, "retrieval"):
        photo = photo_vector(seen)
        said = F.normalize(seen.model.encode_phrases(list(captions)).phrases.double(), dim=-1).cpu().numpy()
    tally.metric.update(photo, said)
    tally.note(look.place, look.photo, len(captions))


def photo_vector(seen: EncodedImage) -> Float[np.ndarray, " d"]:
    """Describe a whole photo by one vector; its product with a phrase's unit vector is the mean of the two cosines."""
    with arithmetic(seen.model.device, seen.model.precision):
        vectors = image_vectors(seen.model.network, seen.whole.memory)
    both = torch.cat((vectors.query, vectors.mean)).double()
    found: Float[np.ndarray, " d"] = F.normalize(both, dim=-1).mean(dim=0).cpu().numpy()
    return found
