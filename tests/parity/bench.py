"""Our network with the weights of the recordings, and what the cases ask it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from parity.weights import official_tensor
from seem import config
from seem.checkpoints.mapping import from_official, key_mappings
from seem.models.build import build
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import RecordedDraws
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.models.structures import (
    DecoderOutput,
    DecoderQuery,
    ImageBatch,
    PixelFeatures,
    Pyramid,
    QueryOutputs,
    TextFeatures,
)

ARCHITECTURES = {
    "seem_v1_focalt": config.seem_focal_t_v1,
    "seem_v1_focall": config.seem_focal_l_v1,
    "seem_v1_samvitb": config.seem_samvit_b_v1,
    "seem_v1_samvitl": config.seem_samvit_l_v1,
    "seem_v1_davitd3": config.seem_davit_d3_v1,
    "seem_v1_davitd5": config.seem_davit_d5_v1,
    "seem_v0_focalt": config.seem_focal_t_v0,
    "seem_v0_focall": config.seem_focal_l_v0,
    "seem_demo_focalt": config.seem_focal_t_demo,
    "seem_demo_focall": config.seem_focal_l_demo,
    "xdecoder_focalt": config.xdecoder_focal_t,
    "xdecoder_focall": config.xdecoder_focal_l,
    "xdecoder_focall_oq101": config.xdecoder_focal_l_q101,
    "xdecoder_davitd3": config.xdecoder_davit_d3,
    "xdecoder_davitd5": config.xdecoder_davit_d5,
}
"""Our configuration of every official architecture, by the name of its manifest."""


@dataclass(frozen=True)
class GroupOutput:
    """The answers of one query group, with their masks."""

    answers: QueryOutputs
    masks: Tensor


@dataclass(frozen=True)
class Output:
    """The answers of all groups that were asked; `object` holds an image query, too, where a version has one."""

    object: GroupOutput | None
    phrase: GroupOutput | None
    visual: GroupOutput | None
    earlier: tuple[Output, ...] = ()


@dataclass(frozen=True)
class ImageFeatures:
    """Photos of one size as every part of the image network leaves them."""

    pyramid: Pyramid
    pixels: PixelFeatures
    memory: ImageEncoding


@dataclass
class Bench:
    """One network in one precision; photos are encoded once."""

    network: Segmenter
    photos: dict[tuple[bytes, ...], ImageFeatures] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of everything computed here."""
        return self.network.decoder.query_features.dtype

    def batch(self, photos: Iterable[np.ndarray]) -> ImageBatch:
        """Normalise photos of one size and pad them with zeros, as the network's configuration says."""
        image = self.network.config.image
        pixels = torch.stack([torch.from_numpy(photo).permute(2, 0, 1) for photo in photos]).to(
            self.dtype
        )
        mean, std = (
            torch.tensor(values, dtype=self.dtype)[:, None, None]
            for values in (image.mean, image.std)
        )
        height, width = pixels.shape[-2:]
        padded = F.pad(
            (pixels - mean) / std, (0, -width % image.divisor, 0, -height % image.divisor)
        )
        return ImageBatch(padded, ((height, width),) * len(pixels))

    def encode_parts(self, *photos: np.ndarray) -> ImageFeatures:
        """Run the image network, once for every photo."""
        key = tuple(str(photo.shape).encode() + photo.tobytes() for photo in photos)
        if key not in self.photos:
            parts = (self.network.backbone, self.network.pixel_decoder)
            left: list[Any] = []
            hooks = [
                part.register_forward_hook(lambda *call: left.append(call[-1])) for part in parts
            ]
            memory = self.network.encode_image(self.batch(photos))
            for hook in hooks:
                hook.remove()
            self.photos[key] = ImageFeatures(*left, memory)
        return self.photos[key]

    def encode(self, *photos: np.ndarray) -> ImageEncoding:
        """Return photos as the decoder reads them."""
        return self.encode_parts(*photos).memory

    def ask(self, image: ImageEncoding, question: DecoderQuery, kinds: Iterable[RowKind]) -> Output:
        """Decode under the draws of the recordings."""
        output = self.network.decode(
            image, question, frozenset(kinds), RecordedDraws(), intermediate=True
        )
        features = image.pixels.mask_features

        def masked(answers: QueryOutputs | None) -> GroupOutput | None:
            return (
                None
                if answers is None
                else GroupOutput(answers, features.logits(answers.mask_embeddings))
            )

        def to_output(step: DecoderOutput) -> Output:
            regions = None if step.object is None else step.regions
            return Output(masked(regions), masked(step.phrase), masked(step.visual))

        return replace(
            to_output(output), earlier=tuple(to_output(step) for step in output.intermediate)
        )

    def read(self, ids: Tensor) -> TextFeatures:
        """Encode token ids; valid is what stands before the padding of end tokens, the first of them included."""
        ends = (ids == self.network.config.text.vocabulary_size - 1).cumsum(dim=1)
        return self.network.encode_text(ids, F.pad(ends, (1, -1)) == 0)


@lru_cache(maxsize=1)
def bench(model: str, dtype: torch.dtype) -> Bench:
    """Build a network; a process keeps the one that it used last (large ones take gigabytes, in float64)."""
    network = build_on_meta(ARCHITECTURES[model]())
    shapes = network.state_dict()
    official = {
        row.official: official_tensor(row.official, official_shape(row.ours, shapes))
        for row in key_mappings(shapes)
    }
    weights = from_official(official, shapes).tensors
    network.load_state_dict({key: tensor.to(dtype) for key, tensor in weights.items()}, assign=True)
    return Bench(network.requires_grad_(False))


def build_on_meta(described: config.SegmenterConfig) -> Segmenter:
    """Build a network without memory: only shapes."""
    with torch.device("meta"):
        return build(described)


def official_shape(ours: tuple[str, ...], shapes: dict[str, Tensor]) -> tuple[int, ...]:
    """Return the shape of an official tensor; several of ours are stacked in one of theirs."""
    first, *rest = shapes[ours[0]].shape or (0,)
    return (len(ours) * first, *rest) if shapes[ours[0]].dim() else ()
