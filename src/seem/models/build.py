"""The only place where a configuration becomes modules."""

from __future__ import annotations

from seem.config import ConvNetConfig, FocalNetConfig, SegmenterConfig
from seem.models.backbones.convnet import ConvNet
from seem.models.backbones.focalnet import FocalNet
from seem.models.decoder.decoder import MaskDecoder
from seem.models.decoder.policy import POLICIES
from seem.models.mask_refiner import MaskRefiner
from seem.models.pixel_decoders.fpn import FPNPixelDecoder
from seem.models.prompt_encoder import PromptEncoder
from seem.models.segmenter import Segmenter
from seem.models.text.encoder import TextEncoder


def build(config: SegmenterConfig) -> Segmenter:
    """Build a network with freshly initialised weights, in evaluation mode, on the CPU."""
    backbone = build_backbone(config.backbone)
    decoder, pixels = config.decoder, config.pixel_decoder
    return Segmenter(
        config,
        backbone=backbone,
        pixel_decoder=FPNPixelDecoder(pixels, backbone.dims, decoder.dim),
        text=TextEncoder(config.text, decoder.dim),
        prompt_encoder=PromptEncoder(decoder.dim, POLICIES[decoder.policy].max_points),
        decoder=MaskDecoder(decoder, pixels.mask_dim),
        mask_refiner=MaskRefiner(config.mask_refiner, pixels.mask_dim, decoder.dim) if config.mask_refiner else None,
    ).eval()


def build_backbone(config: FocalNetConfig | ConvNetConfig) -> FocalNet | ConvNet:
    """Build the backbone that a configuration describes."""
    match config:
        case FocalNetConfig():
            return FocalNet(config)
        case ConvNetConfig():
            return ConvNet(config)
