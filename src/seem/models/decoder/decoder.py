"""Masked-attention decoder: queries read the picture and the prompts, layer by layer, under a policy.

One class for every version: `policy.py` says who sees whom. Each layer is image attention (only where the query's own
mask is foreground), group attention, feed-forward; the heads look at the queries before the first layer and after each.
Sources: X-Decoder, section 3; SEEM, section 3.1 and figure 3.

Differences from the official code: rows that cannot influence what was asked are not computed; attention masks come
from mask features shrunk once per level (shrinking is linear), never from full-size masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.config import DecoderConfig
from seem.models.decoder.draws import Draws
from seem.models.decoder.layers import DecoderLayer, Heads
from seem.models.decoder.policy import POLICIES, Group, Kind, Policy
from seem.models.ops.attention import KeysValues
from seem.models.ops.masks import dot, resize, visible_pixels
from seem.models.ops.position import sine_position
from seem.models.structures import Answers, DecoderOutput, PixelFeatures, Question


@dataclass(frozen=True, slots=True)
class ImageMemory:
    """A photo as the decoder reads it, computed once: everything that no question changes.

    `pixels.levels` carry the level embedding. `reads[i]` are the keys and values of layer i. `small_masks[l]` are the
    mask features at the size of level l.
    """

    pixels: PixelFeatures
    reads: tuple[KeysValues, ...]
    small_masks: tuple[Float[Tensor, "b c _hl _wl"], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of one group in one pass. `owner` is the object of each row (0 where rows are shared, -1 on padding)."""

    group: Group
    features: Float[Tensor, "b r d"]
    positions: Float[Tensor, "b r d"]
    owner: Int[Tensor, "b r"]


class MaskDecoder(nn.Module):
    """The decoder of every SEEM and X-Decoder version, and of nano."""

    def __init__(self, config: DecoderConfig, mask_dim: int) -> None:
        super().__init__()
        dim = config.dim
        self.policy = POLICIES[config.policy]
        self.query_features = nn.Parameter(torch.randn(config.num_queries, dim))
        self.query_positions = nn.Parameter(torch.randn(config.num_queries, dim))
        self.memory_features = nn.Parameter(torch.randn(config.num_memory, dim))
        self.memory_positions = nn.Parameter(torch.randn(config.num_memory, dim))
        self.level_embedding = nn.Parameter(torch.randn(3, dim))
        self.layers = nn.ModuleList(DecoderLayer(dim, config.num_heads, config.ffn) for _ in range(config.layers))
        self.heads = Heads(dim, mask_dim)

    def read(self, pixels: PixelFeatures) -> ImageMemory:
        """Prepare a photo for any number of questions."""
        levels = tuple(
            level + embedding[:, None, None]
            for level, embedding in zip(pixels.levels, self.level_embedding, strict=True)
        )
        reads = []
        for i, layer in enumerate(self.layers):
            level = levels[i % len(levels)]
            position = sine_position(map_hw(level), level.shape[1], level.device, level.dtype)
            reads.append(layer.look(level + position, level))  # type: ignore[operator]
        small = tuple(resize(pixels.mask_features, map_hw(level)) for level in levels)
        return ImageMemory(PixelFeatures(pixels.mask_features, levels), tuple(reads), small)

    def forward(
        self,
        image: ImageMemory,
        question: Question,
        asked: frozenset[Kind],
        draws: Draws,
        intermediate: bool = False,
    ) -> DecoderOutput:
        """Answer one question about every photo of the batch.

        `asked` names the query groups whose answers are wanted. With `intermediate` the output also holds what the
        heads said before every layer.
        """
        policy = self.policy.composed() if question.composed else self.policy
        blocks = self.gather(image, question, policy, asked, draws)
        x = torch.cat([block.features for block in blocks], dim=1)
        positions = torch.cat([block.positions for block in blocks], dim=1)
        visible = visibility(blocks)
        num_readers = sum(block.features.shape[1] for block in blocks if block.group.reads_image)
        outputs = [self.answer(x, blocks)]
        for i, layer in enumerate(self.layers):
            level = i % len(image.small_masks)
            seen = seen_pixels(outputs[-1], blocks, question, image.small_masks[level])
            readers = layer.read_image(x[:, :num_readers], positions[:, :num_readers], image.reads[i], seen)  # type: ignore[operator]
            x = torch.cat((readers, x[:, num_readers:]), dim=1)
            x, positions = with_level_tokens(x, positions, blocks, question, level)
            x = layer.think(layer.discuss(x, positions, visible))  # type: ignore[operator]
            outputs.append(self.answer(x, blocks))
        *earlier, last = outputs
        return replace(last, intermediate=tuple(earlier)) if intermediate else last

    def gather(
        self,
        image: ImageMemory,
        question: Question,
        policy: Policy,
        asked: frozenset[Kind],
        draws: Draws,
    ) -> list[Block]:
        """Lay out the rows of every group that this question needs."""
        features = image.pixels.mask_features
        batch, device = len(features), features.device
        num_queries, num_slots, count = len(self.query_features), len(self.memory_features), question.num_objects
        present = {Kind.OBJECT, Kind.PHRASE, Kind.VISUAL} & {group.kind for group in policy.groups}
        present -= {Kind.VISUAL} if count == 0 else set()
        present |= {Kind.PHRASE_TOKENS} if question.phrases is not None else set()
        present |= {Kind.VISUAL_TOKENS} if question.visual is not None else set()
        present |= {Kind.MEMORY} if question.previous is not None and num_slots else set()

        def learned(group: Group, table: Tensor, places: Tensor, index: Tensor, owner: Tensor) -> Block:
            index, owner = index.to(device), owner.to(device)
            rows = [t[index].expand(batch, -1, -1) for t in (table, places)]
            return Block(group, rows[0], rows[1], owner.expand(batch, -1))

        blocks = []
        for group in policy.needed(asked, frozenset(present)):
            match group.kind:
                case Kind.OBJECT | Kind.PHRASE:
                    index = torch.arange(num_queries)
                    owner = torch.zeros_like(index)
                    blocks.append(learned(group, self.query_features, self.query_positions, index, owner))
                case Kind.VISUAL:
                    index = draws.queries(count, policy.visual_queries, num_queries)
                    owner = torch.arange(count).repeat_interleave(policy.visual_queries)
                    blocks.append(learned(group, self.query_features, self.query_positions, index, owner))
                case Kind.MEMORY:
                    index, owner = draws.memory(count, num_slots)
                    blocks.append(learned(group, self.memory_features, self.memory_positions, index, owner))
                case Kind.PHRASE_TOKENS if question.phrases is not None:
                    tokens = question.phrases.tokens
                    blocks.append(Block(group, tokens, tokens, question.phrases.owner))
                case Kind.VISUAL_TOKENS if question.visual is not None:
                    tokens = question.visual.levels[0]
                    blocks.append(Block(group, tokens, tokens, question.visual.owner))
        return blocks

    def answer(self, x: Float[Tensor, "b s d"], blocks: list[Block]) -> DecoderOutput:
        """Evaluate the heads for every group that answers."""
        answers: dict[Kind, Answers] = {}
        for block, rows in zip(blocks, torch.split(x, [b.features.shape[1] for b in blocks], dim=1), strict=True):
            if block.group.answers:
                answers[block.group.kind] = self.heads(rows)
        return DecoderOutput(answers.get(Kind.OBJECT), answers.get(Kind.PHRASE), answers.get(Kind.VISUAL))


def visibility(blocks: list[Block]) -> Bool[Tensor, "b s s"] | None:
    """Return who may look at whom: rows look at columns. None where everybody sees everybody.

    Two rows that belong to objects see each other only if it is the same one. Padding is seen by nobody, except by
    padding of its own kind.
    """
    if len(blocks) == 1 and not blocks[0].group.owned:
        return None
    table = []
    for row in blocks:
        line = []
        for column in blocks:
            if column.group.kind not in row.group.sees:
                allowed = torch.zeros_like(row.owner[:, :, None] == column.owner[:, None])
            elif row.group.owned and column.group.owned:
                allowed = row.owner[:, :, None] == column.owner[:, None]
            else:
                allowed = (column.owner >= 0)[:, None].expand(-1, row.owner.shape[1], -1)
            line.append(allowed)
        table.append(torch.cat(line, dim=2))
    return torch.cat(table, dim=1)


def seen_pixels(
    output: DecoderOutput, blocks: list[Block], question: Question, mask_features: Float[Tensor, "b c h w"]
) -> Bool[Tensor, "b r hw"]:
    """Return the pixels of one level that each picture-reading row may look at.

    Queries look at the foreground of their own mask, memory slots at that of their object's previous mask.
    """
    groups = {Kind.OBJECT: output.object, Kind.PHRASE: output.phrase, Kind.VISUAL: output.visual}
    seen = []
    for block in blocks:
        answers = groups.get(block.group.kind)
        if answers is not None:
            seen.append(visible_pixels(dot(answers.mask_embeddings, mask_features)))
        elif block.group.kind is Kind.MEMORY and question.previous is not None:
            previous = visible_pixels(resize(question.previous, map_hw(mask_features)))
            index = block.owner[:, :, None].expand(-1, -1, previous.shape[-1])
            seen.append(previous.gather(1, index))
    return torch.cat(seen, dim=1)


def with_level_tokens(
    x: Float[Tensor, "b s d"],
    positions: Float[Tensor, "b s d"],
    blocks: list[Block],
    question: Question,
    level: int,
) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b s d"]]:
    """Replace visual tokens, features and positions alike, by those of the level just read (they stand last)."""
    if question.visual is None or blocks[-1].group.kind is not Kind.VISUAL_TOKENS:
        return x, positions
    tokens = question.visual.levels[level]
    others = x.shape[1] - tokens.shape[1]
    return torch.cat((x[:, :others], tokens), dim=1), torch.cat((positions[:, :others], tokens), dim=1)


def map_hw(maps: Tensor) -> tuple[int, int]:
    """Return height and width of a batch of maps."""
    return int(maps.shape[-2]), int(maps.shape[-1])
