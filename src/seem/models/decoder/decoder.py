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
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.config import DecoderConfig
from seem.models.decoder.draws import Draws, FairDraws
from seem.models.decoder.layers import CaptionHead, DecoderLayer, Heads
from seem.models.decoder.policy import POLICIES, Group, Policy, RowKind
from seem.models.ops.attention import KeysValues
from seem.models.ops.masks import dot, resize, shrink_or_grow, visible_pixels
from seem.models.ops.position import sine_position
from seem.models.structures import CaptionPrefix, DecoderOutput, DecoderQuery, PixelFeatures, QueryOutputs


@dataclass(frozen=True, slots=True)
class ImageEncoding:
    """An image as the decoder reads it, computed once: everything that no prompt changes.

    `pixels.levels` carry the level embedding. `reads[i]` are the keys and values of layer i. `small_masks[l]` are the
    mask features at the size of level l. `summary` is the vector of the full image in the text space, where a model has
    a projection for it (X-Decoder); `text_map` holds one such vector for each cell (nano).
    """

    pixels: PixelFeatures
    reads: tuple[KeysValues, ...]
    small_masks: tuple[Float[Tensor, "b c _hl _wl"], ...]
    summary: Float[Tensor, "b d"] | None = None
    text_map: Float[Tensor, "b d h4 w4"] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of one group in one pass. `owner` is the object of each row (0 where rows are shared, -1 on padding)."""

    group: Group
    features: Float[Tensor, "b r d"]
    positions: Float[Tensor, "b r d"]
    owner: Int[Tensor, "b r"]


class MaskDecoder(nn.Module):
    """The decoder of every SEEM and X-Decoder version, and of nano."""

    def __init__(self, config: DecoderConfig, mask_dim: int, context: int) -> None:
        super().__init__()
        dim = config.dim
        self.policy = POLICIES[config.policy]
        self.query_features = nn.Parameter(torch.randn(config.num_queries, dim))
        self.query_positions = nn.Parameter(torch.randn(config.num_queries, dim))
        if config.num_memory:
            self.memory_features = nn.Parameter(torch.randn(config.num_memory, dim))
            self.memory_positions = nn.Parameter(torch.randn(config.num_memory, dim))
        self.level_embedding = nn.Parameter(torch.randn(3, dim))
        self.layers = nn.ModuleList(DecoderLayer(dim, config.num_heads, config.ffn) for _ in range(config.layers))
        self.heads = Heads(dim, mask_dim)
        self.captions = CaptionHead(dim, context) if self.policy.group(RowKind.CAPTION) else None

    def read(self, pixels: PixelFeatures) -> ImageEncoding:
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
        small = tuple(shrink_or_grow(pixels.mask_features, map_hw(level), self.policy.resampling) for level in levels)
        return ImageEncoding(PixelFeatures(pixels.mask_features, levels), tuple(reads), small)

    def forward(
        self,
        image: ImageEncoding,
        question: DecoderQuery,
        asked: frozenset[RowKind],
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
        image: ImageEncoding,
        question: DecoderQuery,
        policy: Policy,
        asked: frozenset[RowKind],
        draws: Draws,
    ) -> list[Block]:
        """Lay out the rows of every group that this question needs."""
        batch = len(image.pixels.mask_features)
        groups = policy.needed(asked, present_kinds(policy, question))
        return [self.lay_out(group, question, policy, draws, batch) for group in groups]

    def lay_out(self, group: Group, question: DecoderQuery, policy: Policy, draws: Draws, batch: int) -> Block:
        """Make the rows of one group: learned queries and slots by index, tokens as they come."""
        count = question.num_objects
        num_objects = len(self.query_features) - (1 if policy.group(RowKind.IMAGE) else 0)
        match group.kind:
            case RowKind.OBJECT | RowKind.PHRASE:
                return self.queries(group, torch.arange(num_objects), torch.zeros(num_objects, dtype=torch.long), batch)
            case RowKind.IMAGE:
                return self.queries(group, torch.tensor([num_objects]), torch.tensor([0]), batch)
            case RowKind.VISUAL:
                each = policy.visual_queries or num_objects
                everything = torch.arange(num_objects).repeat(count)
                index = draws.queries(count, each, num_objects) if policy.visual_queries else everything
                return self.queries(group, index, torch.arange(count).repeat_interleave(each), batch)
            case RowKind.MEMORY:
                shared = FairDraws() if policy.objects_apart else draws
                index, owner = shared.memory(count, len(self.memory_features))
                return learned(group, (self.memory_features, self.memory_positions), index, owner, batch)
            case RowKind.CAPTION:
                assert question.caption is not None
                assert self.captions is not None
                tokens = question.caption.tokens
                return Block(group, tokens, tokens + self.captions.positions[: tokens.shape[1]], unowned(tokens))
            case RowKind.PHRASE_TOKENS | RowKind.AUDIO_TOKENS:
                words = question.phrases if group.kind is RowKind.PHRASE_TOKENS else question.audio
                assert words is not None
                return Block(group, words.tokens, words.tokens, words.owner)
            case RowKind.VISUAL_TOKENS | RowKind.REFERENCE_TOKENS:
                marks = question.visual if group.kind is RowKind.VISUAL_TOKENS else question.reference
                assert marks is not None
                return Block(group, marks.levels[0], marks.levels[0], marks.owner)

    def queries(self, group: Group, index: Int[Tensor, " r"], owner: Int[Tensor, " r"], batch: int) -> Block:
        """Copy object queries into rows."""
        return learned(group, (self.query_features, self.query_positions), index, owner, batch)

    def answer(self, x: Float[Tensor, "b s d"], blocks: list[Block]) -> DecoderOutput:
        """Evaluate the heads for every group that answers."""
        sizes = [block.features.shape[1] for block in blocks]
        normed = {
            block.group.kind: self.heads.norm(rows)
            for block, rows in zip(blocks, torch.split(x, sizes, dim=1), strict=True)
            if block.group.answers
        }
        answers: dict[RowKind, QueryOutputs] = {}
        for block in blocks:
            kind, pools = block.group.kind, block.group.pools
            if kind in normed and kind is not RowKind.CAPTION:
                rows = normed[kind] if pools is None else pooled(normed[kind], normed[pools])
                answers[kind] = self.heads(rows)
        words = normed.get(RowKind.CAPTION)
        return DecoderOutput(
            object=answers.get(RowKind.OBJECT),
            image=answers.get(RowKind.IMAGE),
            phrase=answers.get(RowKind.PHRASE),
            visual=answers.get(RowKind.VISUAL),
            caption=None if words is None or self.captions is None else words @ self.captions.projection,
        )


def present_kinds(policy: Policy, question: DecoderQuery) -> frozenset[RowKind]:
    """Return the kinds of rows that a question can have under a policy."""
    given = {
        RowKind.VISUAL: question.num_objects > 0,
        RowKind.MEMORY: question.previous is not None,
        RowKind.CAPTION: question.caption is not None,
        RowKind.PHRASE_TOKENS: question.phrases is not None,
        RowKind.AUDIO_TOKENS: question.audio is not None,
        RowKind.REFERENCE_TOKENS: question.reference is not None,
        RowKind.VISUAL_TOKENS: question.visual is not None,
    }
    return frozenset(group.kind for group in policy.groups if given.get(group.kind, True))


def learned(
    group: Group,
    tables: tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]],
    index: Int[Tensor, " r"],
    owner: Int[Tensor, " r"],
    batch: int,
) -> Block:
    """Make rows from learned features and positions, the same for every photo of the batch."""
    features, positions = (table[index.to(table.device)].expand(batch, -1, -1) for table in tables)
    return Block(group, features, positions, owner.to(features.device).expand(batch, -1))


def unowned(tokens: Float[Tensor, "b r d"]) -> Int[Tensor, "b r"]:
    """Return the owner column of rows that belong to nobody."""
    return torch.zeros(tokens.shape[:2], dtype=torch.long, device=tokens.device)


def pooled(asking: Float[Tensor, "b r d"], others: Float[Tensor, "b q d"]) -> Float[Tensor, "b r d"]:
    """Return the mean of other rows, weighted by a softmax of their cosine with the asking row.

    The image query of X-Decoder answers so; its own row flows on unchanged (official behaviour).
    """
    likeness = F.normalize(asking, dim=-1) @ F.normalize(others, dim=-1).mT
    return likeness.softmax(dim=-1) @ others


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
            if row is column and row.group.causal:
                allowed = torch.ones_like(row.owner[:, :, None] == row.owner[:, None]).tril()
            elif column.group.kind not in row.group.sees:
                allowed = torch.zeros_like(row.owner[:, :, None] == column.owner[:, None])
            elif row.group.owned and column.group.owned:
                allowed = row.owner[:, :, None] == column.owner[:, None]
            else:
                allowed = (column.owner >= 0)[:, None].expand(-1, row.owner.shape[1], -1)
            line.append(allowed)
        table.append(torch.cat(line, dim=2))
    return torch.cat(table, dim=1)


def seen_pixels(
    output: DecoderOutput, blocks: list[Block], question: DecoderQuery, mask_features: Float[Tensor, "b c h w"]
) -> Bool[Tensor, "b r hw"]:
    """Return the pixels of one level that each picture-reading row may look at.

    Queries look at the foreground of their own mask, memory slots at that of their object's previous mask, the words of
    a caption at everything that is not hidden.
    """
    hw = map_hw(mask_features)
    answers = {
        RowKind.OBJECT: output.object,
        RowKind.IMAGE: output.image,
        RowKind.PHRASE: output.phrase,
        RowKind.VISUAL: output.visual,
    }
    seen = []
    for block in blocks:
        kind = block.group.kind
        mine = answers.get(kind)
        if mine is not None:
            own = visible_pixels(dot(mine.mask_embeddings, mask_features))
            own[:, : block.group.unmasked] = True
            seen.append(own)
        elif kind is RowKind.MEMORY and question.previous is not None:
            previous = visible_pixels(resize(question.previous, hw))
            seen.append(previous.gather(1, block.owner[:, :, None].expand(-1, -1, previous.shape[-1])))
        elif kind is RowKind.CAPTION and question.caption is not None:
            seen.append(open_pixels(question.caption, hw))
    return torch.cat(seen, dim=1)


def open_pixels(caption: CaptionPrefix, hw: tuple[int, int]) -> Bool[Tensor, "b t hw"]:
    """Return the pixels that the words of a caption may look at."""
    batch, length = caption.tokens.shape[:2]
    if caption.hidden is None:
        return torch.ones((batch, length, hw[0] * hw[1]), dtype=torch.bool, device=caption.tokens.device)
    hidden = F.interpolate(caption.hidden[:, None].float(), size=hw, mode="nearest") > 0
    return ~hidden.flatten(2).expand(-1, length, -1)


def with_level_tokens(
    x: Float[Tensor, "b s d"],
    positions: Float[Tensor, "b s d"],
    blocks: list[Block],
    question: DecoderQuery,
    level: int,
) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b s d"]]:
    """Replace tokens of marked pixels, features and positions alike, by those of the level just read.

    They stand last.
    """
    marks = {RowKind.VISUAL_TOKENS: question.visual, RowKind.REFERENCE_TOKENS: question.reference}
    fresh = [tokens.levels[level] for block in blocks if (tokens := marks.get(block.group.kind)) is not None]
    others = x.shape[1] - sum(tokens.shape[1] for tokens in fresh)
    return torch.cat((x[:, :others], *fresh), dim=1), torch.cat((positions[:, :others], *fresh), dim=1)


def map_hw(maps: Tensor) -> tuple[int, int]:
    """Return height and width of a batch of maps."""
    return int(maps.shape[-2]), int(maps.shape[-1])
