"""Words for a picture, or for a region of it: greedy decoding with X-Decoder's caption rows.

X-Decoder, section 3.2 (captioning); official `forward_captioning`. Every step encodes the words so far with the text
tower, lets them read the image and the object queries, and takes the likeliest next word.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.models.structures import CaptionPrefix, DecoderQuery

CAPTION = frozenset({RowKind.CAPTION})
MAX_WORDS = 50  # tokens of the official procedure, which never stops early


def write_caption(
    model: Segmenter,
    image: ImageEncoding,
    begin: int,
    end: int,
    hidden: Bool[Tensor, "1 h w"] | None = None,
    max_tokens: int = MAX_WORDS,
) -> list[int]:
    """Return the token ids of a caption of the first photo, without begin and end.

    `hidden` marks pixels (padded network frame) that the words may not look at, which makes it a caption of the rest.
    Stops at the end token: what would follow is cut off by the official procedure. Causal rows need nothing behind
    them, so every step computes only the words so far.
    """
    ids = torch.tensor([[begin]], device=image.pixels.mask_features.device)
    words: list[int] = []
    for _ in range(min(max_tokens, len(model.text.positions) - 1)):
        tokens = model.encode_text(ids, torch.ones_like(ids, dtype=torch.bool)).tokens
        question = DecoderQuery(caption=CaptionPrefix(tokens, hidden))
        output = model.decode(image, question, CAPTION, FairDraws())
        assert output.caption is not None
        likeness = output.caption[0, -1] @ model.text.tokens.weight.T
        word = int(likeness.argmax())
        if word == end:
            break
        words.append(word)
        ids = torch.cat((ids, ids.new_tensor([[word]])), dim=1)
    return words


def first_sentence(text: str) -> str:
    """Return a caption up to its first full stop (official `evaluate_captioning`)."""
    return text.split(".")[0].strip()
