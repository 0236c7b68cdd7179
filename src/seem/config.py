"""What a network is made of, as frozen data: no YAML, no logic.

`models/build.py` turns these into modules. A published model is one function here (its constants are those of the
official configuration files); how prompts and queries may look at each other is the `policy` name, whose table stands
in `models/decoder/policy.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class FocalNetConfig:
    """FocalNet. The official code has two: Focal-T with depthwise convolutions around the modulation, Focal-L without.

    They also differ in where layer scale and normalisation stand, and in the padding of the first convolution.
    """

    variant: Literal["depthwise", "plain"] = "depthwise"
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    focal_levels: int = 3
    focal_window: int = 3
    mlp_ratio: int = 4

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of the four feature maps, strides 4 to 32."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.depths)))


@dataclass(frozen=True, slots=True)
class DaViTConfig:
    """DaViT. `heads` are those of window attention and the groups of channel attention."""

    dims: tuple[int, ...] = (128, 256, 512, 1024)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    depths: tuple[int, ...] = (1, 1, 9, 1)
    kernels: tuple[int, ...] = (7, 2, 2, 2)
    paddings: tuple[int, ...] = (3, 0, 0, 0)
    window: int = 7


@dataclass(frozen=True, slots=True)
class SamViTConfig:
    """SAM's vision transformer with a simple pyramid; `grid` is the side of the position table, in patches of 16."""

    dim: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    grid: int = 64
    dims: tuple[int, ...] = (128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class ConvNetConfig:
    """Residual network of dense 3x3 convolutions: what a CPU runs fastest per unit of accuracy."""

    dims: tuple[int, ...] = (48, 96, 192, 288)
    depths: tuple[int, ...] = (2, 2, 3, 1)
    stem_dim: int = 32


@dataclass(frozen=True, slots=True)
class EfficientNetLiteConfig:
    """EfficientNet-Lite: seven stages, of which four are read. Without `has_norm` batch normalisation is folded."""

    READ_STAGES: ClassVar[tuple[int, ...]] = (1, 2, 4, 6)
    """The last stages at strides 4, 8, 16 and 32."""

    stage_dims: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    depths: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    has_norm: bool = True

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of the four feature maps, strides 4 to 32."""
        return tuple(self.stage_dims[stage] for stage in self.READ_STAGES)


@dataclass(frozen=True, slots=True)
class PixelDecoderConfig:
    """FPN with a transformer on the coarsest map."""

    dim: int = 512
    mask_dim: int = 512
    encoder_layers: int = 6
    encoder_ffn: int = 2048
    num_heads: int = 8
    num_norm_groups: int = 32
    mask_kernel: int = 3
    """Side of the last convolution, which makes the mask features."""


@dataclass(frozen=True, slots=True)
class DeformableConfig:
    """Deformable attention over three maps; each token reads `num_points` points a head and level."""

    dim: int = 512
    mask_dim: int = 512
    encoder_layers: int = 6
    encoder_ffn: int = 1024
    num_heads: int = 8
    num_points: int = 4
    num_norm_groups: int = 32


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Causal transformer over byte-pair tokens; `tokenizer` names the vocabulary, nano's go by their size."""

    tokenizer: Literal["clip", "nano"] = "clip"
    vocabulary_size: int = 49408
    context: int = 77
    width: int = 512
    layers: int = 12
    num_heads: int = 8
    ffn: int = 2048
    templates: Literal["all", "bare"] = "all"
    """How class names are put into phrases: averaged over all published templates, or just the name."""
    word_shortcut: bool = False
    """The mean of a phrase's word embeddings is added to its end token, so that unlike words are unlike from the start.

    For a small tower that learns from nothing; the published ones have no such path.
    """


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Masked-attention decoder. `dim` is the width of queries, tokens and text vectors alike."""

    policy: str = "seem-v1"
    dim: int = 512
    layers: int = 9
    num_heads: int = 8
    ffn: int = 2048
    num_queries: int = 101
    num_memory: int = 32


@dataclass(frozen=True, slots=True)
class MaskRefinerConfig:
    """Dense prompt head: prompt maps and a coarse mask in, the final mask out. Absent in the published models."""

    dims: tuple[int, int, int] = (32, 64, 128)
    candidates: int = 0
    """Masks that answer marks which may mean a part, a thing or a group; 0 = the one mask answers them too."""


@dataclass(frozen=True, slots=True)
class TextMapConfig:
    """Head of the per-pixel text embedding map: `hidden` channels at stride 8, `fine` at stride 4.

    `widened` are the channels to which the backbone's coarsest map is widened before it is read; 0 = read as it is.
    """

    hidden: int = 128
    fine: int = 64
    widened: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How a photo becomes a network input.

    The short side becomes `short_side` unless the long side would pass `long_side`; both in pixels. Pixels are
    normalised with `mean` and `std` (RGB, 0-255) and padded with zeros at the right and bottom to a multiple of
    `divisor`. `largest` is the largest short side that may be asked for: no model was trained with more, and memory
    grows with its square.
    """

    short_side: int = 512
    long_side: int = 1024
    divisor: int = 32
    largest: int = 4096
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


BackboneConfig: TypeAlias = (
    FocalNetConfig | DaViTConfig | SamViTConfig | ConvNetConfig | EfficientNetLiteConfig
)


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """A whole network, and the thresholds that its answers are read with.

    `polygon_rule` is how polygons are drawn: filled, or the closed curve of the published models.
    """

    name: str
    backbone: BackboneConfig
    pixel_decoder: PixelDecoderConfig | DeformableConfig
    text: TextConfig
    decoder: DecoderConfig
    image: ImageConfig = ImageConfig()
    mask_refiner: MaskRefinerConfig | None = None
    text_map: TextMapConfig = TextMapConfig()
    """Of models with a dense prompt head."""
    polygon_rule: Literal["filled", "curve"] = "curve"
    panoptic_threshold: float = 0.8
    """Class score that a query needs to take part in a panoptic map."""
    instance_threshold: float = 0.05
    """Score that an instance needs to be returned."""
    everything_thresholds: tuple[float, float] = (0.7, 0.85)
    """Predicted IoU and stability that a mask needs to be part of everything."""
    text_threshold: float = 0.0
    """Score below which a phrase is not in the photo; 0 = it always is (published behaviour)."""
    presence_midpoint: float = 0.0
    """Of dense models: probability of the best cells that counts as a half (`inference/presence.py`)."""
    reference_peak_ratio: float | None = None
    """Mask threshold of a reference without other prompts, relative to the highest probability; None = a half.

    Relative, so that a network with low probabilities everywhere still returns its best guess.
    """
    likeness_midpoint: float = 0.0
    """Of dense models: cosine of a mask and a reference that counts as a half (`DenseRecognizer.likeness`)."""
    full_image_side: int | None = None
    """Short side (pixels) at which a whole photo is put into words, captions and retrieval; None = as for the rest."""


FOCAL_T = FocalNetConfig()
FOCAL_L = FocalNetConfig(variant="plain", embed_dim=192, depths=(2, 2, 18, 2), focal_levels=4)
DAVIT_D3 = DaViTConfig()
DAVIT_D5 = DaViTConfig(
    dims=(256, 512, 1024, 2048), heads=(8, 16, 32, 64), kernels=(7, 3, 3, 3), paddings=(3, 1, 1, 1)
)
SAM_B = SamViTConfig()
SAM_L = SamViTConfig(dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
EFFICIENTNET_LITE0 = EfficientNetLiteConfig()
EFFICIENTNET_LITE1 = EfficientNetLiteConfig(depths=(1, 3, 3, 4, 4, 5, 1))
EFFICIENTNET_LITE2 = EfficientNetLiteConfig(
    (16, 24, 48, 88, 120, 208, 352), depths=(1, 3, 3, 4, 4, 5, 1)
)
SAM_IMAGE = ImageConfig(
    short_side=1000, long_side=1024, divisor=1024, largest=1000
)  # its position table ends there


def seem_focal_t_v1() -> SegmenterConfig:
    """Describe SEEM v1 with FocalNet-T: 164.6 M parameters, 63.4 M of them text."""
    return published("seem-focal-t-v1", FOCAL_T, "seem-v1")


def seem_focal_l_v1() -> SegmenterConfig:
    """Describe SEEM v1 with FocalNet-L."""
    return published("seem-focal-l-v1", FOCAL_L, "seem-v1")


def seem_davit_d3_v1() -> SegmenterConfig:
    """Describe SEEM v1 with DaViT-d3 (the paper's B)."""
    return published("seem-davit-d3-v1", DAVIT_D3, "seem-v1")


def seem_davit_d5_v1() -> SegmenterConfig:
    """Describe SEEM v1 with DaViT-d5 (the paper's L)."""
    return published("seem-davit-d5-v1", DAVIT_D5, "seem-v1")


def seem_samvit_b_v1() -> SegmenterConfig:
    """Describe SEEM v1 with SAM's ViT-B and the deformable pixel decoder."""
    return published(
        "seem-samvit-b-v1", SAM_B, "seem-v1", pixel_decoder=DeformableConfig(), image=SAM_IMAGE
    )


def seem_samvit_l_v1() -> SegmenterConfig:
    """Describe SEEM v1 with SAM's ViT-L and the deformable pixel decoder."""
    return published(
        "seem-samvit-l-v1", SAM_L, "seem-v1", pixel_decoder=DeformableConfig(), image=SAM_IMAGE
    )


def seem_focal_t_v0() -> SegmenterConfig:
    """Describe SEEM v0 with FocalNet-T."""
    return published("seem-focal-t-v0", FOCAL_T, "seem-v0")


def seem_focal_l_v0() -> SegmenterConfig:
    """Describe SEEM v0 with FocalNet-L."""
    return published("seem-focal-l-v0", FOCAL_L, "seem-v0")


def seem_focal_t_demo() -> SegmenterConfig:
    """Describe the SEEM demo with FocalNet-T: the v0 weights under the demo's policy."""
    return published("seem-focal-t-demo", FOCAL_T, "seem-demo", panoptic_threshold=0.4)


def seem_focal_l_demo() -> SegmenterConfig:
    """Describe the SEEM demo with FocalNet-L: the v0 weights under the demo's policy."""
    return published("seem-focal-l-demo", FOCAL_L, "seem-demo", panoptic_threshold=0.4)


def xdecoder_focal_t() -> SegmenterConfig:
    """Describe X-Decoder with FocalNet-T."""
    return published("xdecoder-focal-t", FOCAL_T, "xdecoder", num_memory=0)


def xdecoder_focal_l() -> SegmenterConfig:
    """Describe X-Decoder with FocalNet-L and 201 queries."""
    return published("xdecoder-focal-l", FOCAL_L, "xdecoder", num_queries=201, num_memory=0)


def xdecoder_focal_l_q101() -> SegmenterConfig:
    """Describe X-Decoder with FocalNet-L and 101 queries, from which SEEM with FocalNet-L started."""
    return published("xdecoder-focal-l-q101", FOCAL_L, "xdecoder", num_memory=0)


def xdecoder_davit_d3() -> SegmenterConfig:
    """Describe X-Decoder with DaViT-d3 and 201 queries."""
    return published("xdecoder-davit-d3", DAVIT_D3, "xdecoder", num_queries=201, num_memory=0)


def xdecoder_davit_d5() -> SegmenterConfig:
    """Describe X-Decoder with DaViT-d5 and 201 queries."""
    return published("xdecoder-davit-d5", DAVIT_D5, "xdecoder", num_queries=201, num_memory=0)


def published(
    name: str,
    backbone: BackboneConfig,
    policy: str,
    *,
    pixel_decoder: PixelDecoderConfig | DeformableConfig = PixelDecoderConfig(),
    image: ImageConfig = ImageConfig(),
    num_queries: int = 101,
    num_memory: int = 32,
    panoptic_threshold: float = 0.8,
) -> SegmenterConfig:
    """Describe a published model: text tower, decoder and widths are the same in all of them."""
    decoder = DecoderConfig(policy=policy, num_queries=num_queries, num_memory=num_memory)
    return SegmenterConfig(
        name,
        backbone,
        pixel_decoder,
        TextConfig(),
        decoder,
        image,
        panoptic_threshold=panoptic_threshold,
        full_image_side=224 if policy == "xdecoder" else None,  # official inference, as in training
    )


def nano() -> SegmenterConfig:
    """Describe the embedded model: the same decoder under its own policy, small enough for a laptop CPU."""
    return SegmenterConfig(
        name="nano",
        backbone=ConvNetConfig(),
        pixel_decoder=PixelDecoderConfig(
            dim=64, mask_dim=64, encoder_layers=2, encoder_ffn=256, num_heads=4, num_norm_groups=16
        ),
        text=TextConfig(
            tokenizer="nano",
            vocabulary_size=4096,
            context=32,
            width=192,
            layers=3,
            num_heads=4,
            ffn=512,
            templates="bare",
            word_shortcut=True,
        ),
        decoder=DecoderConfig(
            policy="nano", dim=192, layers=3, num_heads=4, ffn=768, num_queries=48, num_memory=0
        ),
        image=ImageConfig(short_side=320, long_side=384),
        mask_refiner=MaskRefinerConfig(),
        polygon_rule="filled",
        panoptic_threshold=0.65,
        instance_threshold=0.65,
        everything_thresholds=(0.4, 0.5),
        text_threshold=0.5,
        presence_midpoint=0.05,
        reference_peak_ratio=0.45,
        likeness_midpoint=0.48,
    )


def nano2() -> SegmenterConfig:
    """Describe the next embedded model: nano on a backbone with published ImageNet weights, several masks a click."""
    before = nano()
    return replace(
        before,
        name="nano2",
        backbone=replace(EFFICIENTNET_LITE2, has_norm=False),
        pixel_decoder=PixelDecoderConfig(
            dim=64,
            mask_dim=64,
            encoder_layers=2,
            encoder_ffn=256,
            num_heads=4,
            num_norm_groups=16,
            mask_kernel=1,
        ),
        text=replace(before.text, vocabulary_size=10_240, layers=2),
        image=replace(before.image, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)),
        mask_refiner=MaskRefinerConfig(candidates=3),
        text_map=TextMapConfig(fine=32, widened=1280),
    )
