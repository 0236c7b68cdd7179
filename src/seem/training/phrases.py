"""Phrases of a training step: token ids from a cache, and decoder rows owned by objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from seem.models.structures import PhraseTokens, TextFeatures
from seem.models.text.tokenizer import BytePairTokenizer

if TYPE_CHECKING:
    from seem.models.segmenter import Segmenter


class PhraseTokenizer:
    """A tokenizer that caches the ids of phrases: training meets the same few thousand again and again."""

    def __init__(self, tokenizer: BytePairTokenizer) -> None:
        self.tokenizer = tokenizer
        self._cache: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Bool[Tensor, "n t"]]:
        """Return token ids padded with the end token, and which of them are no padding."""
        rows = [self._ids(text) for text in texts]
        end = int(rows[0][-1])
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
        lengths = torch.tensor([len(row) for row in rows])
        return ids, torch.arange(ids.shape[1]) < lengths[:, None]

    def _ids(self, text: str) -> Tensor:
        if text not in self._cache:
            tokens = self.tokenizer([text])
            self._cache[text] = tokens.ids[0, tokens.valid[0]]
        return self._cache[text]

    def encode(self, model: Segmenter, texts: Sequence[str]) -> TextFeatures:
        """Encode texts on the device of the network."""
        ids, valid = self(texts)
        device = model.text.logit_scale.device
        return model.encode_text(ids.to(device), valid.to(device))


def phrase_tokens_by_object(
    phrases: Sequence[Sequence[str]], encoded: TextFeatures, rows: Mapping[str, int]
) -> PhraseTokens | None:
    """Lay out each image's phrases as decoder rows owned by their objects; None without any phrase.

    `phrases[b][n]` is the phrase of object n, empty without one; `rows` gives the row of a phrase in `encoded`.
    """
    if not any(map(any, phrases)):
        return None
    tokens: list[Tensor] = []
    owners: list[Tensor] = []
    for image in phrases:
        image_tokens = [encoded.tokens.new_zeros(0, encoded.tokens.shape[-1])]
        image_owners = [torch.zeros(0, dtype=torch.long)]
        for owner, text in enumerate(image):
            if text:
                vectors = encoded.tokens[rows[text], encoded.valid[rows[text]]]
                image_tokens.append(vectors)
                image_owners.append(torch.full((len(vectors),), owner, dtype=torch.long))
        tokens.append(torch.cat(image_tokens))
        owners.append(torch.cat(image_owners))
    return PhraseTokens(
        torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True),
        torch.nn.utils.rnn.pad_sequence(owners, batch_first=True, padding_value=-1).to(
            encoded.tokens.device
        ),
    )
