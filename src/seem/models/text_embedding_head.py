"""What each cell of an image shows, as a vector in the text space: how dense models (nano) know words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import TextMapConfig
from seem.models.ops.masks import resize

TEXT_MAP = TextMapConfig()
TEXT_MAP_STRIDE = 4  # network pixels a cell of the text embedding map


class TextEmbeddingHead(nn.Module):
    """Backbone features to a text embedding map: one vector of length 1 for each cell of stride 4.

    The cosine of a cell with the vector of a phrase, or of a region in another image, is an input map of the mask
    refiner, which so reads words as it reads clicks. The head reads the backbone: the pixel decoder's maps have too few
    channels to keep many classes apart. Stride 8 decides what a cell shows; a correction at stride 4, which starts at
    zero, decides where it ends and what is thinner than a cell.
    """

    def __init__(
        self, dims: tuple[int, ...], text_dim: int, config: TextMapConfig = TEXT_MAP
    ) -> None:
        super().__init__()
        finest, *coarser = dims
        hidden, fine = config.hidden, config.fine
        self.widen = nn.Conv2d(coarser[-1], config.widened, 1) if config.widened else None
        if config.widened:
            coarser[-1] = config.widened
        self.reads = nn.ModuleList(nn.Conv2d(dim, hidden, 1) for dim in coarser)
        self.whole = nn.Linear(coarser[-1], hidden)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.say = nn.Conv2d(hidden, text_dim, 1)
        self.read_fine = nn.Conv2d(finest, fine, 1)
        self.to_fine = nn.Conv2d(hidden, fine, 1)
        self.mix_fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.correct = nn.Conv2d(fine, text_dim, 1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]

    def forward(self, maps: tuple[Float[Tensor, "b _c _h _w"], ...]) -> Float[Tensor, "b d h4 w4"]:
        """Embed each cell, given the backbone's maps at strides 4, 8, 16 and 32, and the mean of the last."""
        finest, *coarser = maps
        stride4_hw = (finest.shape[-2], finest.shape[-1])
        stride8_hw = (coarser[0].shape[-2], coarser[0].shape[-1])
        if self.widen is not None:
            coarser[-1] = F.relu6(self.widen(coarser[-1]))
        x = self.reads[0](coarser[0])
        for read, level in zip(self.reads[1:], coarser[1:], strict=True):
            x = x + resize(read(level), stride8_hw)
        image_mean = coarser[-1].mean(dim=(2, 3))
        x = F.relu(x + self.whole(image_mean)[:, :, None, None])
        x = x + F.relu(self.mix(x))
        fine = F.relu(self.read_fine(finest) + resize(self.to_fine(x), stride4_hw))
        fine = F.relu(self.mix_fine(fine))
        vectors = resize(self.say(x), stride4_hw) + self.correct(fine)
        return F.normalize(vectors, dim=1)


def text_similarity_maps(
    text_map: Float[Tensor, "b d h w"], vectors: Float[Tensor, "b n d"]
) -> Float[Tensor, "b n h w"]:
    """Return the cosine of every cell with every object's text vector; 0 for a vector of zeros."""
    directions = F.normalize(vectors, dim=-1).to(text_map.dtype)
    return torch.einsum("bdhw,bnd->bnhw", text_map, directions)


def pooled_text_vectors(
    text_map: Float[Tensor, "b d h w"], regions: Float[Tensor, "b n h2 w2"]
) -> Float[Tensor, "b n d"]:
    """Average the text embedding map over regions (shares 0-1, at any size); zeros for an empty region."""
    hw = (text_map.shape[-2], text_map.shape[-1])
    weights = F.adaptive_avg_pool2d(regions.to(text_map.dtype), hw).flatten(2)
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-6)
    return weights @ text_map.flatten(2).mT
