"""The text encoder as a graph."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor, nn

from seem.exporting.tensors import Axis, GraphSpec, TensorSpec
from seem.models.segmenter import Segmenter


class TextGraph(nn.Module):
    """Token ids in, a vector for each token and each phrase out."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.text = network.text
        self.dim = network.config.decoder.dim
        self.context = network.config.text.context

    @property
    def spec(self) -> GraphSpec:
        """What the graph takes and returns."""
        phrases, tokens = Axis("phrases"), Axis("tokens", smallest=3, largest=self.context)
        ids = TensorSpec(
            "ids",
            (phrases, tokens),
            f"token ids: begin, phrase, end, then more end tokens as padding; at most {self.context}",
            "int64",
        )
        return GraphSpec(
            "text",
            "Phrases to vectors.",
            (ids,),
            (
                TensorSpec(
                    "tokens",
                    (phrases, tokens, self.dim),
                    "a vector for each token; those from begin to the first end go into phrase_tokens",
                ),
                TensorSpec(
                    "vectors", (phrases, self.dim), "a vector for each phrase, of any length"
                ),
            ),
        )

    def forward(self, ids: Int[Tensor, "n t"]) -> tuple[Tensor, Tensor]:
        """Encode phrases."""
        features = self.text(ids, torch.ones_like(ids, dtype=torch.bool))
        return features.tokens, features.phrases
