"""The only place where a configuration becomes modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from seem.config import (
    BackboneConfig,
    ConvNetConfig,
    DaViTConfig,
    DeformableConfig,
    EfficientNetLiteConfig,
    FocalNetConfig,
    PixelDecoderConfig,
    SamViTConfig,
    SegmenterConfig,
)
from seem.models.backbones.convnet import ConvNet
from seem.models.backbones.davit import DaViT
from seem.models.backbones.efficientnet_lite import EfficientNetLite
from seem.models.backbones.focalnet import FocalNet
from seem.models.backbones.sam_vit import SamViT
from seem.models.decoder.decoder import MaskDecoder
from seem.models.decoder.policy import POLICIES, RowKind
from seem.models.initialization import NoInitialization
from seem.models.mask_refiner import MaskRefiner
from seem.models.pixel_decoders.deformable import DeformablePixelDecoder
from seem.models.pixel_decoders.fpn import FPNPixelDecoder
from seem.models.prompt_encoder import PromptEncoder
from seem.models.segmenter import Segmenter
from seem.models.text.encoder import TextEncoder
from seem.models.text_embedding_head import TextEmbeddingHead

Backbone: TypeAlias = FocalNet | DaViT | SamViT | ConvNet | EfficientNetLite
PixelDecoder: TypeAlias = FPNPixelDecoder | DeformablePixelDecoder


def build(config: SegmenterConfig) -> Segmenter:
    """Build a network with freshly initialised weights, in evaluation mode, on the CPU."""
    backbone = build_backbone(config.backbone)
    text_dim, mask_dim = config.decoder.dim, config.pixel_decoder.mask_dim
    policy = POLICIES[config.decoder.policy]
    has_image_row = policy.group(RowKind.IMAGE) is not None
    segmenter = Segmenter(
        config,
        backbone=backbone,
        pixel_decoder=build_pixel_decoder(config.pixel_decoder, backbone.dims, text_dim),
        text=TextEncoder(config.text, text_dim),
        prompt_encoder=PromptEncoder(text_dim, policy) if policy.visual else None,
        decoder=MaskDecoder(config.decoder, mask_dim, config.text.context),
        image_projection=backbone.dims[-1] if has_image_row else None,
        mask_refiner=None,
        text_embedding_head=None,
    )
    if config.mask_refiner is not None:
        segmenter.mask_refiner = MaskRefiner(config.mask_refiner, mask_dim, text_dim)
        segmenter.text_embedding_head = TextEmbeddingHead(backbone.dims, text_dim, config.text_map)
    arrange_weights(segmenter)
    return segmenter.eval()


def build_without_weights(config: SegmenterConfig) -> Segmenter:
    """Build a network that takes no memory, on the meta device: its tensors have shapes and no values."""
    with torch.device("meta"), NoInitialization():
        return build(config)


def assign_weights(network: Segmenter, tensors: Mapping[str, Tensor]) -> None:
    """Make tensors the weights of a network that was built without any; nothing is copied.

    A tensor of another precision, or that has to lie in memory in another order, is replaced by a copy.
    """
    wanted = network.state_dict()
    converted = {key: tensor.to(wanted[key].dtype) for key, tensor in tensors.items()}
    network.load_state_dict(converted, assign=True)
    arrange_weights(network)


def arrange_weights(network: Segmenter) -> None:
    """Bring the weights into the order in memory that suits the network."""
    if isinstance(network.config.backbone, EfficientNetLiteConfig):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on CPUs


def build_backbone(config: BackboneConfig) -> Backbone:
    """Build the backbone that a configuration describes."""
    match config:
        case FocalNetConfig():
            return FocalNet(config)
        case DaViTConfig():
            return DaViT(config)
        case SamViTConfig():
            return SamViT(config)
        case ConvNetConfig():
            return ConvNet(config)
        case EfficientNetLiteConfig():
            return EfficientNetLite(config)


def build_pixel_decoder(
    config: PixelDecoderConfig | DeformableConfig, in_dims: tuple[int, ...], level_dim: int
) -> PixelDecoder:
    """Build the pixel decoder that a configuration describes; `level_dim` is the width that the decoder reads."""
    match config:
        case PixelDecoderConfig():
            return FPNPixelDecoder(config, in_dims, level_dim)
        case DeformableConfig():
            return DeformablePixelDecoder(config, in_dims)
