"""The image network as a graph: everything that no question changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import SamViTConfig, SegmenterConfig
from seem.exporting.antialiasing import shrink_bicubic
from seem.exporting.tensors import CELL, GraphSpec, TensorSpec, map_at
from seem.models.backbones.sam_vit import PATCH
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import FairDraws
from seem.models.mask_features import MaskFeatures
from seem.models.ops.attention import KeysValues
from seem.models.segmenter import Segmenter
from seem.models.structures import DecoderQuery, ImageBatch, PixelFeatures

LEVEL_STRIDES = (32, 16, 8)  # in the order in which decoder layers read them


def encoding_tensors(network: Segmenter) -> tuple[TensorSpec, ...]:
    """Describe what the image graph hands to the graphs of prompts."""
    decoder = network.config.decoder
    mask_dim, heads = network.config.pixel_decoder.mask_dim, decoder.num_heads
    specs = [TensorSpec("mask_features", map_at(mask_dim, 4), "features of which masks are made")]
    if network.text_embedding_head is not None:
        what = "vector of length 1 in the text space for each cell"
        specs.append(TensorSpec("text_map", map_at(decoder.dim, 4), what))
    if network.prompt_encoder is not None:
        for stride in LEVEL_STRIDES:
            what = "features that points are read from"
            specs.append(TensorSpec(f"point_features_{stride}", map_at(decoder.dim, stride), what))
    for stride in LEVEL_STRIDES:
        what = "mask_features at a coarser stride"
        specs.append(TensorSpec(f"mask_features_{stride}", map_at(mask_dim, stride), what))
    for layer in range(decoder.layers):
        _, _, rows, columns = map_at(1, level_stride(layer))
        shape = (1, heads, rows, columns, decoder.dim // heads)
        for what in ("keys", "values"):
            specs.append(
                TensorSpec(f"{what}_{layer}", shape, f"attention {what} of decoder layer {layer}")
            )
    return tuple(specs)


def fixed_sizes(config: SegmenterConfig) -> dict[str, int]:
    """Return the sizes of padded images that a backbone prescribes: SAM's, whose position table has one size."""
    if not isinstance(config.backbone, SamViTConfig):
        return {}
    side = config.backbone.grid * PATCH // CELL
    return {"rows": side, "columns": side}


def region_tensors(network: Segmenter) -> tuple[TensorSpec, ...]:
    """Describe what the image graph tells about the regions of a photo: the published models' object queries."""
    if network.kind.name != "query":
        return ()
    queries, dim = network.config.decoder.num_queries, network.config.decoder.dim
    has_summary = network.image_projection is not None
    last = "; the last is the full photo" if has_summary else ""
    specs = [
        TensorSpec(
            "region_class_vectors",
            (1, queries, dim),
            f"each object query in the text space; class logits = temperature times the cosine with embeddings{last}",
        ),
        TensorSpec(
            "region_mask_embeddings",
            (1, queries, network.config.pixel_decoder.mask_dim),
            "mask logits at stride 4 = the product of an embedding and mask_features",
        ),
    ]
    if has_summary:
        what = "the full photo in the text space, from its coarsest features alone"
        specs.append(TensorSpec("summary", (1, dim), what))
    return tuple(specs)


def level_stride(layer: int) -> int:
    """Return the stride of the map that a decoder layer reads."""
    return LEVEL_STRIDES[layer % len(LEVEL_STRIDES)]


class ImageGraph(nn.Module):
    """Normalised pixels in, everything that no question changes out: `encoding_tensors`, then `region_tensors`."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    @property
    def spec(self) -> GraphSpec:
        """What the graph takes and returns."""
        pixels = TensorSpec(
            "pixels",
            map_at(3, 1),
            "RGB, normalised by mean and std, then padded with 0 at the right and bottom; network pixels",
        )
        return GraphSpec(
            "image",
            "Everything that no question changes. Run it once for each photo.",
            (pixels,),
            (*encoding_tensors(self.network), *region_tensors(self.network)),
        ).with_sizes(fixed_sizes(self.network.config))

    def forward(self, pixels: Float[Tensor, "1 3 h w"]) -> tuple[Tensor, ...]:
        """Encode one image."""
        network = self.network
        encoding = network.encode_image(ImageBatch(pixels, ()), many_masks=True)
        if network.decoder.policy.resampling == "bicubic":
            encoding = replace(encoding, small_masks=shrunk_bicubic(encoding))
        tensors = [encoding.pixels.mask_features.maps]
        if encoding.text_map is not None:
            tensors.append(encoding.text_map)
        if network.prompt_encoder is not None:
            projections = network.prompt_encoder.level_projections
            for projection, level in zip(projections, encoding.pixels.levels, strict=True):
                tensors.append(torch.einsum("bchw,cd->bdhw", level, projection))
        tensors += encoding.small_masks
        for layer, context in enumerate(encoding.reads):
            hw = encoding.small_masks[layer % len(LEVEL_STRIDES)].shape[-2:]
            for projected in (context.keys, context.values):
                tensors.append(torch.unflatten(projected, 2, hw))
        if network.kind.name == "query":
            kinds = network.decoder.policy.region_kinds
            regions = network.decode(encoding, DecoderQuery(), kinds, FairDraws()).regions
            tensors += (regions.class_vectors, regions.mask_embeddings)
        if encoding.summary is not None:
            tensors.append(encoding.summary)
        return tuple(tensors)


def shrunk_bicubic(encoding: ImageEncoding) -> tuple[Tensor, ...]:
    """Return the mask features at the size of every level, by operators that all runtimes have."""
    maps = encoding.pixels.mask_features.maps
    return tuple(shrink_bicubic(maps, stride // 4) for stride in LEVEL_STRIDES)


def read_encoding(network: Segmenter, given: Mapping[str, Tensor]) -> ImageEncoding:
    """Put the outputs of the image graph together again; levels are those that points are read from."""
    levels, small_masks = [], []
    for stride in LEVEL_STRIDES:
        small_masks.append(given[f"mask_features_{stride}"])
        if network.prompt_encoder is not None:
            levels.append(given[f"point_features_{stride}"])
    reads = []
    for layer in range(network.config.decoder.layers):
        keys, values = given[f"keys_{layer}"], given[f"values_{layer}"]
        reads.append(KeysValues(keys.flatten(2, 3), values.flatten(2, 3)))
    return ImageEncoding(
        PixelFeatures(MaskFeatures(given["mask_features"]), tuple(levels)),
        tuple(reads),
        tuple(small_masks),
        text_map=given.get("text_map"),
    )
