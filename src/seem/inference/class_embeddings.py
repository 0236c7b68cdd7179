"""Embeddings of class names that were computed before, in this process or an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from seem.checkpoints.class_embeddings import (
    ClassEmbeddings,
    cache_classes,
    class_list_key,
    digest_of_text_encoder,
    read_cached_classes,
)
from seem.models.segmenter import Segmenter

Compute: TypeAlias = Callable[[Sequence[str], Sequence[str]], Tensor]
"""Embeds names in templates."""

MIN_CACHED_PHRASES = 64  # fewer are computed in about the time of reading a file


class ClassEmbeddingStore:
    """Finds embeddings beside the weights and in the cache on disk, for the weights as they are at the moment.

    `stored` are those beside the weights.
    """

    def __init__(self, network: Segmenter, stored: ClassEmbeddings | None) -> None:
        self.network = network
        self.stored = stored
        self._digest: tuple[object, str] | None = None

    def embed(self, names: Sequence[str], templates: Sequence[str], compute: Compute) -> Tensor:
        """Return the normalised embeddings of names in templates; computes only those that are stored nowhere."""
        vectors = self._stored_vectors(templates)
        missing = [name for name in dict.fromkeys(names) if name not in vectors]
        if missing:
            embeddings = self._embed_missing(missing, templates, compute)
            vectors.update(zip(missing, embeddings, strict=True))
        device = self.network.text.projection.device
        return torch.stack([vectors[name].to(device) for name in names])

    def key(self, names: Sequence[str], templates: Sequence[str]) -> str:
        """Return the key of names in templates under the present weights."""
        return class_list_key(self.encoder_digest(), names, templates)

    def encoder_digest(self) -> str:
        """Return the digest of the text encoder; computed again after its weights have changed."""
        state = state_of(self.network)
        if self._digest is None or state is None or self._digest[0] != state:
            digest = digest_of_text_encoder(self.network.text, self.network.config.text)
            self._digest = (state, digest)
        return self._digest[1]

    def _stored_vectors(self, templates: Sequence[str]) -> dict[str, Tensor]:
        """Return the embeddings beside the weights by name; none if they are of other weights or templates."""
        if self.stored is None or self.stored.key != self.key(self.stored.names, templates):
            return {}
        return dict(zip(self.stored.names, self.stored.embeddings, strict=True))

    def _embed_missing(
        self, names: Sequence[str], templates: Sequence[str], compute: Compute
    ) -> Tensor:
        """Read embeddings from the cache, or compute and cache them."""
        if len(names) * len(templates) < MIN_CACHED_PHRASES:
            return compute(names, templates)
        key = self.key(names, templates)
        cached = read_cached_classes(key)
        if cached is not None and len(cached) == len(names):
            return cached
        embeddings = compute(names, templates)
        cache_classes(ClassEmbeddings(key, tuple(names), embeddings))
        return embeddings


def state_of(network: Segmenter) -> object:
    """Return what changes when a weight of the text encoder is replaced or written to; None if that does not show."""
    weights = list(network.text.parameters())
    if any(weight.is_inference() for weight in weights):
        return None
    return [(weight.data_ptr(), weight._version) for weight in weights]
