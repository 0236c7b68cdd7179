"""The decoder and mask refiner of a dense model (nano) as a graph: prompts to masks, any number of objects at once.

What needs no network stays outside: drawing prompts, choosing among candidates, clipping, merging.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seem.exporting.image_graph import LEVEL_STRIDES, encoding_tensors, read_encoding
from seem.exporting.points import POINTS, by_name, point_tensors, point_tokens
from seem.exporting.tensors import Axis, GraphSpec, TensorSpec, map_at
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.mask_refiner import prompt_maps
from seem.models.ops.masks import dot
from seem.models.segmenter import Segmenter
from seem.models.structures import DecoderQuery, PhraseTokens, VisualPrompts, VisualTokens
from seem.models.text_embedding_head import text_similarity_maps

OBJECTS, WORDS, REFERENCES = Axis("objects"), Axis("words"), Axis("references")


def dense_prompt_tensors(network: Segmenter) -> tuple[TensorSpec, ...]:
    """Describe what the prompts graph takes beside the encoded image."""
    dim = network.config.decoder.dim
    _, _, height, width = map_at(1, 1)
    _, _, height4, width4 = map_at(1, 4)
    return (
        TensorSpec(
            "marks",
            (OBJECTS, 3, height, width),
            "0 or 1 for each network pixel: positive marks, negative marks, bounds (boxes, polygons)",
            "uint8",
        ),
        TensorSpec(
            "previous",
            (OBJECTS, height4, width4),
            "mask logits of the previous round, the mean of 4 x 4 network pixels; 0 where there was none",
        ),
        *point_tensors(network),
        TensorSpec("phrase_tokens", (WORDS, dim), "tokens of all phrases, from the text graph"),
        TensorSpec(
            "phrase_owners", (WORDS,), "index of the object of each token, -1 = padding", "int64"
        ),
        TensorSpec(
            "text_vectors",
            (OBJECTS, dim),
            "sum of each object's phrase vectors (of length 1), or the mean of text_map in its reference; 0 = none",
        ),
        TensorSpec(
            "reference_tokens",
            (len(LEVEL_STRIDES), REFERENCES, dim),
            "point_tokens of a region of another image (its pixels as positive marks)",
        ),
        TensorSpec(
            "reference_owners", (REFERENCES,), "index of the object of each, -1 = padding", "int64"
        ),
    )


class DensePromptGraph(nn.Module):
    """An encoded image and the prompts about objects in, masks of every object out."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    @property
    def spec(self) -> GraphSpec:
        """What the graph takes and returns."""
        config = self.network.config
        assert config.mask_refiner is not None
        masks = 1 + config.mask_refiner.candidates
        _, _, height2, width2 = map_at(1, 2)
        what = (
            "one mask an object"
            if masks == 1
            else (
                f"the mask of all prompts, then {masks - 1} candidates for marks that are all there is about an object"
            )
        )
        return GraphSpec(
            "prompts",
            "Prompts to masks. Run it once for each question; objects do not influence each other.",
            (*encoding_tensors(self.network), *dense_prompt_tensors(self.network)),
            (
                TensorSpec(
                    "masks",
                    (OBJECTS, masks, height2, width2),
                    f"mask logits at stride 2 (inside > 0): {what}",
                ),
                TensorSpec("scores", (OBJECTS, masks), "predicted IoU of each mask, 0-1"),
                TensorSpec(
                    "class_vectors",
                    (OBJECTS, config.decoder.dim),
                    "each object in the text space, any length",
                ),
                TensorSpec(
                    "point_tokens",
                    (len(LEVEL_STRIDES), POINTS, config.decoder.dim),
                    "features of the points; reference_tokens of another image's question",
                ),
            ),
        )

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Answer prompts; inputs in the order of the specification."""
        given = by_name(self.spec, tensors)
        encoding = read_encoding(self.network, given)
        assert self.network.prompt_encoder is not None
        levels = point_tokens(self.network.prompt_encoder, given, encoding)
        unused = given["text_vectors"].new_zeros(
            1, 1, 1
        )  # they choose between the queries of an object
        tokens = VisualTokens(levels, given["point_owners"][None], unused, unused)
        query = DecoderQuery(
            visual=tokens,
            phrases=PhraseTokens(given["phrase_tokens"][None], given["phrase_owners"][None]),
            reference=VisualTokens(
                given["reference_tokens"][:, None].unbind(0),
                given["reference_owners"][None],
                unused,
                unused,
            ),
            num_objects=given["marks"].shape[0],
            composed=True,
        )
        output = self.network.decode(encoding, query, frozenset({RowKind.VISUAL}), FairDraws())
        assert output.visual is not None
        assert self.network.mask_refiner is not None
        assert encoding.text_map is not None
        mask_features = encoding.pixels.mask_features.maps
        coarse = dot(output.visual.mask_embeddings, mask_features)
        marks = given["marks"][None]
        prompts = VisualPrompts(marks[:, :, 0], marks[:, :, 1], marks[:, :, 2])
        similarity = text_similarity_maps(encoding.text_map, given["text_vectors"][None])
        maps = prompt_maps(prompts, coarse, given["previous"][None], similarity)
        refined = self.network.mask_refiner(
            mask_features, maps, output.visual.class_vectors, with_candidates=True
        )
        masks, qualities = refined.logits[0][:, None], refined.quality_logits[0][:, None]
        if refined.candidates is not None:
            masks = torch.cat((masks, refined.candidates.logits[0]), dim=1)
            qualities = torch.cat((qualities, refined.candidates.quality_logits[0]), dim=1)
        return masks, qualities.sigmoid(), output.visual.class_vectors[0], torch.cat(levels)
