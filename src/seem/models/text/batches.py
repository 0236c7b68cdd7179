"""Many phrases through the text encoder with little padding: phrases of about one length together.

The attention is causal, so nothing after a token changes it: what phrases begin with is encoded once for all of them,
and padding after the end token not at all. The answers are those of one padded batch, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seem.models.structures import TextFeatures
from seem.models.text.encoder import TextEncoder
from seem.models.text.tokenizer import Tokens

MAX_BATCH_TOKENS = 8192  # which bounds memory
PASS_COST = 40  # a further pass through the encoder costs about as much as this many tokens


def encode_tokens(encoder: TextEncoder, tokens: Tokens) -> TextFeatures:
    """Encode phrases; token vectors behind the end of a phrase are zeros."""
    batches = list(batches_by_length(tokens.valid.sum(dim=1)))
    if len(batches) <= 1:
        features: TextFeatures = encoder(tokens.ids, tokens.valid)
        return features
    width = tokens.ids.shape[1]
    vectors, phrases = [], []
    for rows in batches:
        ids, valid = trimmed(tokens, rows)
        features = encoder(ids, valid)
        vectors.append(F.pad(features.tokens, (0, 0, 0, width - ids.shape[1])))
        phrases.append(features.phrases)
    order = torch.cat(batches).argsort()
    return TextFeatures(torch.cat(vectors)[order], tokens.valid, torch.cat(phrases)[order])


def encode_class_phrases(
    encoder: TextEncoder, tokens: Tokens, num_templates: int
) -> Float[Tensor, "n d"]:
    """Encode phrases to one vector each, not normalised.

    The phrases are those of all templates for one class name after the other. What the phrases of a template begin
    with is encoded once.
    """
    lengths = num_shared_tokens(tokens, num_templates)
    if encoder.word_shortcut or not lengths.any():
        return encode_tokens(encoder, tokens).phrases
    width = int(lengths.max())
    prefixes = encoder.encode_prefixes(tokens.ids[:num_templates, :width], lengths)
    templates = torch.arange(len(tokens.ids), device=lengths.device) % num_templates
    starts = lengths[templates]
    rest_lengths = tokens.valid.sum(dim=1) - starts
    batches = list(batches_by_length(rest_lengths))
    vectors = []
    for rows in batches:
        steps = torch.arange(int(rest_lengths[rows].max()), device=rows.device)
        columns = (starts[rows, None] + steps).clamp(max=tokens.ids.shape[1] - 1)
        ids = tokens.ids[rows[:, None], columns]
        vectors.append(encoder.continue_prefixes(ids, prefixes, templates[rows]))
    return torch.cat(vectors)[torch.cat(batches).argsort()]


def num_shared_tokens(tokens: Tokens, num_templates: int) -> Int[Tensor, " p"]:
    """Count the tokens that all phrases of a template begin with, end tokens excluded; 0 where there is one phrase."""
    if len(tokens.ids) <= num_templates:
        return tokens.ids.new_zeros(num_templates)
    end = tokens.ids[0, -1]  # of the longest phrase, or padding
    ids: Tensor = torch.unflatten(tokens.ids, 0, (-1, num_templates))
    is_shared = (ids == ids[0]).all(dim=0) & (ids[0] != end)
    return is_shared.long().cumprod(dim=1).sum(dim=1)


def trimmed(tokens: Tokens, rows: Int[Tensor, " m"]) -> tuple[Tensor, Tensor]:
    """Return the ids and validity of some phrases, cut behind the longest of them."""
    valid = tokens.valid[rows]
    width = int(valid.sum(dim=1).max())
    return tokens.ids[rows, :width], valid[:, :width]


def batches_by_length(lengths: Int[Tensor, " n"]) -> Iterator[Int[Tensor, " m"]]:
    """Yield the rows of phrases to encode together, short ones first.

    Phrases of different lengths share a batch where the padding costs less than a pass of their own.
    """
    order = lengths.argsort(stable=True)
    start = 0
    sorted_lengths = lengths[order].tolist()
    for row in range(1, len(sorted_lengths)):
        num_rows, longest = row - start, sorted_lengths[row]
        padding = num_rows * (longest - sorted_lengths[row - 1])
        if padding > PASS_COST or (num_rows + 1) * longest > MAX_BATCH_TOKENS:
            yield order[start:row]
            start = row
    if len(order):
        yield order[start:]
