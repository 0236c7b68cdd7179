"""EfficientNet-Lite: inverted residual blocks with depthwise convolutions, a backbone with published ImageNet weights.

Source: Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (table 1: the
seven stages); the Lite variants leave squeeze-and-excitation out, use ReLU6 and do not scale stem and head. Input
pixels are normalised as (pixel - 127) / 128.

Known difference from the paper: batch normalisation is applied through the weights of its convolution wherever its
statistics are fixed, which gives the same numbers and saves a pass over every map.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import EfficientNetLiteConfig
from seem.models.structures import Pyramid

NORM_EPSILON = 1e-3  # of the published weights; PyTorch's default is 1e-5
STEM_DIM, HEAD_DIM = 32, 1280
NUM_CLASSES = 1000  # of ImageNet-1k
KERNELS = (3, 3, 5, 3, 5, 5, 3)  # of the depthwise convolutions in the seven stages
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage; the stem has stride 2
EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)  # hidden width of a block in widths of its input


class EfficientNetLite(nn.Module):
    """Photo to four feature maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.dims = config.dims
        self.stem = SameConvUnit(3, STEM_DIM, kernel=3, stride=2, has_norm=config.has_norm)
        in_dims = (STEM_DIM, *config.stage_dims[:-1])
        self.stages = nn.ModuleList(
            build_stage(stage, in_dim, config) for stage, in_dim in enumerate(in_dims)
        )

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """Return features with channels `config.dims`; no activation follows the last convolution of a stage."""
        x: Tensor = F.relu6(self.stem(pixels), inplace=True)
        maps = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in EfficientNetLiteConfig.READ_STAGES:
                maps.append(x)
        return Pyramid(tuple(maps))


def build_stage(number: int, in_dim: int, config: EfficientNetLiteConfig) -> nn.Sequential:
    """Build stage `number` (0-6): its first block changes width and stride, the others keep both."""
    dim, depth = config.stage_dims[number], config.depths[number]
    make_block = partial(
        InvertedResidual,
        out_dim=dim,
        kernel=KERNELS[number],
        expansion=EXPANSIONS[number],
        has_norm=config.has_norm,
    )
    blocks = [make_block(in_dim, stride=STRIDES[number])]
    while len(blocks) < depth:
        blocks.append(make_block(dim, stride=1))
    return nn.Sequential(*blocks)


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, narrow by another 1x1 convolution (MobileNetV2's block)."""

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int, stride: int, expansion: int, has_norm: bool
    ) -> None:
        super().__init__()
        hidden = in_dim * expansion
        self.expand = (
            None if expansion == 1 else SameConvUnit(in_dim, hidden, kernel=1, has_norm=has_norm)
        )
        self.depthwise = SameConvUnit(
            hidden, hidden, kernel, stride, groups=hidden, has_norm=has_norm
        )
        self.project = SameConvUnit(hidden, out_dim, kernel=1, has_norm=has_norm)
        self.has_shortcut = stride == 1 and in_dim == out_dim

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d ho wo"]:
        """Return a map of the block's stride, without an activation at its end."""
        y: Tensor = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        narrowed: Tensor = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + narrowed if self.has_shortcut else narrowed


class SameConvUnit(nn.Module):
    """A convolution with TensorFlow's SAME padding and its batch normalisation.

    With `has_norm` false the normalisation is part of the convolution's weights and bias (`fold_batch_norms`).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        has_norm: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel, stride, groups=groups, bias=not has_norm)
        self.norm = nn.BatchNorm2d(out_dim, eps=NORM_EPSILON) if has_norm else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d ho wo"]:
        """Convolve and normalise: by the batch in training, by the stored statistics otherwise."""
        if self.norm is not None and self.norm.training:
            y = same_convolution(x, self.conv.weight, None, self.conv.stride[0], self.conv.groups)
            return self.norm(y)  # type: ignore[no-any-return]
        weight, bias = folded(self.conv, self.norm)
        return same_convolution(x, weight, bias, self.conv.stride[0], self.conv.groups)


def same_convolution(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "d _c k k"],
    bias: Float[Tensor, " d"] | None,
    stride: int,
    groups: int,
) -> Float[Tensor, "b d ho wo"]:
    """Convolve as TensorFlow does with SAME padding: an odd row or column of padding goes to the bottom or right.

    At stride 2 an even side gets 0 before and 1 after for 3x3, 1 and 2 for 5x5. There the kernel gets a row and a
    column of zeros instead of the map a copy with padding: the same numbers in two thirds of the backbone's time.
    """
    kernel = weight.shape[-1]
    height, width = x.shape[-2:]
    if stride == 1:
        return F.conv2d(x, weight, bias, padding=kernel // 2, groups=groups)
    if stride == 2 and height % 2 == 0 and width % 2 == 0:
        return F.conv2d(
            x, F.pad(weight, (1, 0, 1, 0)), bias, stride, padding=kernel // 2, groups=groups
        )
    vertical, horizontal = (missing(side, kernel, stride) for side in (height, width))
    left, top = horizontal // 2, vertical // 2
    x = F.pad(x, (left, horizontal - left, top, vertical - top))
    return F.conv2d(x, weight, bias, stride, groups=groups)


def missing(side: int, kernel: int, stride: int) -> int:
    """Return how many rows of padding give ceil(side / stride) outputs."""
    outputs = -(-side // stride)
    return max((outputs - 1) * stride + kernel - side, 0)


def folded(
    conv: nn.Conv2d, norm: nn.BatchNorm2d | None
) -> tuple[Float[Tensor, "d _c k k"], Float[Tensor, " d"] | None]:
    """Return weight and bias of the one convolution that does what a convolution and its normalisation do.

    The normalisation uses its stored statistics. Gradients reach the parameters of both.
    """
    if norm is None:
        return conv.weight, conv.bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class ImageNetHead(nn.Module):
    """The classifier behind the coarsest map: logits of ImageNet's 1,000 classes. Part of no shipped model."""

    def __init__(self, in_dim: int, *, has_norm: bool = True) -> None:
        super().__init__()
        self.widen = SameConvUnit(in_dim, HEAD_DIM, kernel=1, has_norm=has_norm)
        self.classify = nn.Linear(HEAD_DIM, NUM_CLASSES)

    def forward(self, coarsest: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1000"]:
        """Classify whole photos from their map at stride 32."""
        return self.classify(F.relu6(self.widen(coarsest)).mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def cells(self, coarsest: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1000 h w"]:
        """Classify every cell of the map by itself; the mean over the cells is what `forward` returns."""
        features = F.relu6(self.widen(coarsest)).movedim(1, -1)
        return self.classify(features).movedim(-1, 1)  # type: ignore[no-any-return]


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Fold the normalisation of every `SameConvUnit` into its convolution, in place; returns the network.

    The answers in evaluation mode stay the same. The result has the keys of a configuration without `has_norm`.
    """
    for unit in network.modules():
        if isinstance(unit, SameConvUnit) and unit.norm is not None:
            with torch.no_grad():
                weight, bias = folded(unit.conv, unit.norm)
            unit.conv.weight = nn.Parameter(weight)
            unit.conv.bias = nn.Parameter(bias) if bias is not None else None
            unit.norm = None
    return network
