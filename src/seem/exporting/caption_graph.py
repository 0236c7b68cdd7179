"""The words of a caption so far as input of a graph, scores of the next word as output; the loop is outside."""

from __future__ import annotations

from torch import Tensor, nn

from seem.exporting.image_graph import LEVEL_STRIDES, encoding_tensors, fixed_sizes, read_encoding
from seem.exporting.points import by_name
from seem.exporting.tensors import Axis, GraphSpec, TensorSpec, map_at
from seem.models.decoder.draws import FairDraws
from seem.models.segmenter import Segmenter
from seem.models.structures import CaptionPrefix, DecoderQuery
from seem.tasks.caption import CAPTION

MASK_FEATURES = "mask_features"


class CaptionGraph(nn.Module):
    """An encoded image and the words of a caption in, a score of every word as the next one out."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    @property
    def spec(self) -> GraphSpec:
        """What the graph takes and returns."""
        config = self.network.config
        _, _, height, width = map_at(1, 1)
        words = Axis("words", largest=config.text.context)
        return GraphSpec(
            "captions",
            "Writes a caption: one run for each word.",
            (
                *self._encoding_tensors(),
                TensorSpec(
                    "caption_tokens",
                    (1, words, config.decoder.dim),
                    "tokens from the text graph of begin and the words so far, without end",
                ),
                TensorSpec(
                    "hidden",
                    (1, height, width),
                    "1 for network pixels that the caption leaves out, 0 everywhere for the full photo",
                    "uint8",
                ),
            ),
            (
                TensorSpec(
                    "word_scores",
                    (1, config.text.vocabulary_size),
                    "of every token id as the next word: the largest is it",
                ),
            ),
        ).with_sizes(fixed_sizes(config))

    def _encoding_tensors(self) -> list[TensorSpec]:
        """Describe what is read of an encoded image: all but the features of which masks are made."""
        tensors = encoding_tensors(self.network)
        return [tensor for tensor in tensors if tensor.name != MASK_FEATURES]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Score the next word; inputs in the order of the specification."""
        given = by_name(self.spec, tensors)
        some_map = given[f"{MASK_FEATURES}_{LEVEL_STRIDES[-1]}"]  # only its batch size is read
        encoding = read_encoding(self.network, {**given, MASK_FEATURES: some_map})
        prefix = CaptionPrefix(given["caption_tokens"], given["hidden"] > 0)
        output = self.network.decode(encoding, DecoderQuery(caption=prefix), CAPTION, FairDraws())
        assert output.caption is not None
        return (output.caption[:, -1] @ self.network.text.tokens.weight.T,)
