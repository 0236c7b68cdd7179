"""Networks of a few thousand random weights in the shape of the real ones: they answer in milliseconds.

Both read phrases with nano's vocabulary, which is in the package.
"""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from seem import config
from seem.checkpoints.network import LoadedNetwork
from seem.model import Model
from seem.models.build import build
from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import BytePairTokenizer

PIXELS = config.PixelDecoderConfig(
    dim=16, mask_dim=16, encoder_layers=1, encoder_ffn=32, num_heads=2, num_norm_groups=4
)
TEXT = replace(config.nano().text, width=16, layers=1, num_heads=2, ffn=32)
IMAGE = config.ImageConfig(short_side=64, long_side=128)


def tiny_nano() -> config.SegmenterConfig:
    """Shrink the embedded model."""
    nano = config.nano()
    return replace(
        nano,
        backbone=config.ConvNetConfig(dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), stem_dim=8),
        pixel_decoder=replace(PIXELS, dim=8),
        text=TEXT,
        decoder=replace(nano.decoder, dim=16, num_heads=2, ffn=32, num_queries=12),
        image=IMAGE,
        mask_refiner=config.MaskRefinerConfig(dims=(8, 8, 16)),
    )


def tiny_nano2() -> config.SegmenterConfig:
    """Shrink the next embedded model: another backbone, and several masks a click."""
    return replace(
        tiny_nano(),
        name="nano2",
        backbone=config.EfficientNetLiteConfig(
            (8, 8, 8, 8, 16, 16, 16), depths=(1, 1, 1, 1, 1, 1, 1), has_norm=False
        ),
        mask_refiner=config.MaskRefinerConfig(dims=(8, 8, 16), candidates=3),
        text_map=config.TextMapConfig(fine=8, widened=32),
    )


def tiny_v1() -> config.SegmenterConfig:
    """Shrink SEEM v1."""
    v1 = config.seem_focal_t_v1()
    return replace(
        v1,
        backbone=config.FocalNetConfig(embed_dim=8, depths=(1, 1, 1, 1)),
        pixel_decoder=PIXELS,
        text=replace(TEXT, word_shortcut=False),
        decoder=replace(
            v1.decoder, dim=16, layers=3, num_heads=2, ffn=32, num_queries=12, num_memory=4
        ),
        image=IMAGE,
    )


CONFIGS = {"nano": tiny_nano, "seem-focal-t-v1": tiny_v1}
UNLISTED_CONFIGS = {"nano2": tiny_nano2}
"""Those of networks that `seem.zoo` does not list."""


def tiny_network(name: str, seed: int = 0) -> Segmenter:
    """Build a network whose random weights are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build((CONFIGS | UNLISTED_CONFIGS)[name]())


DAVIT = config.DaViTConfig(dims=(8, 8, 16, 16), heads=(2, 2, 2, 2), depths=(1, 1, 1, 1))
SAM_VIT = config.SamViTConfig(
    dim=16, depth=2, heads=2, global_blocks=(1,), window=3, grid=8, dims=(8, 8, 16, 16)
)  # of images of 128 x 128
DEFORMABLE = config.DeformableConfig(
    dim=16, mask_dim=16, encoder_layers=1, encoder_ffn=32, num_heads=2, num_points=2, num_norm_groups=4
)  # fmt: skip


def tiny_relative_network(policy: str, **parts: object) -> Segmenter:
    """Build a network of any policy in the shape of the small SEEM v1; `parts` replace those of its configuration."""
    v1 = tiny_v1()
    decoder = replace(v1.decoder, policy=policy, num_memory=0 if policy == "xdecoder" else 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(replace(v1, decoder=decoder, **parts))


def tiny_relative(policy: str) -> Model:
    """Make a model of any policy in the shape of the small SEEM v1, and call it "tiny <policy>"."""
    network = tiny_relative_network(policy)
    loaded = LoadedNetwork(f"tiny {policy}", network, "cd" * 32, BytePairTokenizer.nano)
    return Model(loaded, torch.device("cpu"), "float32")


def tiny_model(name: str) -> Model:
    """Make a model as `seem.load` does, in float32 on the CPU."""
    loaded = LoadedNetwork(name, tiny_network(name), "ab" * 32, BytePairTokenizer.nano)
    return Model(loaded, torch.device("cpu"), "float32")


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw smooth random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
